/** A batch of rows: filled from the buffer, sealed at rows, bytes or age. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { OffsetOutOfRangeError, type OwnedPartition } from '../buffer/buffer.ts';
import type { RecordBlock } from '../buffer/record-block.ts';
import { EventLinks } from '../tracing/event-links.ts';
import { BatchRows, idOf } from './batch-rows.ts';
import type { Pace } from './pace.ts';
import { type Plan, tokenOf } from './plan.ts';
import type { ReadBack, RecentIds } from './recent-ids.ts';

/** When a batch is sealed: when it is full, or due by its age. */
export interface BatchLimits {
  readonly rows: number;
  readonly bytes: number;
  /** {@link Pace} */
  readonly ageMs: number;
}

/** A record of a batch whose id was seen before. */
export interface Repeat {
  /** Position in the batch. */
  readonly index: number;
  /** Offset of the record that it repeats. */
  readonly earlierOffset: number;
}

/** A record of a batch that stands in for one that cannot be read: it goes to the dead letters. */
export interface UnreadableRecord {
  /** Position in the batch. */
  readonly index: number;
  /** {@link RecordBlock.unreadable} */
  readonly reason: string;
}

/** A batch that will not change any more. */
export interface SealedBatch {
  readonly plan: Plan;
  /** Rows of all records, those that repeat an id included. Until the batch is given back. */
  readonly rows: BatchRows;
  /** Records that become no row of `events`, by ascending index. */
  readonly repeats: readonly Repeat[];
  /** Records that are no events, by ascending index. */
  readonly unreadable: readonly UnreadableRecord[];
  /** Ids remembered before the first record of the batch. */
  readonly idsBefore: ReadBack | undefined;
  /** Receive time of the oldest record, milliseconds since the epoch. */
  readonly oldestAt: number;
  /** Traces of its events; undefined when nobody wants them. */
  readonly links?: EventLinks | undefined;
}

/** How long a read waits for the first record. */
const idleWaitMs = 5_000;
/** How long a read waits for more records while an insert is under way whose end is not known. */
const busyWaitMs = 50;
/** Read at one go: some milliseconds, during which nothing is sent. */
const readBytes = 1024 * 1024;
/** While a batch may wait, a read that brings less is not worth its cost. */
const patientBytes = 256 * 1024;

/** A record that was read beyond the batch it was read for. */
interface Rest {
  readonly block: RecordBlock;
  index: number;
}

/** Reads a partition from a position on and cuts it into batches, one after another. */
export class BatchReader {
  readonly #partition: OwnedPartition;
  readonly #limits: BatchLimits;
  readonly #pace: Pace;
  readonly #ids: RecentIds | undefined;
  readonly #isTraced: boolean;
  /** Position of the next read. */
  #readFrom: number;
  /** Where the next batch starts: the end of the one before. */
  #start: number;
  /** Blocks that were read but not put into a batch. */
  #rest: Rest[] = [];
  #oldestAt: number | undefined;
  #idsBefore: ReadBack | undefined;
  /** Empty rows whose memory is there already. */
  #spare: BatchRows | undefined;
  /** A failure of a read that waits until what was read before it is delivered. */
  #failure: OffsetOutOfRangeError | undefined;

  /** Without `ids`, no repeat is looked for. */
  constructor(
    partition: OwnedPartition,
    from: number,
    options: { limits: BatchLimits; pace: Pace; ids?: RecentIds | undefined; isTraced?: boolean },
  ) {
    const { limits, pace, ids, isTraced = false } = options;
    this.#partition = partition;
    this.#limits = limits;
    this.#pace = pace;
    this.#ids = ids;
    this.#isTraced = isTraced;
    this.#readFrom = from;
    this.#start = from;
  }

  /** Receive time of the oldest record in the growing batch. */
  get oldestAt(): number | undefined {
    return this.#oldestAt;
  }

  /** Ids remembered before the growing batch. */
  get idsBefore(): ReadBack | undefined {
    return this.#idsBefore;
  }

  /**
   * Waits until a batch is full or due. What was read before a failure is in a batch before it.
   * @throws FencedError once ownership has ended
   * @throws OffsetOutOfRangeError when retention has passed the position, or the topic is shorter than it was
   */
  async next(): Promise<SealedBatch> {
    this.#idsBefore = this.#ids?.readBack;
    const links = this.#isTraced ? new EventLinks() : undefined;
    const batch = new GrowingBatch(this.#spare ?? new BatchRows(this.#partition), this.#ids, links);
    this.#spare = undefined;
    let firstAt: number | undefined;
    /** When the last read began, unless it waited for anything at all: then when it ended. */
    let readAt = performance.now();
    while (!this.#fill(batch)) {
      if (batch.rows > 0) {
        firstAt ??= readAt;
        this.#oldestAt = batch.oldestAt;
        if (this.#failure !== undefined || this.#isDue(firstAt)) break;
      }
      readAt = performance.now();
      const isIdle = await this.#read(firstAt);
      if (isIdle) readAt = performance.now();
      // A read of what is there already lets nothing else in by itself: neither an insert on its way nor a heartbeat.
      await nextTurn();
    }
    const sealed = batch.seal(this.#start);
    this.#start = sealed.plan.end;
    this.#oldestAt = undefined;
    return sealed;
  }

  /** Takes a batch back that nobody needs any more: its memory is for the next one. */
  giveBack({ rows }: SealedBatch): void {
    rows.clear();
    this.#spare = rows;
  }

  #isDue(firstAt: number): boolean {
    return !this.#pace.isInserting && performance.now() >= this.#pace.dueAt(firstAt);
  }

  /**
   * Reads on. Until the batch is due it waits for a read's worth of records: one after another would cost more.
   * @returns whether it was idle: waited for the first record after a pause
   */
  async #read(firstAt: number | undefined): Promise<boolean> {
    if (this.#failure !== undefined) throw this.#failure;
    const leftMs = this.#pace.dueAt(firstAt) - performance.now();
    const isIdle = firstAt === undefined && leftMs <= 0;
    try {
      const { blocks, next } = await this.#partition.read(this.#readFrom, {
        minBytes: isIdle ? 1 : patientBytes,
        maxBytes: readBytes,
        maxWaitMs: isIdle ? idleWaitMs : leftMs > 0 ? Math.ceil(leftMs) : busyWaitMs,
      });
      this.#readFrom = next;
      for (const block of blocks) this.#rest.push({ block, index: 0 });
    } catch (error) {
      if (!(firstAt !== undefined && error instanceof OffsetOutOfRangeError)) throw error;
      this.#failure = error;
    }
    return isIdle;
  }

  /** Moves records into the batch; true when it is full. */
  #fill(batch: GrowingBatch): boolean {
    const { rows: maxRows, bytes: maxBytes } = this.#limits;
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
  readonly #rows: BatchRows;
  readonly #ids: RecentIds | undefined;
  readonly #idsBefore: ReadBack | undefined;
  readonly #repeats: Repeat[] = [];
  readonly #unreadable: UnreadableRecord[] = [];
  readonly #links: EventLinks | undefined;
  #end: number | undefined;
  /** Receive time of the oldest record. */
  oldestAt: number | undefined;

  /** `rows`: empty ones, of the same partition. */
  constructor(rows: BatchRows, ids?: RecentIds, links?: EventLinks) {
    this.#rows = rows;
    this.#links = links;
    this.#ids = ids;
    this.#idsBefore = ids?.readBack;
  }

  get rows(): number {
    return this.#rows.count;
  }

  get bytes(): number {
    return this.#rows.byteLength;
  }

  add(block: RecordBlock, index: number): void {
    const offset = block.offsets[index] as number;
    const receivedAt = block.receivedAt[index] as number;
    this.#end = offset + 1;
    const unreadable = block.unreadable?.[index];
    if (unreadable !== undefined) {
      // Its time is the word of a batch that cannot be read: neither ids nor freshness go by it.
      this.#unreadable.push({ index: this.rows, reason: unreadable });
      this.#rows.add(block, index);
      return;
    }
    const id = idOf(block, index);
    if (id === undefined) this.#ids?.advance(receivedAt);
    else {
      const earlierOffset = this.#ids?.see(id, offset, receivedAt);
      if (earlierOffset !== undefined) this.#repeats.push({ index: this.rows, earlierOffset });
    }
    this.#rows.add(block, index, id);
    this.#links?.see(block.headers?.[index]);
    if (this.oldestAt === undefined || receivedAt < this.oldestAt) this.oldestAt = receivedAt;
  }

  /** The batch as it is, beginning at the position `start`. */
  seal(start: number): SealedBatch {
    const end = this.#end ?? start;
    const repeats = this.#repeats;
    const unreadable = this.#unreadable;
    const plan: Plan = {
      start,
      end,
      rows: this.rows,
      crc: this.#rows.crc(),
      repeatsCrc: repeats.length === 0 ? 0 : crc32(JSON.stringify(repeats)),
      token: tokenOf(this.#rows.identity, start, end),
      sealedAt: Date.now(),
    };
    const idsBefore = this.#idsBefore;
    const oldestAt = this.oldestAt ?? Date.now();
    return { plan, rows: this.#rows, repeats, unreadable, idsBefore, oldestAt, links: this.#links };
  }
}
