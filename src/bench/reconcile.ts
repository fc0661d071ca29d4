/** Waits until the events of a run are stored, and says what became of them. */
import { pause } from '../time.ts';
import type { Receipts } from '../verify/receipts.ts';
import { type Comparison, compareReceipts, countArrivals, hullsOf } from './compare-receipts.ts';
import { type ContentFinding, compareTexts, type Posted, unchecked } from './content.ts';
import type { Store } from './store.ts';

/** `loss` stands for every fault: missing, stored twice, acknowledged twice, stored otherwise than it was posted. */
type ReconciliationVerdict = 'ok' | 'loss' | 'not_delivered';

/** What became of everything that was sent, in events. Names are those of the JSON. */
export interface Reconciliation extends Comparison {
  readonly verdict: ReconciliationVerdict;
  readonly topic: string;
  /** How many events two answers acknowledged by one and the same receipt. */
  readonly acknowledged_twice: number;
  /** Null when not everything is stored yet, or what was posted is not known. */
  readonly content: ContentFinding | null;
  /** Until everything was stored, or the wait was over; from when the last answer came. */
  readonly waited_seconds: number;
}

/** What to reconcile, and how. */
export interface ReconcileOptions {
  readonly topic: string;
  readonly receipts: Receipts;
  /** Events that answers acknowledged. */
  readonly acknowledged: number;
  /** What was posted; undefined: content is not compared. */
  readonly posted?: Posted | undefined;
  /** Longest time to wait for delivery, milliseconds. */
  readonly waitMs: number;
  /** Ends the waiting. */
  readonly stop: AbortSignal;
}

const firstPollMs = 50;
const longestPollMs = 1_000;
/** Between two counts that must agree on what is lost. */
const recountMs = 1_000;

/**
 * Waits and compares. Before it speaks of loss it counts again: no moment of a delivery must pass for one.
 * @throws ClickHouseError, ClickHouseUnavailableError
 */
export async function reconcile(store: Store, options: ReconcileOptions): Promise<Reconciliation> {
  const { topic, receipts, waitMs, stop } = options;
  const startedAt = performance.now();
  const deadline = startedAt + waitMs;
  await awaitDelivery(store, options);
  const seconds = () => Math.round(performance.now() - startedAt) / 1_000;
  for (let missingBefore: number | undefined; ; ) {
    const waited = seconds();
    const found = await compareReceipts(store, topic, receipts);
    const isOver = performance.now() + recountMs > deadline || stop.aborted;
    const isSure = found.missing === 0 || found.missing === missingBefore;
    if (isSure && (found.not_delivered === 0 || isOver)) {
      const content = await lookAtContent(store, options, found);
      return {
        ...found,
        ...judge({ ...found, content }, options.acknowledged),
        content,
        topic,
        waited_seconds: waited,
      };
    }
    missingBefore = found.missing;
    await pause(recountMs, stop);
  }
}

async function lookAtContent(
  { clickhouse, tables }: Store,
  { topic, receipts, posted }: ReconcileOptions,
  { topic_id: topicId, receipts: events, not_delivered }: Comparison,
): Promise<ContentFinding | null> {
  if (posted === undefined || topicId === null || not_delivered > 0) return null;
  if (receipts.spools.size > 0) return unchecked(events, 'some events went through a spool');
  const hulls = hullsOf(receipts.partitions);
  return await compareTexts({ clickhouse, tables, topic, topicId }, { hulls, receipts: events, posted });
}

function judge(
  found: Comparison & Pick<Reconciliation, 'content'>,
  acknowledged: number,
): Pick<Reconciliation, 'verdict' | 'acknowledged_twice'> {
  const twice = Math.max(0, acknowledged - found.receipts);
  const changed = changedOf({ ...found, acknowledged_twice: twice });
  const faults = found.missing + found.duplicated + found.repeats_kept + twice + changed;
  const open = found.not_delivered > 0 ? 'not_delivered' : 'ok';
  return { verdict: faults > 0 ? 'loss' : open, acknowledged_twice: twice };
}

/**
 * Events that are stored otherwise than they were posted. Not one that is missing, nor one whose receipt is that of
 * another: of those no text is there either.
 */
export function changedOf({
  content,
  missing,
  acknowledged_twice,
}: Pick<Reconciliation, 'content' | 'missing' | 'acknowledged_twice'>): number {
  return Math.max(0, (content?.different ?? 0) - missing - acknowledged_twice);
}

/**
 * Waits until the last receipt of each partition is in a table, or a row beyond it: what comes before is there
 * by then. Cheap, since it looks at the ends alone.
 * @returns whether it is
 */
export async function awaitDelivery(
  store: Store,
  { topic, receipts, waitMs, stop }: Omit<ReconcileOptions, 'acknowledged'>,
): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  const beyond = Number.MAX_SAFE_INTEGER;
  const ends = hullsOf(receipts.partitions).map(({ start, end }) => ({
    start: end > start ? end - 1 : beyond,
    end: beyond,
  }));
  const wanted = receipts.partitions.size;
  if (wanted === 0) return true;
  for (let pollMs = firstPollMs; ; pollMs = Math.min(longestPollMs, 2 * pollMs)) {
    const arrivals = await countArrivals(store, topic, ends);
    if (mostPartitions(arrivals) >= wanted) return true;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0 || stop.aborted) return false;
    await pause(Math.min(pollMs, leftMs), stop);
  }
}

/** Of the topic that has rows of the most. */
function mostPartitions(arrivals: readonly { readonly topic_id: string }[]): number {
  const counts = new Map<string, number>();
  for (const { topic_id } of arrivals) counts.set(topic_id, (counts.get(topic_id) ?? 0) + 1);
  return Math.max(0, ...counts.values());
}
