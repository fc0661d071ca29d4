/** Delivers one partition: read -> seal -> commit the plan -> insert -> commit the end. */
import { FencedError, type OwnedPartition } from '../buffer/buffer.ts';
import { assertInvariant } from '../errors.ts';
import { passFaultPoint } from '../process/fault-point.ts';
import type { BatchLimits, SealedBatch } from './batch.ts';
import { BatchSource } from './batch-source.ts';
import { Lease } from './lease.ts';
import { encodeNote, type PartitionIdentity, type Plan } from './plan.ts';
import { doubtOf, type IdsLimits, recover, stillToSettle } from './recover.ts';

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

/** Delivers until ownership ends; then rejects with FencedError, or whatever made going on unsafe. */
export async function deliverPartition(
  partition: OwnedPartition,
  sink: Sink,
  options: DeliveryOptions,
): Promise<void> {
  try {
    await deliverBatches(partition, sink, options);
  } finally {
    options.observer.oldest(partition, undefined);
  }
}

async function deliverBatches(
  partition: OwnedPartition,
  sink: Sink,
  options: DeliveryOptions,
): Promise<void> {
  const { observer } = options;
  const recovered = await recover(partition, sink, options);
  const source = new BatchSource(partition, sink, { ...options, ...recovered });
  for (let done = recovered.position; ; ) {
    const { batch, committed } = await source.next(done);
    const settleUntil = stillToSettle(recovered, committed);
    assertInvariant(
      batch.plan.start === committed,
      `the plan for ${partition.topic}/${partition.partition} starts at ${batch.plan.start}, but ${committed} was committed`,
    );
    passFaultPoint('sealed');
    const lease = await Lease.take(partition, batch, settleUntil);
    passFaultPoint('plan-committed');
    observer.oldest(partition, batch.oldestAt);
    const how = { lease, isReplay: false, ...doubtOf(settleUntil) };
    await source.during(batch, () => sink.insert(batch, partition, how));
    done = batch.plan.end;
    observer.oldest(partition, source.oldestAt);
    // A batch that is ready commits this end together with its own plan.
    if (!source.isReady || partition.signal.aborted) {
      const { topicId } = partition;
      const left = stillToSettle(recovered, done);
      const note = { topicId, ids: source.idsBefore, settleUntil: left, plan: undefined };
      await partition.commit(done, encodeNote(note));
      passFaultPoint('end-committed');
    }
    if (partition.signal.aborted) throw new FencedError('ownership has ended');
  }
}
