import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type BufferReader,
  type BufferWriter,
  FencedError,
  type OwnedPartition,
} from '../../src/buffer/buffer.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/event-batch.ts';
import { InvariantError } from '../../src/errors.ts';
import type { SealedBatch } from '../../src/streamer/batch.ts';
import { type DeliveryObserver, deliverPartition, type Sink } from '../../src/streamer/deliver.ts';
import { decodePlan, encodePlan } from '../../src/streamer/plan.ts';
import { rowStart } from '../../src/streamer/refused-rows.ts';
import { readRow } from '../../src/streamer/row-writer.ts';
import { temporaryDirectory } from '../support/program.ts';

const log = pino({ level: 'silent' });
const shared = { topic: 'events', partitions: 1, maxBytes: 64 * 1024 ** 2, log };
const limits = { rows: 3, bytes: 1_000_000, ageMs: 30 };

let directory: ReturnType<typeof temporaryDirectory>;
let writer: BufferWriter;
const readers: BufferReader[] = [];

beforeEach(async () => {
  directory = temporaryDirectory();
  writer = await openEmbeddedWriter({ ...shared, dir: directory.path, retentionMs: 86_400_000 });
});

afterEach(async () => {
  for (const reader of readers.splice(0)) await reader.close();
  await writer.close();
  directory.remove();
});

async function append(...values: string[]): Promise<void> {
  const batch = new EventBatch();
  for (const value of values) batch.add(Buffer.from(value), Date.now());
  await writer.append(0, batch);
}

/** A sink that records what it is given, and the last commit at that moment; `during` may make it fail. */
function createSink(
  during: (batch: SealedBatch, partition: OwnedPartition) => Promise<void> | void = () => {},
) {
  const inserts: { token: string; rows: string[]; plan: string | undefined }[] = [];
  const sink: Sink = {
    async insert(batch, partition) {
      const texts = batch.ends.map((end, i) =>
        readRow(batch.body.subarray(rowStart(batch, i), end)).raw.toString(),
      );
      inserts.push({
        token: batch.plan.token,
        rows: texts,
        plan: (await partition.committed().catch(() => undefined))?.plan,
      });
      await during(batch, partition);
    },
  };
  return { sink, inserts };
}

function createObserver() {
  const seen: string[] = [];
  const observer: DeliveryObserver = {
    replaying: (_, start, end) => seen.push(`replaying ${start}-${end}`),
    expired: (_, from, to) => seen.push(`expired ${from}-${to}`),
    oldest: () => {},
  };
  return { observer, seen };
}

/** Delivers until `isDone`, then closes; resolves with what `run` came to. */
async function deliver(
  sink: Sink,
  isDone: () => boolean | Promise<boolean>,
  observer = createObserver().observer,
) {
  const reader = await openEmbeddedReader({ ...shared, dir: directory.path, group: 'g' });
  readers.push(reader);
  const run = reader
    .run((partition) => deliverPartition(partition, sink, { limits, observer }))
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  const deadline = Date.now() + 10_000;
  let ended = false;
  void run.then(() => {
    ended = true;
  });
  while (!ended && !(await isDone()) && Date.now() < deadline) await sleep(5);
  await reader.close();
  return await run;
}

/** Reads or writes the commit of the group, as another owner. */
async function withPartition<T>(use: (partition: OwnedPartition) => Promise<T>): Promise<T> {
  const reader = await openEmbeddedReader({ ...shared, dir: directory.path, group: 'g' });
  const result = new Promise<T>((resolve, reject) => {
    void reader.run((partition) => use(partition).then(resolve, reject)).catch(reject);
  });
  try {
    return await result;
  } finally {
    await reader.close();
  }
}

const committed = () => withPartition((partition) => partition.committed());

describe('the protocol', () => {
  test('writes the plan of a batch down before it inserts it, and the end afterwards', async () => {
    await append('1', '2', '3', '4', '5');
    const { sink, inserts } = createSink();
    await deliver(sink, () => inserts.length === 2);
    expect(inserts.map(({ rows }) => rows)).toEqual([
      ['1', '2', '3'],
      ['4', '5'],
    ]);
    for (const { token, plan } of inserts) expect(decodePlan(plan ?? '')?.token).toBe(token);
    expect(await committed()).toEqual({ offset: 5, plan: '' });
  });

  test('the next batch starts where the one before ended, across owners', async () => {
    await append('1', '2');
    const { sink, inserts } = createSink();
    await deliver(sink, async () => inserts.length === 1);
    await append('3');
    await deliver(sink, () => inserts.length === 2);
    expect(inserts.map(({ rows }) => rows)).toEqual([['1', '2'], ['3']]);
    expect(await committed()).toEqual({ offset: 3, plan: '' });
  });
});

describe('an owner that stops between plan and end', () => {
  test('leaves the plan; the next inserts the same rows with the same token, whatever came after', async () => {
    await append('1', '2');
    const crash = createSink(() => {
      throw new FencedError('crash');
    });
    await deliver(crash.sink, () => crash.inserts.length === 1);
    await append('3', '4', '5');
    const next = createSink();
    const { observer, seen } = createObserver();
    await deliver(next.sink, () => next.inserts.length === 2, observer);
    expect(next.inserts[0]).toMatchObject({ token: crash.inserts[0]?.token, rows: ['1', '2'] });
    expect(next.inserts[1]?.rows).toEqual(['3', '4', '5']);
    expect(seen).toEqual(['replaying 0-2']);
    expect(await committed()).toEqual({ offset: 5, plan: '' });
  });

  test('finishes an insert in flight and commits its end when it is told to stop', async () => {
    await append('1');
    let isInserting = false;
    const { sink } = createSink(async () => {
      isInserting = true;
      await sleep(300);
    });
    await deliver(sink, () => isInserting);
    expect(await committed()).toEqual({ offset: 1, plan: '' });
  });
});

describe('what must never happen stops delivery instead', () => {
  const changePlan = (change: object) =>
    withPartition(async (partition) => {
      const before = await partition.committed();
      const plan = decodePlan(before?.plan ?? '');
      if (plan === undefined) throw new Error('there is no plan');
      await partition.commit(plan.start, encodePlan({ ...plan, ...change }));
    });

  async function leavePlan(): Promise<void> {
    await append('1', '2');
    const { sink, inserts } = createSink(() => {
      throw new FencedError('crash');
    });
    await deliver(sink, () => inserts.length === 1);
  }

  test.each([
    ['other bytes', { crc: 1 }, /says 2 rows with crc 1 in offsets 0 to 2, but it holds 2 rows/],
    ['fewer rows', { rows: 1 }, /says 1 rows/],
    ['an end that is not there', { end: 9 }, /the buffer ends at 2/],
  ])('a plan of %s: nothing is inserted', async (_, change, reason) => {
    await leavePlan();
    await changePlan(change);
    const { sink, inserts } = createSink();
    const error = await deliver(sink, () => false);
    expect(String(error)).toMatch(reason);
    expect(inserts).toEqual([]);
  });

  test('a commit beyond the end of the buffer, as after a topic was made anew', async () => {
    await append('1');
    const reader = await openEmbeddedReader({ ...shared, dir: directory.path, group: 'g' });
    readers.push(reader);
    const error = await reader
      .run(async (partition) => {
        const moved: OwnedPartition = {
          topic: partition.topic,
          topicId: partition.topicId,
          partition: partition.partition,
          signal: partition.signal,
          committed: async () => ({ offset: 7, plan: '' }),
          bounds: () => partition.bounds(),
          read: (from, options) => partition.read(from, options),
          commit: (offset, plan) => partition.commit(offset, plan),
        };
        await deliverPartition(moved, createSink().sink, { limits, observer: createObserver().observer });
      })
      .catch((reason: unknown) => reason);
    expect(String(error)).toMatch(/ends at 1, but 7 was committed/);
  });

  test('metadata of somebody else', async () => {
    await append('1');
    await withPartition((partition) => partition.commit(0, 'hello'));
    const { sink, inserts } = createSink();
    expect(await deliver(sink, () => false)).toBeInstanceOf(InvariantError);
    expect(inserts).toEqual([]);
  });
});

test('an owner that was replaced cannot write a plan any more, so it inserts nothing new', async () => {
  await append('1');
  let takeOver: Promise<unknown> | undefined;
  const second = createSink();
  const first = createSink(async () => {
    // While the first inserts, a second owner takes over and finishes the plan; more events come.
    takeOver ??= deliver(second.sink, () => second.inserts.length === 1);
    await takeOver;
    await append('2');
  });
  await deliver(first.sink, () => false);
  expect(first.inserts).toHaveLength(1);
  expect(second.inserts.map(({ token }) => token)).toEqual(first.inserts.map(({ token }) => token));
  expect(await committed()).toMatchObject({ offset: 1, plan: '' });
});
