/** What a new owner of a partition does first: settles what an earlier one left, and finds where to go on. */
import { OffsetOutOfRangeError, type OwnedPartition } from '../buffer/buffer.ts';
import { assertInvariant, exitCodes, OperatorError } from '../errors.ts';
import type { DeliveryOptions, Sink } from './deliver.ts';
import { Lease } from './lease.ts';
import { type CommitNote, decodeNote, encodeNote, type IdsMark, type Plan } from './plan.ts';
import { RecentIds } from './recent-ids.ts';
import { readRange, replayPlan } from './replay-plan.ts';
import { idOf } from './row-writer.ts';

/** Where delivery goes on. */
export interface Recovered {
  readonly position: number;
  /** Ids of the records before it; undefined when repeats are not looked for. */
  readonly ids: RecentIds | undefined;
}

/** Ids to look for, and for how long each is remembered. */
export interface IdsLimits {
  /** Milliseconds by log time. */
  readonly windowMs: number;
  /** Most ids of a partition. */
  readonly maxIds: number;
}

/**
 * Settles the plan of an earlier owner, if there is one, and gives the position to go on from. It never moves a
 * position without saying so.
 * @throws OperatorError when the topic does not go with what was committed
 */
export async function recover(
  partition: OwnedPartition,
  sink: Sink,
  options: DeliveryOptions,
): Promise<Recovered> {
  for (;;) {
    try {
      return await tryRecover(partition, sink, options);
    } catch (error) {
      // Retention has moved the start of the partition since it was looked at.
      if (!(error instanceof OffsetOutOfRangeError && error.from < error.start)) throw error;
    }
  }
}

async function tryRecover(
  partition: OwnedPartition,
  sink: Sink,
  options: DeliveryOptions,
): Promise<Recovered> {
  const { observer } = options;
  const commit = await partition.committed();
  const bounds = await partition.bounds();
  const note = decodeNote(commit?.plan ?? '');
  if (note !== undefined && note.topicId !== partition.topicId) {
    await leaveFormerTopic(partition, sink, { note, observer, start: bounds.start });
    return { position: bounds.start, ids: createIds(options.idsLimits, undefined) };
  }
  // Never committed: everything that is stored is undelivered. Not a reset: nothing was promised from before.
  const offset = commit?.offset ?? bounds.start;
  if (offset > bounds.end) throw shorter(partition, offset, bounds.end);
  const ids = createIds(options.idsLimits, note?.ids);
  await readIds(partition, ids, { mark: note?.ids, start: bounds.start, end: offset });
  const plan = note?.plan;
  if (plan === undefined) {
    const position = await skipExpired(partition, { offset, start: bounds.start, ids: note?.ids }, options);
    return { position, ids };
  }
  assertInvariant(
    plan.start === offset,
    `the stored plan starts at ${plan.start}, but ${offset} was committed with it`,
  );
  await finishPlan(partition, sink, { plan, ids, options });
  const position = await skipExpired(
    partition,
    { offset: plan.end, start: bounds.start, ids: ids?.oldest },
    options,
  );
  return { position, ids };
}

async function finishPlan(
  partition: OwnedPartition,
  sink: Sink,
  { plan, ids, options }: { plan: Plan; ids: RecentIds | undefined; options: DeliveryOptions },
): Promise<void> {
  const { observer } = options;
  observer.replaying(partition, plan.start, plan.end);
  const { batch, expired, hasOtherRepeats } = await replayPlan(partition, plan, ids);
  if (batch !== undefined) {
    const lease = await Lease.take(partition, batch);
    const doubt =
      expired > 0 ? 'retention has passed it' : hasOtherRepeats ? 'other ids count as repeats' : undefined;
    await sink.insert(batch, partition, { lease, isReplay: true, ...(doubt === undefined ? {} : { doubt }) });
  }
  if (expired > 0) {
    // Offsets need not be dense: what the plan counted is what there was.
    const lost = plan.rows - (await sink.countDelivered(partition, plan, partition.signal));
    if (lost > 0) observer.expired(partition, plan.start, plan.start + expired, lost);
  }
  const note: CommitNote = { topicId: partition.topicId, ids: ids?.oldest, plan: undefined };
  await partition.commit(plan.end, encodeNote(note));
}

/**
 * The commit is of a topic of the same name that is gone: what of it was not delivered is gone, too. Going on
 * at its offset would skip or repeat records of the new one.
 */
async function leaveFormerTopic(
  partition: OwnedPartition,
  sink: Sink,
  { note, observer, start }: { note: CommitNote; observer: DeliveryOptions['observer']; start: number },
): Promise<void> {
  const { topic, partition: number, topicId } = partition;
  const former = { topic, partition: number, topicId: note.topicId };
  const lost =
    note.plan === undefined
      ? 0
      : note.plan.rows - (await sink.countDelivered(former, note.plan, partition.signal));
  observer.topicChanged(partition, note.topicId, lost);
  await partition.commit(start, encodeNote({ topicId, ids: undefined, plan: undefined }));
}

/** Goes on where the buffer starts when retention has passed the position; counts what that skips. */
export async function skipExpired(
  partition: OwnedPartition,
  { offset, start, ids }: { offset: number; start: number; ids: IdsMark | undefined },
  { observer }: Pick<DeliveryOptions, 'observer'>,
): Promise<number> {
  if (offset >= start) return offset;
  observer.expired(partition, offset, start, start - offset);
  await partition.commit(start, encodeNote({ topicId: partition.topicId, ids, plan: undefined }));
  return start;
}

/** The topic ends before a position that was delivered: it was truncated. */
export function shorter({ topic, partition }: OwnedPartition, offset: number, end: number): OperatorError {
  return new OperatorError(
    `${topic}/${partition} ends at ${end}, but ${offset} was committed for this group: ` +
      'the topic was truncated. Nothing was skipped or repeated. Use another --kafka-group for a new ' +
      'topic, or commit the offset to go on from',
    exitCodes.failure,
  );
}

function createIds(limits: IdsLimits, mark: IdsMark | undefined): RecentIds | undefined {
  if (limits.windowMs === 0) return undefined;
  return new RecentIds({ ...limits, ...(mark === undefined ? {} : { logTime: mark.logTime }) });
}

/** Reads the ids before a position again, as far as the one who committed it remembered them. */
async function readIds(
  partition: OwnedPartition,
  ids: RecentIds | undefined,
  { mark, start, end }: { mark: IdsMark | undefined; start: number; end: number },
): Promise<void> {
  if (ids === undefined || mark === undefined) return;
  await readRange(partition, { from: Math.max(mark.offset, start), end }, (block, index) => {
    const id = block.headers === undefined ? undefined : idOf(block, index);
    if (id !== undefined) ids.see(id, block.offsets[index] as number, block.receivedAt[index] as number);
  });
}
