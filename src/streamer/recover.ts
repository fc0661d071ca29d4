/** What a new owner of a partition does first: settles what an earlier one left, and finds where to go on. */
import { OffsetOutOfRangeError, type OwnedPartition } from '../buffer/buffer.ts';
import { assertInvariant, exitCodes, OperatorError } from '../errors.ts';
import { idOf } from './batch-rows.ts';
import type { DeliveryOptions, Sink } from './deliver.ts';
import { Lease } from './lease.ts';
import { type CommitNote, decodeNote, encodeNote, type Plan } from './plan.ts';
import { type ReadBack, RecentIds } from './recent-ids.ts';
import { readRange, replayPlan } from './replay-plan.ts';

/** Where delivery goes on. */
export interface Recovered {
  readonly position: number;
  /** Ids of the records before it; undefined when repeats are not looked for. */
  readonly ids: RecentIds | undefined;
  /** {@link CommitNote.settleUntil} */
  readonly settleUntil: number | undefined;
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
    return { position: bounds.start, ids: createIds(options.idsLimits, undefined), settleUntil: undefined };
  }
  const offset = commit?.offset ?? (await findFirst(partition, sink, bounds.start));
  if (offset > bounds.end) throw shorter(partition, offset, bounds.end);
  if (commit !== undefined && note === undefined) await tellSkipped(partition, sink, { offset, observer });
  const mark = note === undefined ? { offset: offset - options.idsLimits.maxIds, logTime: 0 } : note.ids;
  const ids = createIds(options.idsLimits, mark);
  await readIds(partition, ids, { mark, start: bounds.start, end: offset });
  const plan = note?.plan;
  if (plan === undefined) {
    const gap = { offset, start: bounds.start, ids: note?.ids };
    const position = await skipExpired(partition, sink, { ...options, ...gap });
    return { position, ids, settleUntil: await findDoubt(partition, sink, { note, position, observer }) };
  }
  assertInvariant(
    plan.start === offset,
    `the stored plan starts at ${plan.start}, but ${offset} was committed with it`,
  );
  const settleUntil = await findDoubt(partition, sink, { note, position: plan.end, observer });
  await finishPlan(partition, sink, { note, plan, ids, options });
  const gap = { offset: plan.end, start: bounds.start, ids: ids?.readBack };
  const position = await skipExpired(partition, sink, { ...options, ...gap });
  return { position, ids, settleUntil };
}

/** A commit without a note is not ours: an operator has set it. What that skips is their wish, and has to be said. */
async function tellSkipped(
  partition: OwnedPartition,
  sink: Sink,
  { offset, observer }: { offset: number } & Pick<DeliveryOptions, 'observer'>,
): Promise<void> {
  const last = await sink.findLastDelivered(partition, 0, partition.signal);
  if (last !== undefined && last + 1 < offset) observer.skipped(partition, last + 1, offset);
}

/**
 * Where delivery begins without a commit: at the start of the buffer. Not a reset when there never was one. When the
 * commit was forgotten, and retention has passed what ClickHouse had last, the gap in between is part of it.
 */
async function findFirst(partition: OwnedPartition, sink: Sink, start: number): Promise<number> {
  const last = start === 0 ? undefined : await sink.findLastDelivered(partition, 0, partition.signal);
  return last === undefined ? start : Math.min(last + 1, start);
}

/**
 * ClickHouse is the last judge: rows beyond the committed offset and its plan mean that the commit was lost
 * (offsets expire, a coordinator may fall back) or that somebody has set it back. Tokens do not help there, since
 * batches are cut anew.
 */
async function findDoubt(
  partition: OwnedPartition,
  sink: Sink,
  {
    note,
    position,
    observer,
  }: { note: CommitNote | undefined; position: number } & Pick<DeliveryOptions, 'observer'>,
): Promise<number | undefined> {
  const last = await sink.findLastDelivered(partition, position, partition.signal);
  if (last === undefined) return note?.settleUntil;
  // What an earlier owner has noted already is known.
  if ((note?.settleUntil ?? 0) <= last) observer.regressed(partition, position, last);
  return Math.max(note?.settleUntil ?? 0, last + 1);
}

/** What of the doubt is left at a position. */
export function stillToSettle(
  { settleUntil }: Pick<Recovered, 'settleUntil'>,
  position: number,
): number | undefined {
  return settleUntil !== undefined && settleUntil > position ? settleUntil : undefined;
}

/** The option for the sink that goes with it. */
export function doubtOf(settleUntil: number | undefined): { readonly doubt?: string } {
  if (settleUntil === undefined) return {};
  return { doubt: `rows up to offset ${settleUntil - 1} were there when the commit said otherwise` };
}

/** A plan that its owner did not finish, and the note that it was in. */
interface UnfinishedPlan {
  readonly note: CommitNote | undefined;
  readonly plan: Plan;
  readonly ids: RecentIds | undefined;
  readonly options: DeliveryOptions;
}

async function finishPlan(
  partition: OwnedPartition,
  sink: Sink,
  { note, plan, ids, options }: UnfinishedPlan,
): Promise<void> {
  const { observer } = options;
  const settleUntil = stillToSettle({ settleUntil: note?.settleUntil }, plan.start);
  observer.replaying(partition, plan.start, plan.end);
  const { batch, expired, hasOtherRepeats } = await replayPlan(partition, plan, {
    ids,
    isTraced: options.isTraced,
  });
  if (batch !== undefined) {
    const lease = await Lease.take(partition, { ...batch, idsBefore: note?.ids }, settleUntil);
    const reasons = { ...doubtOf(settleUntil) };
    if (hasOtherRepeats) reasons.doubt = 'other records count as repeats than when it was planned';
    if (plan.crc === undefined) reasons.doubt = 'an earlier version of Millrace had planned it';
    if (expired > 0) reasons.doubt = 'retention has passed it';
    await sink.insert(batch, partition, { lease, isReplay: true, ...reasons });
  }
  if (expired > 0) {
    // Offsets need not be dense: what the plan counted is what there was.
    const lost = plan.rows - (await sink.countDelivered(partition, plan, partition.signal));
    if (lost > 0) observer.expired(partition, plan.start, plan.start + expired, lost);
  }
  const left = stillToSettle({ settleUntil: note?.settleUntil }, plan.end);
  const end = { topicId: partition.topicId, ids: ids?.readBack, settleUntil: left, plan: undefined };
  await partition.commit(plan.end, encodeNote(end));
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
  await partition.commit(
    start,
    encodeNote({ topicId, ids: undefined, settleUntil: undefined, plan: undefined }),
  );
}

/** Records that retention may have taken before they were delivered, and the ids remembered before them. */
interface ExpiredGap extends Pick<DeliveryOptions, 'observer'> {
  readonly offset: number;
  readonly start: number;
  readonly ids: ReadBack | undefined;
}

/**
 * Goes on where the buffer starts when retention has passed the position; counts what that skips and ClickHouse
 * has not: after a commit was set back, it may have all of it.
 */
export async function skipExpired(
  partition: OwnedPartition,
  sink: Sink,
  { observer, offset, start, ids }: ExpiredGap,
): Promise<number> {
  if (offset >= start) return offset;
  const range = { start: offset, end: start };
  const lost = start - offset - (await sink.countDelivered(partition, range, partition.signal));
  if (lost > 0) observer.expired(partition, offset, start, lost);
  const { topicId } = partition;
  // The next owner finds out again whether there is something to doubt.
  await partition.commit(start, encodeNote({ topicId, ids, settleUntil: undefined, plan: undefined }));
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

function createIds(limits: IdsLimits, mark: ReadBack | undefined): RecentIds | undefined {
  if (limits.windowMs === 0) return undefined;
  return new RecentIds({ ...limits, ...(mark === undefined ? {} : { logTime: mark.logTime }) });
}

/**
 * Reads the ids before a position again, as far as the one who committed it remembered them; without its note, as
 * far as it can have.
 */
async function readIds(
  partition: OwnedPartition,
  ids: RecentIds | undefined,
  { mark, start, end }: { mark: ReadBack | undefined; start: number; end: number },
): Promise<void> {
  if (ids === undefined || mark?.offset === undefined) return;
  await readRange(partition, { from: Math.max(mark.offset, start), end }, (block, index) => {
    if (block.unreadable?.[index] !== undefined) return;
    const id = idOf(block, index);
    const receivedAt = block.receivedAt[index] as number;
    if (id === undefined) ids.advance(receivedAt);
    else ids.see(id, block.offsets[index] as number, receivedAt);
  });
}
