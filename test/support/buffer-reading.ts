/** Reading from a buffer in tests: partitions outside of `deliver`, and records as objects. */
import type { BufferReader, OwnedPartition } from '../../src/buffer/buffer.ts';
import type { RecordHeaders } from '../../src/buffer/records.ts';

/** A record, copied out of its block. */
export interface StoredRecord {
  readonly offset: number;
  readonly value: Buffer;
  readonly receivedAt: number;
  readonly headers: RecordHeaders | undefined;
}

/** Partitions that a running reader owns, each held until its signal aborts. */
export interface HeldPartitions {
  /** Waits until the reader owns the partition. */
  get(partition: number, timeoutMs: number): Promise<OwnedPartition>;
  /** Waits until the reader owns any partition. */
  any(timeoutMs: number): Promise<OwnedPartition>;
  /** Settles as `run` does; a failure nobody awaits is not an unhandled rejection. */
  readonly finished: Promise<void>;
}

/** Starts the reader and keeps whatever partitions it gains. */
export function holdPartitions(reader: BufferReader): HeldPartitions {
  const owned = new Map<number, OwnedPartition>();
  const gained = new Set<() => void>();
  let failure: Error | undefined;
  const finished = reader.run(async (partition) => {
    owned.set(partition.partition, partition);
    for (const notify of gained) notify();
    if (!partition.signal.aborted) {
      await new Promise((resolve) => partition.signal.addEventListener('abort', resolve, { once: true }));
    }
    if (owned.get(partition.partition) === partition) owned.delete(partition.partition);
  });
  finished.catch((error: Error) => {
    failure = error;
    for (const notify of gained) notify();
  });

  async function waitFor(find: () => OwnedPartition | undefined, timeoutMs: number): Promise<OwnedPartition> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (failure !== undefined) throw failure;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`no partition was owned within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          gained.delete(done);
          resolve();
        };
        const timer = setTimeout(done, leftMs);
        gained.add(done);
      });
    }
  }

  return {
    finished,
    get: (partition, timeoutMs) => waitFor(() => owned.get(partition), timeoutMs),
    any: (timeoutMs) => waitFor(() => owned.values().next().value, timeoutMs),
  };
}

/**
 * Reads `count` records from offset `from` on, in steps of up to `maxBytes`.
 * @throws Error when they are not there within `timeoutMs`
 */
export async function readRecords(
  partition: OwnedPartition,
  from: number,
  count: number,
  timeoutMs: number,
  maxBytes: number = 1024 * 1024,
): Promise<StoredRecord[]> {
  const deadline = performance.now() + timeoutMs;
  const records: StoredRecord[] = [];
  for (let position = from; records.length < count; ) {
    if (performance.now() > deadline) throw new Error(`got ${records.length} of ${count} records in time`);
    const { blocks, next } = await partition.read(position, { maxBytes, maxWaitMs: 500 });
    for (const block of blocks) {
      for (let i = 0; i < block.count; i++) {
        records.push({
          offset: block.offsets[i] as number,
          value: Buffer.from(block.bytes.slice(block.starts[i], block.ends[i])),
          receivedAt: block.receivedAt[i] as number,
          headers: block.headers?.[i],
        });
      }
    }
    position = next;
  }
  return records.slice(0, count);
}
