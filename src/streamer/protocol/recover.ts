/** What a new owner of a partition does first: settles what an earlier one left, and finds where to go on. */
import { OffsetOutOfRangeError, type OwnedPartition, type PartitionIdentity } from '../../buffer/buffer.ts';
import { idOf } from '../../clickhouse/rows/batch-rows.ts';
import { assertInvariant, exitCodes, OperatorError } from '../../errors.ts';
import { type ReadBack, RecentIds } from '../ids/recent-ids.ts';
import type { DeliveryOptions, IdsLimits, Sink } from './delivery.ts';
import { Lease } from './lease.ts';
import { type CommitNote, decodeNote, encodeNote, type Plan } from './plan.ts';
import { readRange, replayPlan } from './replay-plan.ts';

/** Where delivery goes on. */
export interface Recovered {
  readonly position: number;
  /** Ids of the records before it; undefined when repeats are not looked for. */
  readonly ids: RecentIds | undefined;
  /** {@link CommitNote.settleUntil} */
  readonly settleUntil: number | undefined;
}

/** A plan that its owner did not finish, and the note that it was in. */
interface UnfinishedPlan {
  readonly note: CommitNote | undefined;
  readonly plan: Plan;
  readonly ids: RecentIds | undefined;
}

/** Records that retention may have taken before they were delivered, and the ids remembered before them. */
interface ExpiredGap {
  readonly offset: number;
  readonly start: number;
  readonly ids: ReadBack | undefined;
}

/** The part of a settlement that is left at a position. */
export function stillToSettle(
  { settleUntil }: Pick<Recovered, 'settleUntil'>,
  position: number,
): number | undefined {
  return settleUntil !== undefined && settleUntil > position ? settleUntil : undefined;
}

/** The option for the sink that goes with it. */
export function doubtOf(settleUntil: number | undefined): { readonly doubt?: string } {
  if (settleUntil === undefined) return {};
  return { doubt: `rows up to offset ${settleUntil - 1} were there although the commit said otherwise` };
}

/** Finds where a partition goes on. It never moves a position without saying so. */
export class Recovery {
  readonly #partition: OwnedPartition;
  readonly #sink: Sink;
  readonly #options: DeliveryOptions;

  constructor(partition: OwnedPartition, sink: Sink, options: DeliveryOptions) {
    this.#partition = partition;
    this.#sink = sink;
    this.#options = options;
  }

  /**
   * Settles the plan of an earlier owner, if there is one, and gives the position to go on from.
   * @throws OperatorError when the topic does not go with what was committed
   */
  async run(): Promise<Recovered> {
    for (;;) {
      try {
        return await this.#try();
      } catch (error) {
        // Retention has moved the start of the partition since it was looked at.
        if (!(error instanceof OffsetOutOfRangeError && error.from < error.start)) throw error;
      }
    }
  }

  /**
   * Goes on where the buffer starts when retention has passed the position; counts what that skips and ClickHouse
   * has not: after a commit was set back, it may have all of it.
   */
  async skipExpired({ offset, start, ids }: ExpiredGap): Promise<number> {
    if (offset >= start) return offset;
    const lost = start - offset - (await this.#countDelivered({ start: offset, end: start }));
    if (lost > 0) this.#options.observer.expired(this.#partition, offset, start, lost);
    // The next owner finds out again whether there is something to doubt.
    await this.#commit(start, { ids });
    return start;
  }

  /** The topic ends before a position that was delivered: it was truncated. */
  shorter(offset: number, end: number): OperatorError {
    const { topic, partition } = this.#partition;
    return new OperatorError(
      `${topic}/${partition} ends at ${end}, but ${offset} was committed for this group: ` +
        'the topic was truncated. Nothing was skipped or repeated. Use another --kafka-group for a new ' +
        'topic, or commit the offset to continue from',
      exitCodes.failure,
    );
  }

  async #try(): Promise<Recovered> {
    const commit = await this.#partition.committed();
    const bounds = await this.#partition.bounds();
    const note = decodeNote(commit?.plan ?? '');
    const { idsLimits } = this.#options;
    if (note !== undefined && note.topicId !== this.#partition.topicId) {
      await this.#leaveFormerTopic(note, bounds.start);
      return { position: bounds.start, ids: createIds(idsLimits, undefined), settleUntil: undefined };
    }
    const offset = commit?.offset ?? (await this.#findFirst(bounds.start));
    if (offset > bounds.end) throw this.shorter(offset, bounds.end);
    if (commit !== undefined && note === undefined) await this.#tellSkipped(offset);
    const mark = note === undefined ? { offset: offset - idsLimits.maxIds, logTime: 0 } : note.ids;
    const ids = createIds(idsLimits, mark);
    await this.#readIds(ids, { mark, start: bounds.start, end: offset });
    const plan = note?.plan;
    if (plan === undefined) {
      const position = await this.skipExpired({ offset, start: bounds.start, ids: note?.ids });
      return { position, ids, settleUntil: await this.#findDoubt(note, position) };
    }
    assertInvariant(
      plan.start === offset,
      `the stored plan starts at ${plan.start}, but ${offset} was committed with it`,
    );
    const settleUntil = await this.#findDoubt(note, plan.end);
    await this.#finishPlan({ note, plan, ids });
    const gap = { offset: plan.end, start: bounds.start, ids: ids?.readBack };
    return { position: await this.skipExpired(gap), ids, settleUntil };
  }

  /** A commit without a note is not ours: an operator has set it. What that skips is their wish, and has to be said. */
  async #tellSkipped(offset: number): Promise<void> {
    const last = await this.#findLastDelivered(0);
    if (last !== undefined && last + 1 < offset)
      this.#options.observer.skipped(this.#partition, last + 1, offset);
  }

  /**
   * Where delivery begins without a commit: at the start of the buffer. Not a reset when there never was one. When the
   * commit was forgotten, and retention has passed what ClickHouse had last, the gap in between is part of it.
   */
  async #findFirst(start: number): Promise<number> {
    const last = start === 0 ? undefined : await this.#findLastDelivered(0);
    return last === undefined ? start : Math.min(last + 1, start);
  }

  /**
   * ClickHouse is the last judge: rows beyond the committed offset and its plan mean that the commit was lost
   * (offsets expire, a coordinator may fall back) or that somebody has set it back. Tokens do not help there, since
   * batches are cut anew.
   */
  async #findDoubt(note: CommitNote | undefined, position: number): Promise<number | undefined> {
    const last = await this.#findLastDelivered(position);
    if (last === undefined) return note?.settleUntil;
    // What an earlier owner has noted already is known.
    if ((note?.settleUntil ?? 0) <= last) this.#options.observer.regressed(this.#partition, position, last);
    return Math.max(note?.settleUntil ?? 0, last + 1);
  }

  async #finishPlan({ note, plan, ids }: UnfinishedPlan): Promise<void> {
    const { observer, isTraced } = this.#options;
    const settleUntil = stillToSettle({ settleUntil: note?.settleUntil }, plan.start);
    observer.replaying(this.#partition, plan.start, plan.end);
    const replayed = await replayPlan(this.#partition, plan, { ids, isTraced });
    const { batch, expired, hasOtherRepeats } = replayed;
    if (batch !== undefined) {
      const lease = await Lease.take(this.#partition, { ...batch, idsBefore: note?.ids }, settleUntil);
      const reasons = { ...doubtOf(settleUntil) };
      if (hasOtherRepeats) reasons.doubt = 'different records count as repeats than when it was planned';
      if (plan.crc === undefined) reasons.doubt = 'an earlier version of Millrace planned it';
      if (expired > 0) reasons.doubt = 'retention has passed it';
      await this.#sink.insert(batch, this.#partition, { lease, isReplay: true, ...reasons });
    }
    if (expired > 0) {
      // Offsets need not be dense: what the plan counted is what there was.
      const lost = plan.rows - (await this.#countDelivered(plan));
      if (lost > 0) observer.expired(this.#partition, plan.start, plan.start + expired, lost);
    }
    const left = stillToSettle({ settleUntil: note?.settleUntil }, plan.end);
    await this.#commit(plan.end, { ids: ids?.readBack, settleUntil: left });
  }

  /**
   * The commit is of a topic of the same name that is gone: what of it was not delivered is gone, too. Going on
   * at its offset would skip or repeat records of the new one.
   */
  async #leaveFormerTopic({ topicId, plan }: CommitNote, start: number): Promise<void> {
    const { topic, partition } = this.#partition;
    const former = { topic, partition, topicId };
    const lost = plan === undefined ? 0 : plan.rows - (await this.#countDelivered(plan, former));
    this.#options.observer.topicChanged(this.#partition, topicId, lost);
    await this.#commit(start, { ids: undefined });
  }

  /**
   * Reads the ids before a position again, as far as the one who committed it remembered them; without its note, as
   * far as it can have.
   */
  async #readIds(
    ids: RecentIds | undefined,
    { mark, start, end }: { mark: ReadBack | undefined; start: number; end: number },
  ): Promise<void> {
    if (ids === undefined || mark?.offset === undefined) return;
    await readRange(this.#partition, { from: Math.max(mark.offset, start), end }, (block, index) => {
      if (block.unreadable?.[index] !== undefined) return;
      const id = idOf(block, index);
      const receivedAt = block.receivedAt[index] as number;
      if (id === undefined) ids.advance(receivedAt);
      else ids.see(id, block.offsets[index] as number, receivedAt);
    });
  }

  async #countDelivered(
    range: Pick<Plan, 'start' | 'end'>,
    identity: PartitionIdentity = this.#partition,
  ): Promise<number> {
    return await this.#sink.countDelivered(identity, range, this.#partition.signal);
  }

  async #findLastDelivered(from: number): Promise<number | undefined> {
    return await this.#sink.findLastDelivered(this.#partition, from, this.#partition.signal);
  }

  /** Commits an offset with nothing in flight. */
  async #commit(
    offset: number,
    { ids, settleUntil }: Pick<CommitNote, 'ids'> & Partial<Pick<CommitNote, 'settleUntil'>>,
  ): Promise<void> {
    const { topicId } = this.#partition;
    await this.#partition.commit(offset, encodeNote({ topicId, ids, settleUntil, plan: undefined }));
  }
}

function createIds(limits: IdsLimits, mark: ReadBack | undefined): RecentIds | undefined {
  if (limits.windowMs === 0) return undefined;
  return new RecentIds({ ...limits, ...(mark === undefined ? {} : { logTime: mark.logTime }) });
}
