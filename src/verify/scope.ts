/** What is compared: ranges of offsets for each partition. */
import type { BufferInspector, PartitionView, TopicView } from '../buffer/buffer.ts';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { type Progress, readProgress } from '../streamer/protocol/plan.ts';
import { clip, type Range, type RangeSet } from './ranges.ts';

/** What is asked for. Times are milliseconds since the epoch. */
export interface ScopeOptions {
  /** From the first record received at this time or later. */
  readonly since: number | undefined;
  /** Up to the first record received at this time or later. */
  readonly until: number | undefined;
  /** From offset 0, not from the first record that the buffer still holds. */
  readonly all: boolean;
}

/** What is compared of one partition, from how far it was delivered when the view was taken. */
export interface PartitionScope extends Progress {
  readonly partition: number;
  readonly view: PartitionView;
  /** Must be in ClickHouse, every record of it. */
  readonly checked: Range;
  /** `checked`, and around it what receipts below the commit name. */
  readonly span: Range;
  /** Offsets that retention removed from the buffer before they were committed: lost, unless ClickHouse has them. */
  readonly expired: Range | undefined;
}

/**
 * Decides what to compare, from a view that was taken before ClickHouse is asked: every offset below a commit
 * in it was delivered by then.
 */
export async function chooseScope(
  inspector: BufferInspector,
  { topicId, partitions }: TopicView,
  options: ScopeOptions & { readonly receipts: ReadonlyMap<number, RangeSet> | undefined },
): Promise<PartitionScope[]> {
  const scopes: PartitionScope[] = [];
  for (const view of partitions) {
    const progress = progressOf({ topic: inspector.topic, topicId }, view);
    const { committed, inFlight } = progress;
    const checked = await chooseRange(inspector, view, { ...options, committed });
    const named = options.receipts?.get(view.partition)?.hull;
    const wanted = named === undefined ? checked : clip(named, { start: 0, end: committed });
    const isEmpty = wanted.start >= wanted.end;
    const span = isEmpty ? checked : hullOf(checked, wanted);
    const delivered = inFlight?.end ?? committed;
    const expired = delivered < view.start ? { start: delivered, end: view.start } : undefined;
    scopes.push({ partition: view.partition, view, ...progress, checked, span, expired });
  }
  return scopes;
}

async function chooseRange(
  inspector: BufferInspector,
  { partition, start }: PartitionView,
  { since, until, all, committed }: ScopeOptions & { readonly committed: number },
): Promise<Range> {
  const whole = { start: all ? 0 : Math.min(start, committed), end: committed };
  const from = since === undefined ? whole.start : await inspector.offsetAt(partition, since);
  const to = until === undefined ? whole.end : await inspector.offsetAt(partition, until);
  return clip({ start: from, end: to }, { start: Math.min(all ? 0 : start, committed), end: committed });
}

function hullOf(a: Range, b: Range): Range {
  if (a.start >= a.end) return b;
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/**
 * How far a partition is delivered.
 * @throws OperatorError when another program commits to the group
 */
export function progressOf(
  { topic, topicId }: { readonly topic: string; readonly topicId: string },
  view: PartitionView,
): Progress {
  try {
    return readProgress(view, topicId);
  } catch (error) {
    throw new OperatorError(`${topic}/${view.partition}: ${messageOf(error)}`, exitCodes.failure, {
      cause: error,
    });
  }
}
