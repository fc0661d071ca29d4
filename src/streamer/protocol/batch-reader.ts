/**
 * Reads a partition and cuts it into batches: sealed at rows, bytes or age.
 *
 * How the inserts of one partition follow one another: few and large when much comes, soon when little does.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { OffsetOutOfRangeError, type OwnedPartition } from '../../buffer/buffer.ts';
import type { RecordBlock } from '../../buffer/records.ts';
import { BatchRows } from '../../clickhouse/rows/batch-rows.ts';
import { EventLinks } from '../../tracing/trace-context.ts';
import type { ReadBack, RecentIds } from '../ids/recent-ids.ts';
import { GrowingBatch, type SealedBatch } from './batch.ts';
import type { BatchLimits } from './delivery.ts';

/** How long a read waits for the first record. */
const idleWaitMs = 5_000;
/** How long a read waits for more records while an insert is under way whose end is not known. */
const busyWaitMs = 50;
/** Read at one go: some milliseconds, during which nothing is sent. */
const readBytes = 1024 * 1024;
/** While a batch may wait, a read that brings less is not worth its cost. */
const patientBytes = 256 * 1024;

/** A record that was read beyond the batch it was read for. */
interface UnreadBlock {
  readonly block: RecordBlock;
  index: number;
}

/** Share of the age that the first rows after a pause wait for those that come with them. */
const lingerShare = 0.1;

/**
 * A batch is due when the insert before it began `ageMs` ago and has ended. So there is at most one insert in that
 * time, whatever comes, unless batches get full; rows wait at most that long; when ClickHouse is slow the next batch
 * grows meanwhile; and after a pause rows go at once, but for a tenth of the time. Times are those of
 * `performance.now()`.
 */
export class Pace {
  readonly #ageMs: number;
  #beganAt = Number.NEGATIVE_INFINITY;
  #isInserting = false;

  constructor(ageMs: number) {
    this.#ageMs = ageMs;
  }

  /** Whether an insert is under way: no batch is due before it ends. */
  get isInserting(): boolean {
    return this.#isInserting;
  }

  /** An insert begins. */
  begin(): void {
    this.#beganAt = performance.now();
    this.#isInserting = true;
  }

  /** It has ended. */
  end(): void {
    this.#isInserting = false;
  }

  /** When a batch is due at the earliest whose first rows were read at `firstAt`; undefined: there are none yet. */
  dueAt(firstAt: number | undefined): number {
    const next = this.#beganAt + this.#ageMs;
    return firstAt === undefined ? next : Math.max(next, firstAt + this.#ageMs * lingerShare);
  }
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
  #unread: UnreadBlock[] = [];
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
      for (const block of blocks) this.#unread.push({ block, index: 0 });
    } catch (error) {
      if (!(firstAt !== undefined && error instanceof OffsetOutOfRangeError)) throw error;
      this.#failure = error;
    }
    return isIdle;
  }

  /** Moves records into the batch; true when it is full. */
  #fill(batch: GrowingBatch): boolean {
    const { rows: maxRows, bytes: maxBytes } = this.#limits;
    for (const unread of this.#unread) {
      while (unread.index < unread.block.count) {
        if (batch.rows >= maxRows || batch.bytes >= maxBytes) {
          this.#unread = this.#unread.filter(({ block, index }) => index < block.count);
          return true;
        }
        batch.add(unread.block, unread.index++);
      }
    }
    this.#unread = [];
    return false;
  }
}
