/**
 * What is compared: ranges of offsets for each partition.
 *
 * What is in the buffer and not delivered yet: finding it, and waiting for it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BufferInspector,
  OffsetOutOfRangeError,
  type PartitionView,
  type TopicView,
} from '../buffer/buffer.ts';
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
function progressOf(
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

const firstPollMs = 50;
const longestPollMs = 500;
const readBytes = 64 * 1024;

/**
 * Waits until everything that is in the buffer now is delivered, at most `waitMs`.
 * @returns whether it is
 */
export async function waitForDelivery(inspector: BufferInspector, waitMs: number): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  const atStart = await inspector.view();
  const targets = new Map(atStart.partitions.map(({ partition, end }) => [partition, end]));
  let view: TopicView = atStart;
  for (let pollMs = firstPollMs; ; pollMs = Math.min(longestPollMs, pollMs * 2)) {
    for (const partition of view.partitions) {
      const target = targets.get(partition.partition);
      if (target === undefined) continue;
      const { committed } = progressOf({ topic: inspector.topic, topicId: view.topicId }, partition);
      if (await isDelivered(inspector, partition, { committed, target })) targets.delete(partition.partition);
    }
    if (targets.size === 0) return true;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return false;
    await sleep(Math.min(pollMs, leftMs));
    view = await inspector.view();
  }
}

async function isDelivered(
  inspector: BufferInspector,
  view: PartitionView,
  { committed, target }: { committed: number; target: number },
): Promise<boolean> {
  if (committed >= target) return true;
  // Behind the last record of a transaction there is a marker, which nobody delivers and nobody commits.
  return (
    !inspector.isDense && (await findFirst(inspector, view, { start: committed, end: target })) === undefined
  );
}

/** The oldest record that is not delivered. */
interface OldestRecord {
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
}

/** Finds the oldest record of a range that the buffer still holds; undefined when there is none. */
export async function findFirst(
  inspector: BufferInspector,
  view: PartitionView,
  { start, end }: Range,
): Promise<OldestRecord | undefined> {
  let position = Math.max(start, view.start);
  while (position < end) {
    try {
      const { blocks, next } = await inspector.read(view.partition, position, { maxBytes: readBytes });
      const [block] = blocks;
      if (block !== undefined) {
        const offset = block.offsets[0] as number;
        return offset < end ? { offset, receivedAt: block.receivedAt[0] as number } : undefined;
      }
      if (next === position) return undefined;
      position = next;
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError) || error.start <= position) throw error;
      position = error.start;
    }
  }
  return undefined;
}
