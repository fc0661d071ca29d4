/** The embedded log, and the collector on it, when the disk is full: refuse, keep, recover. */
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BufferUnavailableError } from '../../src/buffer/buffer.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import { deliverPartition } from '../../src/streamer/protocol/deliver.ts';
import type { DeliveryObserver } from '../../src/streamer/protocol/delivery.ts';
import { holdPartitions, readRecords } from '../support/buffer-reading.ts';
import { waitUntil } from '../support/kafka-fixture.ts';
import { freePorts, type Program, post, runCommand, startProgram, until } from '../support/program.ts';
import { mountSmallDisk, type SmallDisk } from '../support/small-disk.ts';

const writerProcess = fileURLToPath(new URL('../support/embedded-writer.mjs', import.meta.url));
const probe = mountSmallDisk(1);
probe?.remove();
if (probe === undefined) {
  console.warn(
    'a tmpfs cannot be mounted here (that takes Linux and root): the tests of a full disk are skipped',
  );
}

describe.skipIf(probe === undefined)('a full disk', () => {
  let disk: SmallDisk;
  let program: Program | undefined;

  beforeEach(() => {
    disk = mountSmallDisk(8) as SmallDisk;
  });
  afterEach(async () => {
    await program?.kill();
    program = undefined;
    disk.remove();
  });

  const place = () => ({ dir: disk.path, topic: 'events', partitions: 1, maxBytes: 64 * 1024 ** 2 });
  const openWriter = () => openEmbeddedWriter({ ...place(), retentionMs: 0 });
  const openReader = () => openEmbeddedReader({ ...place(), group: 'test', log: pino({ level: 'silent' }) });

  function batchOf(from: number, count: number, bytes: number): EventBatch {
    const batch = new EventBatch();
    for (let i = from; i < from + count; i++)
      batch.add(Buffer.from(String(i).padEnd(bytes, ' ')), Date.now());
    return batch;
  }

  /** Appends until nothing goes in any more; gives the number of events stored. */
  async function fillUp(writer: Awaited<ReturnType<typeof openWriter>>): Promise<number> {
    let stored = 0;
    for (const [count, bytes] of [
      [10, 10_000],
      [1, 4_000],
    ] as const) {
      try {
        for (; ; stored += count) {
          await waitUntil(() => writer.state().ok, 5_000);
          expect(await writer.append(0, batchOf(stored, count, bytes))).toBe(stored);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(BufferUnavailableError);
      }
    }
    return stored;
  }

  test('refuses what does not fit, keeps what it acknowledged, and goes on when there is space', async () => {
    const writer = await openWriter();
    disk.fill();
    const stored = await fillUp(writer);
    const state = writer.state();
    expect(state.ok ? '' : state.detail).toContain('disk space');
    disk.free();
    await waitUntil(() => writer.state().ok, 5_000);
    expect(await writer.append(0, batchOf(stored, 10, 10_000))).toBe(stored);
    const reader = await openReader();
    const owned = await holdPartitions(reader).get(0, 5_000);
    const records = await readRecords(owned, 0, stored + 10, 10_000);
    expect(records.map(({ value }) => Number(value.toString()))).toEqual(
      Array.from({ length: stored + 10 }, (_, i) => i),
    );
    await reader.close();
    await writer.close();
  });

  test('a streamer waits with its commits, and delivers everything once when there is space', async () => {
    const writer = await openWriter();
    const reader = await openReader();
    const delivered: number[] = [];
    const observer: DeliveryObserver = {
      ...{ replaying() {}, expired() {}, oldest() {} },
      ...{ regressed() {}, topicChanged() {}, skipped() {} },
    };
    const idsLimits = { windowMs: 0, maxIds: 1 };
    const limits = { rows: 7, bytes: 1024 ** 2, ageMs: 10 };
    let events = 0;
    const insert = async ({ plan }: { plan: { start: number; end: number } }) => {
      for (let offset = plan.start; offset < plan.end; offset++) delivered.push(offset);
    };
    const sink = { insert, countDelivered: async () => 0, findLastDelivered: async () => undefined };
    let failure: unknown;
    const running = reader
      .run((partition) => deliverPartition(partition, sink, { limits, idsLimits, observer }))
      .catch((error: unknown) => {
        failure = error;
      });
    const json = (count: number) => {
      const batch = new EventBatch();
      for (let i = 0; i < count; i++) batch.add(Buffer.from('{"event":"a"}'), Date.now());
      return batch;
    };
    for (let round = 0; round < 5; round++) {
      await waitUntil(() => writer.state().ok, 5_000);
      await writer.append(0, json(20));
      events += 20;
      // Whatever is free within the file is used up, too, so that commits have no page to go to.
      disk.fill();
      for (let tries = 0; tries < 30; tries++) {
        try {
          await waitUntil(() => writer.state().ok, 5_000);
          await writer.append(0, json(20));
          events += 20;
        } catch (error) {
          expect(error).toBeInstanceOf(BufferUnavailableError);
          if (tries > 2) break;
        }
      }
      disk.free();
    }
    await waitUntil(() => delivered.length >= events || failure !== undefined, 20_000);
    expect(failure).toBeUndefined();
    expect(delivered).toEqual(Array.from({ length: events }, (_, i) => i));
    await waitUntil(() => reader.state().ok, 5_000);
    await reader.close();
    await running;
    await writer.close();
  });

  test('a commit is held until the disk takes it, and the reader says so meanwhile', async () => {
    const writer = await openWriter();
    const reader = await openReader();
    const owned = await holdPartitions(reader).get(0, 5_000);
    await writer.append(0, batchOf(0, 10, 100));
    disk.fill();
    await fillUp(writer);
    // Larger than what is free within the file.
    const plan = 'x'.repeat(6 * 1024 ** 2);
    let isCommitted = false;
    const commit = owned.commit(3, plan).then(() => {
      isCommitted = true;
    });
    await waitUntil(() => !reader.state().ok, 10_000);
    expect(isCommitted).toBe(false);
    await expect(owned.committed()).resolves.toBeUndefined();
    disk.free();
    await commit;
    expect(await owned.committed()).toEqual({ offset: 3, plan });
    expect(reader.state()).toEqual({ ok: true });
    await reader.close();
    await writer.close();
  });

  test('a log cannot be created there, which is an error and not the end by a signal', async () => {
    disk.fill();
    const options = { ...place(), retentionMs: 0, name: 'a', size: 1, batches: 1 };
    const refused = await runCommand(process.execPath, [writerProcess, JSON.stringify(options)]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('Cannot open the embedded log');
    disk.free();
    const taken = await runCommand(process.execPath, [writerProcess, JSON.stringify(options)]);
    expect(taken.code).toBe(0);
    expect(taken.stdout).toBe('0 0 1 0\n');
  });

  test('the collector answers 503, lives, and takes events again when there is space', async () => {
    const [port] = await freePorts(1);
    const url = `http://127.0.0.1:${port}`;
    program = await startProgram(['collect', '--data-dir', disk.path, '--listen', `127.0.0.1:${port}`]);
    expect((await post(url, { event: 'a' })).status).toBe(200);
    disk.fill();
    const large = { event: 'a', filler: 'x'.repeat(200_000) };
    const refused = await until('a refusal', async () => {
      const response = await post(url, large);
      return response.status === 503 && response;
    });
    const problem = (await refused.json()) as { code: string; detail: string };
    expect(problem.code).toBe('BUFFER_UNAVAILABLE');
    expect(problem.detail).toContain('disk space');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    disk.free();
    await until('events taken again', async () => (await post(url, large)).status === 200);
    expect(await program.stop()).toBe(0);
  });

  test('a reader can be opened on a full disk, and owns the log when there is space', async () => {
    const writer = await openWriter();
    await writer.append(0, batchOf(0, 10, 100));
    disk.fill();
    await fillUp(writer);
    const reader = await openReader();
    const held = holdPartitions(reader);
    disk.free();
    const owned = await held.get(0, 10_000);
    expect(await readRecords(owned, 0, 10, 5_000)).toHaveLength(10);
    await reader.close();
    await writer.close();
  });
});
