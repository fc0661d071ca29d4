/** A batch of rows: filled from the buffer, sealed at rows, bytes or age. */
import { crc32 } from 'node:zlib';
import type { OwnedPartition } from '../buffer/buffer.ts';
import type { RecordBlock } from '../buffer/record-block.ts';
import { type Plan, tokenOf } from './plan.ts';
import { RowWriter } from './row-writer.ts';

/** When a batch is sealed: at whichever comes first. */
export interface BatchLimits {
  readonly rows: number;
  readonly bytes: number;
  readonly ageMs: number;
}

/** A batch that will not change any more. */
export interface SealedBatch {
  readonly plan: Plan;
  /** Rows, as `RowWriter` writes them. */
  readonly body: Buffer;
  /** End of each row in `body`. */
  readonly ends: readonly number[];
  /** Receive time of the oldest record, milliseconds since the epoch. */
  readonly oldestAt: number;
}

/** How long a read waits when there is nothing: short enough to notice an age limit, long enough to be cheap. */
const idleWaitMs = 500;
const readBytes = 4 * 1024 * 1024;

/** A record that was read beyond the batch it was read for. */
interface Rest {
  readonly block: RecordBlock;
  index: number;
}

/** Reads a partition from a position on and cuts it into batches, one after another. */
export class BatchReader {
  readonly #partition: OwnedPartition;
  readonly #limits: BatchLimits;
  /** Position of the next read. */
  #readFrom: number;
  /** Where the next batch starts: the end of the one before. */
  #start: number;
  /** Blocks that were read but not put into a batch. */
  #rest: Rest[] = [];
  #oldestAt: number | undefined;

  constructor(partition: OwnedPartition, from: number, limits: BatchLimits) {
    this.#partition = partition;
    this.#limits = limits;
    this.#readFrom = from;
    this.#start = from;
  }

  /** Receive time of the oldest record in the growing batch. */
  get oldestAt(): number | undefined {
    return this.#oldestAt;
  }

  /** Waits until a batch is full or old enough; rejects with FencedError once ownership has ended. */
  async next(): Promise<SealedBatch> {
    const { rows, bytes, ageMs } = this.#limits;
    const batch = new GrowingBatch(this.#partition);
    let deadline = Number.POSITIVE_INFINITY;
    for (;;) {
      const isFull = this.#fill(batch, rows, bytes);
      if (batch.rows > 0) deadline = Math.min(deadline, performance.now() + ageMs);
      this.#oldestAt = batch.oldestAt;
      const waitMs = Math.min(deadline - performance.now(), idleWaitMs);
      if (isFull || waitMs <= 0) break;
      await this.#read(waitMs);
    }
    const sealed = batch.seal(this.#start);
    this.#start = sealed.plan.end;
    this.#oldestAt = undefined;
    return sealed;
  }

  async #read(waitMs: number): Promise<void> {
    const { blocks, next } = await this.#partition.read(this.#readFrom, {
      maxBytes: readBytes,
      maxWaitMs: Math.ceil(waitMs),
    });
    this.#readFrom = next;
    for (const block of blocks) this.#rest.push({ block, index: 0 });
  }

  /** Moves records into the batch; true when it is full. */
  #fill(batch: GrowingBatch, maxRows: number, maxBytes: number): boolean {
    for (const rest of this.#rest) {
      while (rest.index < rest.block.count) {
        if (batch.rows >= maxRows || batch.bytes >= maxBytes) {
          this.#rest = this.#rest.filter(({ block, index }) => index < block.count);
          return true;
        }
        batch.add(rest.block, rest.index++);
      }
    }
    this.#rest = [];
    return false;
  }
}

/** A batch while records are added. */
export class GrowingBatch {
  readonly #partition: OwnedPartition;
  readonly #writer: RowWriter;
  #end: number | undefined;
  /** Receive time of the oldest record. */
  oldestAt: number | undefined;

  constructor(partition: OwnedPartition) {
    this.#partition = partition;
    this.#writer = new RowWriter(partition);
  }

  get rows(): number {
    return this.#writer.rows;
  }

  get bytes(): number {
    return this.#writer.length;
  }

  add(block: RecordBlock, index: number): void {
    this.#writer.write(block, index);
    this.#end = (block.offsets[index] as number) + 1;
    const receivedAt = block.receivedAt[index] as number;
    if (this.oldestAt === undefined || receivedAt < this.oldestAt) this.oldestAt = receivedAt;
  }

  /** The batch as it is, beginning at the position `start`. */
  seal(start: number): SealedBatch {
    const end = this.#end ?? start;
    const plan: Plan = {
      start,
      end,
      rows: this.rows,
      crc: crc32(this.#writer.body),
      token: tokenOf(this.#partition, start, end),
      sealedAt: Date.now(),
    };
    const { body, ends } = this.#writer;
    return { plan, body, ends, oldestAt: this.oldestAt ?? Date.now() };
  }
}
