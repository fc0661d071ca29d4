import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lockDirectory } from '../../../src/process/data-lock.ts';

const fresh = () => join(mkdtempSync(join(tmpdir(), 'millrace-lock-')), 'data');

test('makes the directory, and gives the lock back', () => {
  const directory = fresh();
  const unlock = lockDirectory(directory);
  expect(existsSync(join(directory, 'millrace.lock'))).toBe(true);
  unlock();
  expect(existsSync(join(directory, 'millrace.lock'))).toBe(false);
});

test('a lock of a living process is respected, and names it', async () => {
  const directory = fresh();
  const script = join(mkdtempSync(join(tmpdir(), 'millrace-lock-')), 'idle.mjs');
  writeFileSync(script, 'process.send(1); setInterval(() => {}, 1000);');
  const child = fork(script, { execArgv: [] });
  await once(child, 'message');
  lockDirectory(directory)();
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const startedAt = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  writeFileSync(join(directory, 'millrace.lock'), JSON.stringify({ pid: child.pid, startedAt }));
  expect(() => lockDirectory(directory)).toThrow(`in use by process ${child.pid}`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  lockDirectory(directory)();
});

test.each([
  ['a dead process', JSON.stringify({ pid: 2 ** 22 + 1, startedAt: '1' })],
  ['a process id that another process has by now', JSON.stringify({ pid: 1, startedAt: 'long ago' })],
  ['a writer that was cut off', '{"pid":'],
])('a lock of %s is taken over', (_, content) => {
  const directory = fresh();
  lockDirectory(directory)();
  writeFileSync(join(directory, 'millrace.lock'), content);
  lockDirectory(directory)();
});

test('a directory that cannot be made is named', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'millrace-lock-')), 'file');
  writeFileSync(file, '');
  expect(() => lockDirectory(join(file, 'data'))).toThrow(/file\/data cannot be used.*--data-dir/);
});
