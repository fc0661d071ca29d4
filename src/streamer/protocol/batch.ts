/**
 * A batch: the rows of one insert, and what is known of them.
 *
 * A batch of rows: filled from the buffer, sealed at rows, bytes or age.
 */
import { crc32 } from 'node:zlib';
import type { RecordBlock } from '../../buffer/records.ts';
import { type BatchRows, idOf } from '../../clickhouse/rows/batch-rows.ts';
import type { EventLinks } from '../../tracing/trace-context.ts';
import type { ReadBack, RecentIds } from '../ids/recent-ids.ts';
import { type Plan, tokenOf } from './plan.ts';

/** A record of a batch whose id was seen before. */
interface Repeat {
  /** Position in the batch. */
  readonly index: number;
  /** Offset of the record that it repeats. */
  readonly earlierOffset: number;
}

/** A record of a batch that stands in for one that cannot be read: it goes to the dead letters. */
interface UnreadableRecord {
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
