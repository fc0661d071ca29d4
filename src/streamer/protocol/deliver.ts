/** Delivers one partition: read -> seal -> commit the plan -> insert -> commit the end. */
import { FencedError, type OwnedPartition } from '../../buffer/buffer.ts';
import { assertInvariant } from '../../errors.ts';
import { passFaultPoint } from '../../process/fault-point.ts';
import { BatchSource } from './batch-source.ts';
import type { DeliveryOptions, Sink } from './delivery.ts';
import { Lease } from './lease.ts';
import { encodeNote } from './plan.ts';
import { doubtOf, Recovery, stillToSettle } from './recover.ts';

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
  const recovery = new Recovery(partition, sink, options);
  const recovered = await recovery.run();
  const source = new BatchSource(partition, recovery, { ...options, ...recovered });
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
    const insertOptions = { lease, isReplay: false, ...doubtOf(settleUntil) };
    await source.during(batch, () => sink.insert(batch, partition, insertOptions));
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
