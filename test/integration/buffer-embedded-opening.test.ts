/** Opening an LMDB environment sets back the number of its last transaction: nothing may be undone by that. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OutcomeUnknownError } from '../../src/buffer/buffer.ts';
import { Environment } from '../../src/buffer/embedded/environment.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { holdPartitions, readRecords } from '../support/buffer-reading.ts';
import { batchOf } from '../support/kafka-faults.ts';
import { runCommand, temporaryDirectory, until } from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;

beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => directory.remove());

/**
 * Does what another process does that opens the log, at the worst moment: it sets the number to that of an
 * earlier transaction, which it read before the later ones. Another process, since closing the file gives up
 * the locks of its own.
 */
async function setBack(path: string, transactions: number): Promise<void> {
  const script = `
    const fs = require('node:fs');
    const file = fs.openSync(process.argv[1], 'r+');
    const value = Buffer.alloc(8);
    fs.readSync(file, value, 0, 8, 8);
    value.writeBigUInt64LE(value.readBigUInt64LE() - ${transactions}n);
    fs.writeSync(file, value, 0, 8, 8);`;
  const { code, stderr } = await runCommand(process.execPath, ['-e', script, join(path, 'lock.mdb')]);
  if (code !== 0) throw new Error(stderr);
}

test.each([1, 2, 7])(
  'a log that is opened elsewhere keeps its last %d transactions',
  async (transactions) => {
    const options = { dir: directory.path, topic: 'events', partitions: 2, maxBytes: 2 ** 30 };
    const writer = await openEmbeddedWriter({ ...options, retentionMs: 86_400_000 });
    const expected: string[] = [];
    for (let round = 0; round < 30; round++) {
      const value = `{"n":${round}}`;
      expect(await writer.append(0, batchOf([value]))).toBe(round);
      expected.push(value);
      if (round % 10 === 9) await setBack(join(directory.path, 'events'), transactions);
    }
    const reader = await openEmbeddedReader({ ...options, group: 'check' });
    const owned = await holdPartitions(reader).get(0, 10_000);
    const records = await readRecords(owned, 0, 30, 10_000);
    expect(records.map(({ value }) => value.toString())).toEqual(expected);
    await reader.close();
    await writer.close();
  },
);

test('writes that share the transaction which starts too early are all done, once, in the next', async () => {
  const path = join(directory.path, 'log');
  const environment = await Environment.acquire(path, 2 ** 30);
  await environment.write(() => environment.meta.putSync(['kept'], 'kept'));
  await setBack(path, 1);
  const counts = [0, 0, 0];
  const writes = counts.map((_, i) =>
    environment.write(() => {
      counts[i] = (counts[i] as number) + 1;
      environment.meta.putSync([i], i);
      return i;
    }),
  );
  expect(await Promise.all(writes)).toEqual([0, 1, 2]);
  expect(counts).toEqual([1, 1, 1]);
  environment.refresh();
  expect(environment.meta.get(['kept'])).toBe('kept');
  expect([0, 1, 2].map((i) => environment.meta.get([i]))).toEqual([0, 1, 2]);
  await environment.release();
});

test('a position is not out of range because the end is out of sight for a moment', async () => {
  const options = { dir: directory.path, topic: 'events', partitions: 1, maxBytes: 2 ** 30 };
  const writer = await openEmbeddedWriter({ ...options, retentionMs: 86_400_000 });
  const reader = await openEmbeddedReader({ ...options, group: 'check' });
  const owned = await holdPartitions(reader).get(0, 10_000);
  await writer.append(0, batchOf(['a']));
  await writer.append(0, batchOf(['b']));
  expect((await owned.read(0, { maxBytes: 1_000, maxWaitMs: 1_000 })).next).toBe(2);
  await setBack(join(directory.path, 'events'), 1);
  const reading = owned.read(2, { maxBytes: 1_000, maxWaitMs: 5_000 });
  expect(await writer.append(0, batchOf(['c']))).toBe(2);
  expect((await reading).next).toBe(3);
  await reader.close();
  await writer.close();
});

test('a log whose disk is stuck when its last user leaves is not opened twice, and is usable when the disk goes on', async () => {
  const path = join(directory.path, 'log');
  const environment = await Environment.acquire(path, 2 ** 30);
  const holder = await holdWriteLock(path);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const write = environment.write(() => environment.meta.putSync(['a'], 1));
  vi.advanceTimersByTime(15_000);
  vi.useRealTimers();
  await expect(write).rejects.toThrow(OutcomeUnknownError);
  await environment.release();
  // A second one would wait for the lock on the event loop, with a transaction of the first before it.
  expect(await Environment.acquire(path, 0)).toBe(environment);
  await environment.release();
  holder.kill('SIGKILL');
  await until('the end of the transaction', async () => !environment.isStuck);
  const next = await Environment.acquire(path, 0);
  await next.write(() => next.meta.putSync(['b'], 2));
  expect(next.meta.get(['b'])).toBe(2);
  await next.release();
});

/** Another process that stays in a write transaction, for a minute at most. */
async function holdWriteLock(path: string) {
  const environment = new URL('../../dist/buffer/embedded/environment.js', import.meta.url);
  const script = `
    const { Environment } = await import('${environment}');
    const environment = await Environment.acquire('${path}', 0);
    await environment.write(() => {
      require('node:fs').writeSync(1, 'held');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
    });`;
  const child = spawn(process.execPath, ['-e', `(async () => {${script}})()`]);
  await once(child.stdout, 'data');
  return child;
}
