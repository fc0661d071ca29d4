/** Delivery from a real embedded log into a sink that only remembers, one owner after another. */
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { BufferReader, BufferWriter, OwnedPartition } from '../../src/buffer/buffer.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import type { SealedBatch } from '../../src/streamer/protocol/batch.ts';
import { deliverPartition } from '../../src/streamer/protocol/deliver.ts';
import type {
  BatchLimits,
  DeliveryObserver,
  IdsLimits,
  InsertOptions,
  Sink,
} from '../../src/streamer/protocol/delivery.ts';
import { type CommitNote, decodeNote } from '../../src/streamer/protocol/plan.ts';
import { temporaryDirectory } from './program.ts';
import { valuesOf } from './sealed-batch.ts';

const log = pino({ level: 'silent' });
const defaultLimits = { rows: 3, bytes: 1_000_000, ageMs: 30 };
const waitMs = 10_000;

/** What a sink was given. */
export interface SeenInsert {
  readonly token: string;
  /** Values of all records of the batch. */
  readonly rows: readonly string[];
  /** Offsets of those that repeat an id, and of what they repeat. */
  readonly repeats: readonly (readonly [offset: number, earlierOffset: number])[];
  readonly how: InsertOptions;
  /** The note that was committed at that moment. */
  readonly note: string;
}

/** What a sink says of ClickHouse. */
interface SinkState {
  /** How much of a range it has, by the start of the range. */
  delivered: number | ((start: number) => number);
  /** The last offset that it has. */
  last: number | undefined;
}

/** A sink that remembers what it is given; `during` may make it wait or fail. */
export function createSink(
  during: (
    batch: SealedBatch,
    partition: OwnedPartition,
    how: InsertOptions,
  ) => Promise<unknown> | unknown = () => {},
) {
  const inserts: SeenInsert[] = [];
  const counted: { topicId: string; start: number; end: number }[] = [];
  const state: SinkState = { delivered: 0, last: undefined };
  const sink: Sink = {
    async insert(batch, partition, how) {
      const commit = await partition.committed().catch(() => undefined);
      inserts.push({
        token: batch.plan.token,
        rows: valuesOf(batch) ?? [],
        repeats: batch.repeats.map(({ index, earlierOffset }) => [
          batch.rows.record(index).offset,
          earlierOffset,
        ]),
        how,
        note: commit?.plan ?? '',
      });
      await during(batch, partition, how);
    },
    async countDelivered({ topicId }, { start, end }) {
      counted.push({ topicId, start, end });
      return typeof state.delivered === 'number' ? state.delivered : state.delivered(start);
    },
    findLastDelivered: async () => state.last,
  };
  /** `state.delivered` is what the sink says when it is asked how much of a range it has, `state.last` the last offset. */
  return { sink, inserts, counted, state };
}

/** An observer that writes down what it is told. */
export function createObserver() {
  const seen: string[] = [];
  const observer: DeliveryObserver = {
    replaying: (_, start, end) => seen.push(`replaying ${start}-${end}`),
    expired: (_, from, to, lost) => seen.push(`expired ${from}-${to}: ${lost} lost`),
    regressed: (_, position, last) => seen.push(`regressed ${position}, ${last} is there`),
    skipped: (_, from, offset) => seen.push(`skipped ${from}-${offset}`),
    topicChanged: (_, formerId, lost) => seen.push(`topic changed from ${formerId}: ${lost} lost`),
    oldest: () => {},
  };
  return { observer, seen };
}

/** How one owner delivers. */
export interface OwnerOptions {
  readonly observer?: DeliveryObserver;
  readonly ids?: Partial<IdsLimits>;
  /** Puts something between the owner and its partition. */
  readonly alter?: (partition: OwnedPartition) => OwnedPartition;
}

/** A log with one partition, and owners that come and go. */
export interface DeliverySite {
  readonly topicId: string;
  append(...values: (string | Uint8Array)[]): Promise<void>;
  /** Appends one block of events with these ids; undefined: none. */
  appendWithIds(...ids: (string | undefined)[]): Promise<void>;
  /** Delivers until `isDone`, then closes; resolves with what `run` came to. */
  deliver(sink: Sink, isDone: () => boolean | Promise<boolean>, options?: OwnerOptions): Promise<unknown>;
  /** The last commit, its note read. */
  committed(): Promise<({ offset: number } & Partial<CommitNote>) | undefined>;
  /** Uses the partition as another owner. */
  withPartition<T>(use: (partition: OwnedPartition) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const unaltered = (partition: OwnedPartition) => partition;

/** Makes the log; batches are of three rows unless told otherwise. */
export async function openDeliverySite(limits: BatchLimits = defaultLimits): Promise<DeliverySite> {
  const directory = temporaryDirectory();
  const shared = { topic: 'events', partitions: 1, maxBytes: 64 * 1024 ** 2, log, dir: directory.path };
  const writer: BufferWriter = await openEmbeddedWriter({ ...shared, retentionMs: 86_400_000 });
  const readers: BufferReader[] = [];

  async function openReader(): Promise<BufferReader> {
    const reader = await openEmbeddedReader({ ...shared, group: 'g' });
    readers.push(reader);
    return reader;
  }

  async function withPartition<T>(use: (partition: OwnedPartition) => Promise<T>): Promise<T> {
    const reader = await openReader();
    const result = new Promise<T>((resolve, reject) => {
      reader.run((partition) => use(partition).then(resolve, reject)).catch(reject);
    });
    try {
      return await result;
    } finally {
      await reader.close();
    }
  }

  async function append(
    events: readonly { value: string | Uint8Array; id?: string | undefined }[],
  ): Promise<void> {
    const batch = new EventBatch();
    for (const { value, id } of events) {
      batch.add(Buffer.from(value), Date.now(), id === undefined ? undefined : [['id', id]]);
    }
    await writer.append(0, batch);
  }

  return {
    topicId: await withPartition(async ({ topicId }) => topicId),
    append: (...values) => append(values.map((value) => ({ value }))),
    appendWithIds: (...ids) => append(ids.map((id) => ({ value: id ?? '-', id }))),
    withPartition,
    async committed() {
      const commit = await withPartition((partition) => partition.committed());
      return commit === undefined ? undefined : { offset: commit.offset, ...decodeNote(commit.plan) };
    },
    async deliver(sink, isDone, { observer = createObserver().observer, ids, alter = unaltered } = {}) {
      const reader = await openReader();
      const idsLimits = { windowMs: 600_000, maxIds: 1_000, ...ids };
      let ended = false;
      const run = reader
        .run((partition) => deliverPartition(alter(partition), sink, { limits, idsLimits, observer }))
        .then(
          () => undefined,
          (error: unknown) => error,
        )
        .finally(() => {
          ended = true;
        });
      const deadline = Date.now() + waitMs;
      while (!ended && !(await isDone()) && Date.now() < deadline) await sleep(5);
      await reader.close();
      return await run;
    },
    async close() {
      for (const reader of readers) await reader.close();
      await writer.close();
      directory.remove();
    },
  };
}

/** The same partition with some of its members replaced. */
export function alterPartition(partition: OwnedPartition, members: Partial<OwnedPartition>): OwnedPartition {
  return {
    topic: partition.topic,
    topicId: partition.topicId,
    partition: partition.partition,
    signal: partition.signal,
    committed: () => partition.committed(),
    bounds: () => partition.bounds(),
    read: (from, options) => partition.read(from, options),
    commit: (offset, note) => partition.commit(offset, note),
    ...members,
  };
}
