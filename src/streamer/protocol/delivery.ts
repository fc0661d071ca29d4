/** What the parts of delivering one partition know of each other: where batches go, within which limits, and who is told. */
import type { OwnedPartition, PartitionIdentity } from '../../buffer/buffer.ts';
import type { SealedBatch } from './batch.ts';
import type { Lease } from './lease.ts';
import type { Plan } from './plan.ts';

/** When a batch is sealed: when it is full, or due by its age. */
export interface BatchLimits {
  readonly rows: number;
  readonly bytes: number;
  /** How long rows wait for others, milliseconds. */
  readonly ageMs: number;
}

/** Ids to look for, and for how long each is remembered. */
export interface IdsLimits {
  /** Milliseconds by log time. */
  readonly windowMs: number;
  /** Most ids of a partition. */
  readonly maxIds: number;
}

/** How a batch is to be inserted. */
export interface InsertOptions {
  /** The right to insert it. */
  readonly lease: Lease;
  /** Whether an earlier owner may have inserted it. */
  readonly isReplay: boolean;
  /** Why its token must not be relied on: it is settled by asking ClickHouse then. */
  readonly doubt?: string;
}

/** Where batches go. */
export interface Sink {
  /**
   * Inserts a batch, trying for ever; rows that ClickHouse refuses go to the dead letters, records that repeat
   * an id to the repeats.
   * @throws FencedError when ownership ended before it succeeded
   */
  insert(batch: SealedBatch, partition: OwnedPartition, options: InsertOptions): Promise<void>;
  /**
   * Number of offsets of a range that are in one of the tables, waiting for ClickHouse if need be.
   * @throws FencedError when `signal` aborts meanwhile
   */
  countDelivered(
    identity: PartitionIdentity,
    range: Pick<Plan, 'start' | 'end'>,
    signal: AbortSignal,
  ): Promise<number>;
  /**
   * The last offset at or after `from` that is in one of the tables; undefined when there is none. Waits for
   * ClickHouse if need be.
   * @throws FencedError when `signal` aborts meanwhile
   */
  findLastDelivered(
    identity: PartitionIdentity,
    from: number,
    signal: AbortSignal,
  ): Promise<number | undefined>;
}

/** Told what happens to a partition. */
export interface DeliveryObserver {
  /** A plan of an earlier owner is inserted again. */
  replaying(partition: OwnedPartition, start: number, end: number): void;
  /** Retention removed `lost` records that were not delivered, in the offsets `from` to `to`. */
  expired(partition: OwnedPartition, from: number, to: number, lost: number): void;
  /** ClickHouse has rows from `position`, the committed offset, up to `last`: the commit was lost or set back. */
  regressed(partition: OwnedPartition, position: number, last: number): void;
  /** Somebody has set the commit forward, to `offset`; ClickHouse has nothing of `from` up to there, and will not get it. */
  skipped(partition: OwnedPartition, from: number, offset: number): void;
  /** The topic was made anew; of the plan in flight for the former one `lost` records were not delivered. */
  topicChanged(partition: OwnedPartition, formerId: string, lost: number): void;
  /** Receive time of the oldest record that was read and is not in ClickHouse; undefined when there is none. */
  oldest(partition: OwnedPartition, receivedAt: number | undefined): void;
}

/** How to deliver. */
export interface DeliveryOptions {
  readonly limits: BatchLimits;
  readonly idsLimits: IdsLimits;
  readonly observer: DeliveryObserver;
  /** Whether batches carry the traces of their events. */
  readonly isTraced?: boolean;
}
