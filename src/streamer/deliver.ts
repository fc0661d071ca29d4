/** Delivers one partition: read -> seal -> commit the plan -> insert -> commit the end. */
import type { OwnedPartition } from '../buffer/buffer.ts';
import { FencedError } from '../buffer/buffer.ts';
import { assertInvariant, exitCodes, OperatorError } from '../errors.ts';
import { type BatchLimits, BatchReader, type SealedBatch } from './batch.ts';
import { decodePlan, encodePlan } from './plan.ts';
import { replayPlan } from './replay-plan.ts';

/** Where batches go. */
export interface Sink {
  /**
   * Inserts a batch, trying for ever; rows that ClickHouse refuses go to the dead letters.
   * @throws FencedError when `signal` aborted before it succeeded
   */
  insert(batch: SealedBatch, partition: OwnedPartition): Promise<void>;
}

/** Told what happens to a partition. */
export interface DeliveryObserver {
  /** A plan of an earlier owner is inserted again. */
  replaying(partition: OwnedPartition, start: number, end: number): void;
  /** Retention removed records that were not delivered. */
  expired(partition: OwnedPartition, from: number, to: number): void;
  /** Receive time of the oldest record that was read and is not in ClickHouse; undefined when there is none. */
  oldest(partition: OwnedPartition, receivedAt: number | undefined): void;
}

/** Delivers until ownership ends; then rejects with FencedError, or whatever made going on unsafe. */
export async function deliverPartition(
  partition: OwnedPartition,
  sink: Sink,
  options: { readonly limits: BatchLimits; readonly observer: DeliveryObserver },
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
  options: { readonly limits: BatchLimits; readonly observer: DeliveryObserver },
): Promise<void> {
  const { limits, observer } = options;
  const position = await recover(partition, sink, observer);
  const reader = new BatchReader(partition, position, limits);
  let committed = position;
  let batch = await reader.next();
  for (;;) {
    assertInvariant(
      batch.plan.start === committed,
      `the plan for ${partition.topic}/${partition.partition} starts at ${batch.plan.start}, but ${committed} was committed`,
    );
    await partition.commit(batch.plan.start, encodePlan(batch.plan));
    // The next batch grows while this one travels.
    let ready: SealedBatch | undefined;
    const growing = reader.next().then((sealed) => {
      ready = sealed;
      return sealed;
    });
    growing.catch(() => {});
    observer.oldest(partition, batch.oldestAt);
    await sink.insert(batch, partition);
    committed = batch.plan.end;
    observer.oldest(partition, reader.oldestAt);
    // A batch that is ready commits this end together with its own plan.
    if (ready === undefined || partition.signal.aborted) await partition.commit(committed, '');
    if (partition.signal.aborted) throw new FencedError('ownership has ended');
    batch = ready ?? (await growing);
  }
}

/** Settles what an earlier owner left, and gives the position to go on from. */
async function recover(partition: OwnedPartition, sink: Sink, observer: DeliveryObserver): Promise<number> {
  const commit = await partition.committed();
  const bounds = await partition.bounds();
  // Never committed: everything that is stored is undelivered. Not a reset: nothing was promised from before.
  const offset = commit?.offset ?? bounds.start;
  if (offset > bounds.end) {
    throw new OperatorError(
      `${partition.topic}/${partition.partition} ends at ${bounds.end}, but ${offset} was committed for this group: ` +
        'the topic was truncated or made anew. Nothing was skipped or repeated. Use another --kafka-group for a new ' +
        'topic, or commit the offset to go on from',
      exitCodes.failure,
    );
  }
  const plan = decodePlan(commit?.plan ?? '');
  if (plan === undefined) return await skipExpired(partition, offset, bounds.start, observer);
  assertInvariant(
    plan.start === offset,
    `the stored plan starts at ${plan.start}, but ${offset} was committed with it`,
  );
  observer.replaying(partition, plan.start, plan.end);
  const { batch, expired } = await replayPlan(partition, plan);
  if (expired > 0) observer.expired(partition, plan.start, plan.start + expired);
  if (batch !== undefined) await sink.insert(batch, partition);
  await partition.commit(plan.end, '');
  return await skipExpired(partition, plan.end, bounds.start, observer);
}

async function skipExpired(
  partition: OwnedPartition,
  offset: number,
  start: number,
  observer: DeliveryObserver,
): Promise<number> {
  if (offset >= start) return offset;
  observer.expired(partition, offset, start);
  await partition.commit(start, '');
  return start;
}
