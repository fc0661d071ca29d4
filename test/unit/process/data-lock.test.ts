import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { lockDirectory } from '../../../src/process/data-lock.ts';

const fresh = () => join(mkdtempSync(join(tmpdir(), 'millrace-lock-')), 'data');

test('makes the directory, and gives the lock back', async () => {
  const directory = fresh();
  const unlock = await lockDirectory(directory);
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
  (await lockDirectory(directory))();
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const startedAt = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  writeFileSync(join(directory, 'millrace.lock'), JSON.stringify({ pid: child.pid, startedAt }));
  await expect(lockDirectory(directory)).rejects.toThrow(`in use by process ${child.pid}`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  (await lockDirectory(directory))();
});

test('a lock of a process that has ended is taken over although nobody has taken note of its end', async () => {
  const directory = fresh();
  (await lockDirectory(directory))();
  // The shell becomes a program that does not ask for its child, which ends and stays a zombie.
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60']);
  try {
    const [printed] = await once(parent.stdout, 'data');
    const pid = Number(String(printed));
    await vi.waitUntil(() => / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')), { timeout: 10_000 });
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const startedAt = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    writeFileSync(join(directory, 'millrace.lock'), JSON.stringify({ pid, startedAt }));
    (await lockDirectory(directory))();
  } finally {
    parent.kill('SIGKILL');
  }
});

test.each([
  ['a dead process', JSON.stringify({ pid: 2 ** 22 + 1, startedAt: '1' })],
  ['a process id that another process has by now', JSON.stringify({ pid: 1, startedAt: 'long ago' })],
  ['a writer that was cut off', '{"pid":'],
])('a lock of %s is taken over', async (_, content) => {
  const directory = fresh();
  (await lockDirectory(directory))();
  writeFileSync(join(directory, 'millrace.lock'), content);
  (await lockDirectory(directory))();
});

test('one process does not lock a directory twice', async () => {
  const directory = fresh();
  const unlock = await lockDirectory(directory);
  await expect(lockDirectory(directory)).rejects.toThrow(`in use by process ${process.pid}`);
  unlock();
  (await lockDirectory(directory))();
});

test('a process of the same id in another container is respected while it touches its lock, and not after', async () => {
  const directory = fresh();
  const path = join(directory, 'millrace.lock');
  (await lockDirectory(directory))();
  writeFileSync(path, JSON.stringify({ pid: process.pid, startedAt: '1', where: 'elsewhere', id: 'other' }));
  let seconds = 1_000_000_000;
  const touching = setInterval(() => utimesSync(path, seconds, ++seconds), 100);
  await expect(lockDirectory(directory)).rejects.toThrow(
    /in use by process \d+ in another container or on another machine/,
  );
  clearInterval(touching);
  const unlock = await lockDirectory(directory);
  expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid });
  unlock();
}, 30_000);

test('whoever lost a lock does not remove that of its successor', async () => {
  const directory = fresh();
  const path = join(directory, 'millrace.lock');
  const unlock = await lockDirectory(directory);
  writeFileSync(path, JSON.stringify({ pid: 1, startedAt: '1', where: 'elsewhere', id: 'successor' }));
  unlock();
  expect(existsSync(path)).toBe(true);
});

test('a directory that cannot be made is named', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'millrace-lock-')), 'file');
  writeFileSync(file, '');
  await expect(lockDirectory(join(file, 'data'))).rejects.toThrow(/file\/data cannot be used.*--data-dir/);
});
