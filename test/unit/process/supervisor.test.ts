import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { stopMessage, supervise, tell } from '../../../src/process/children.ts';
import { catchUncaught } from '../../support/uncaught.ts';

const log = pino({ level: 'silent' });
const directory = mkdtempSync(join(tmpdir(), 'millrace-supervisor-'));

function write(name: string, script: string): string {
  const path = join(directory, `${name}.mjs`);
  writeFileSync(path, script);
  return path;
}

const serving = write(
  'serving',
  `process.send({ type: 'ready', port: 7 });
   process.on('message', (message) => message.type === 'stop' && process.exit(0));`,
);
const dying = write('dying', "process.send({ type: 'ready' }, () => process.exit(3));");
const starting = write('starting', "process.send({ type: 'starting' }); setInterval(() => {}, 1_000);");

/** Starts these scripts, one after the other. */
function run(...scripts: [string, ...string[]]) {
  const children: ChildProcess[] = [];
  const ends: ChildProcess[] = [];
  const supervised = supervise({
    command: 'test',
    start: () => {
      const child = fork(scripts[Math.min(children.length, scripts.length - 1)] as string, { execArgv: [] });
      children.push(child);
      return child;
    },
    log,
    ended: (child) => ends.push(child),
  });
  return { supervised, children, ends };
}

test('gives what a process says when it serves, and tells it to stop by a message', async () => {
  const { supervised, children } = run(serving);
  expect(await supervised.ready).toEqual({ type: 'ready', port: 7 });
  await supervised.stop();
  expect(children.map(({ exitCode }) => exitCode)).toEqual([0]);
});

test('a process that is started again and does not serve yet is ended at once: there is nothing to finish', async () => {
  const { supervised, children, ends } = run(dying, starting);
  await supervised.ready;
  await vi.waitUntil(() => children.length === 2, { timeout: 20_000 });
  await once(children[1] as ChildProcess, 'message');
  await supervised.stop();
  expect(children[1]).toMatchObject({ signalCode: 'SIGTERM' });
  expect(ends).toEqual(children);
});

test('a process that cannot be started is an error of the start, and no uncaught one', async () => {
  let error: unknown;
  const uncaught = await catchUncaught(async () => {
    const start = () => {
      const child = fork(serving, { execPath: join(directory, 'none'), execArgv: [] });
      child.on('error', () => undefined);
      return child;
    };
    const supervised = supervise({ command: 'test', start, log });
    error = await supervised.ready.catch((reason: unknown) => reason);
    await supervised.stop();
  });
  expect(error).toMatchObject({ exitCode: 69, message: "'millrace test' could not be started" });
  expect(uncaught).toEqual([]);
});

test('a message to a process that has ended is lost, and says so', async () => {
  const child = fork(dying, { execArgv: [] });
  let lost = 0;
  const uncaught = await catchUncaught(async () => {
    await once(child, 'exit');
    tell(child, stopMessage, () => lost++);
    await vi.waitUntil(() => lost === 1, { timeout: 5_000 });
    tell(child, stopMessage);
    await turn();
  });
  expect(uncaught).toEqual([]);
});
