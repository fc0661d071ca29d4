/**
 * Whether every event that was acknowledged is stored, exactly once: asks ClickHouse alone, so that it takes no
 * access to the buffer. Rows of one partition are stored in the order of their offsets, so a receipt without a row
 * is lost when `events` has a row beyond it, and still on its way otherwise.
 *
 * How far the rows of a run have come, by what ClickHouse holds of the offsets that receipts name.
 *
 * How soon the events of a run were stored, and in how many parts.
 */
import { quoteText } from '../clickhouse/client.ts';
import { deliveryTables, syncReplica } from '../clickhouse/tables.ts';
import {
  type Bucket,
  conditionsOf,
  listOf,
  numberSettings,
  readBuckets,
  type Source,
} from '../verify/coverage.ts';
import { findDuplicates, findKeptRepeats, type RepeatedRange } from '../verify/faults.ts';
import { findMissing } from '../verify/missing.ts';
import { clip, mostListed, type Range, RangeSet } from '../verify/ranges.ts';
import type { Receipts } from '../verify/receipts.ts';
import { checkSpools, type SpoolReceipts } from '../verify/receipts-report.ts';
import type { Store } from './store.ts';

/** Offsets of a partition. */
type PartitionRange = Range & { readonly partition: number };

/** What became of the receipts, counted in events. Names are those of the JSON. */
export interface Comparison {
  /** The topic whose rows were compared; null when there were none. */
  readonly topic_id: string | null;
  /** Topics of the same name that have rows at the same offsets, of about the same time: it is a guess which one is meant. */
  readonly other_topic_ids: readonly string[];
  /** Distinct receipts. */
  readonly receipts: number;
  /** In a table. */
  readonly stored: number;
  /** Rows between the first and the last receipt that are in `dead_letters`, and in `repeats`; of other clients, too. */
  readonly dead_letters: number;
  readonly repeats: number;
  /** In no table, though `events` has rows beyond them: lost. */
  readonly missing: number;
  /** In `events` more than once. */
  readonly duplicated: number;
  /** In `repeats`, and in `events` or `dead_letters` as well. */
  readonly repeats_kept: number;
  /** In no table yet. */
  readonly not_delivered: number;
  /** The first of these ranges. */
  readonly missing_ranges: readonly PartitionRange[];
  readonly duplicated_ranges: readonly (RepeatedRange & { readonly partition: number })[];
  readonly not_delivered_ranges: readonly PartitionRange[];
}

/** Compares receipts with the tables, as they are now. */
export async function compareReceipts(store: Store, topic: string, receipts: Receipts): Promise<Comparison> {
  const hulls = hullsOf(receipts.partitions);
  // Before the count: what was not on its way then is in the count.
  const arrivals = hulls.length === 0 ? [] : await countArrivals(store, topic, hulls);
  const [topicId, ...others] = rankTopics(arrivals);
  await syncReplica(store.clickhouse, store.tables, deliveryTables(store.tables));
  const source = { clickhouse: store.clickhouse, tables: store.tables, topic, topicId: topicId ?? '' };
  const buckets = topicId === undefined ? [] : await readAllBuckets(source, hulls);
  const found: PartitionFindings[] = [];
  for (const [partition, set] of receipts.partitions) {
    const arrival = arrivals.find((one) => one.topic_id === topicId && one.partition === partition);
    const own = buckets.filter((bucket) => bucket.partition === partition);
    found.push(await lookAt(source, { partition, set, own, arrival }));
  }
  const spools = await checkSpools(source, receipts.spools);
  // Rows that came in between are in what was looked at, and not in what was counted before.
  const isStale = topicId !== undefined && lacksRows(buckets, hulls);
  const counted = isStale ? await readAllBuckets(source, hulls) : buckets;
  return { topic_id: topicId ?? null, other_topic_ids: others, ...sumUp(found, spools, counted) };
}

function lacksRows(buckets: readonly Bucket[], hulls: Hulls): boolean {
  const delivered = buckets.reduce((sum, bucket) => sum + bucket.delivered, 0);
  return delivered < hulls.reduce((sum, { start, end }) => sum + end - start, 0);
}

function sumUp(
  found: readonly PartitionFindings[],
  spools: readonly SpoolReceipts[],
  buckets: readonly Bucket[],
): Omit<Comparison, 'topic_id' | 'other_topic_ids'> {
  const sum = <T>(list: readonly T[], numberOf: (one: T) => number) =>
    list.reduce((total, one) => total + numberOf(one), 0);
  const receipts = sum(found, (one) => one.receipts) + sum(spools, (spool) => spool.receipts);
  const missing = sum(found, (one) => one.missing);
  const late = sum(found, (one) => one.late) + sum(spools, ({ notFound }) => notFound.offsets);
  return {
    receipts,
    stored: receipts - missing - late,
    dead_letters: sum(buckets, (bucket) => bucket.dead_letters),
    repeats: sum(buckets, (bucket) => bucket.repeats),
    missing,
    duplicated: sum(found, (one) => one.duplicated) + sum(spools, (spool) => spool.duplicated),
    repeats_kept: sum(found, (one) => one.kept),
    not_delivered: late,
    missing_ranges: found.flatMap((one) => one.missingRanges).slice(0, mostListed),
    duplicated_ranges: found.flatMap((one) => one.duplicatedRanges).slice(0, mostListed),
    not_delivered_ranges: found.flatMap((one) => one.lateRanges).slice(0, mostListed),
  };
}

/** Topic ids, the one with the most rows first. */
function rankTopics(arrivals: readonly Arrival[]): string[] {
  const rows = new Map<string, number>();
  for (const arrival of arrivals)
    rows.set(arrival.topic_id, (rows.get(arrival.topic_id) ?? 0) + arrival.rows);
  return [...rows].sort(([, a], [, b]) => b - a).map(([id]) => id);
}

async function readAllBuckets(source: Source, hulls: Hulls): Promise<Bucket[]> {
  const scopes = hulls.map((hull) => ({ ...scopeOf(hull), view: hull }));
  const buckets: Bucket[] = [];
  for await (const slice of readBuckets(source, scopes, { from: 'span', to: 'span' })) buckets.push(...slice);
  return buckets;
}

/** Nothing but the receipts must be there: between them lie the events of others. */
function scopeOf(hull: Range): { readonly checked: Range; readonly span: Range } {
  return { checked: { start: hull.start, end: hull.start }, span: hull };
}

interface PartitionFindings {
  readonly receipts: number;
  readonly missing: number;
  readonly late: number;
  readonly duplicated: number;
  readonly kept: number;
  readonly missingRanges: readonly PartitionRange[];
  readonly lateRanges: readonly PartitionRange[];
  readonly duplicatedRanges: readonly (RepeatedRange & { readonly partition: number })[];
}

async function lookAt(
  source: Source,
  {
    partition,
    set,
    own,
    arrival,
  }: { partition: number; set: RangeSet; own: readonly Bucket[]; arrival: Arrival | undefined },
): Promise<PartitionFindings> {
  const hull = set.hull ?? { start: 0, end: 0 };
  const scope = { partition, ...scopeOf(hull) };
  const context = { source, inspector: undefined, budget: { left: 0 } };
  const absentOf = async (receipts: RangeSet) =>
    (await findMissing(context, scope, { buckets: own, receipts })).receipts;
  const absent = await absentOf(set);
  // Dead letters and repeats are written before the events of their batch: they say nothing about those.
  const delivered = { start: 0, end: arrival?.highest_event ?? 0 };
  const rest = absent.offsets === 0 ? new RangeSet() : restOf(set, delivered.end);
  const late = await absentOf(rest);
  const search = { partition, buckets: own, within: set };
  const duplicates = await findDuplicates(source, search);
  const kept = await findKeptRepeats(source, search);
  const placed = <T extends Range>(ranges: readonly T[]) => ranges.map((range) => ({ partition, ...range }));
  return {
    receipts: set.offsets,
    missing: absent.offsets - late.offsets,
    late: late.offsets,
    duplicated: duplicates.offsets,
    kept: kept.offsets,
    missingRanges: placed(absent.ranges.map((range) => clip(range, delivered)).filter(isFilled)),
    lateRanges: placed(late.ranges),
    duplicatedRanges: placed(duplicates.ranges),
  };
}

function restOf(set: RangeSet, start: number): RangeSet {
  const rest = new RangeSet();
  for (const range of set.within({ start, end: Number.POSITIVE_INFINITY })) rest.add(range.start, range.end);
  return rest;
}

function isFilled({ start, end }: Range): boolean {
  return end > start;
}

/** Most that the clocks of collectors and of ClickHouse may differ, milliseconds. */
const clockSlackMs = 3_600_000;

/** From the lowest offset to the highest one, by partition, from partition 0 on; empty where there are no receipts. */
export type Hulls = readonly Range[];

/** The hulls of receipts. */
export function hullsOf(receipts: ReadonlyMap<number, RangeSet>): Hulls {
  const hulls = new Map([...receipts].map(([partition, set]) => [partition, set.hull]));
  const found = [...hulls.values()].filter((hull) => hull !== undefined);
  // Empty ranges begin where the others do, so that the least start of all is one of a receipt.
  const start = Math.min(...found.map((hull) => hull.start));
  const count = Math.max(-1, ...receipts.keys()) + 1;
  return Array.from({ length: count }, (_, partition) => hulls.get(partition) ?? { start, end: start });
}

/** Rows of one topic and partition within its hull. */
interface Arrival {
  readonly topic_id: string;
  readonly partition: number;
  /** In all of the tables. */
  readonly rows: number;
  /** Highest offset in `events`; 0 when it has none. */
  readonly highest_event: number;
}

/**
 * Counts the rows within the hulls that were received about when the run was, or later; by topic id, since a topic
 * that had the same name before has another.
 */
export async function countArrivals(store: Store, topic: string, hulls: Hulls): Promise<Arrival[]> {
  const where = [
    `topic = ${quoteText(topic)}`,
    `received_at >= fromUnixTimestamp64Milli(${Math.floor(store.openedAt - clockSlackMs)})`,
    ...withinHulls(hulls),
  ].join(' AND ');
  const parts = deliveryTables(store.tables).map(
    (table, index) => `
      SELECT ${index} AS source, topic_id, partition, count() AS n, max(offset) AS top
      FROM ${table} WHERE ${where} GROUP BY topic_id, partition`,
  );
  return await store.clickhouse.query<Arrival>(
    `SELECT topic_id, partition, sum(n) AS rows, maxIf(top, source = 0) AS highest_event
     FROM (${parts.join(' UNION ALL ')}) GROUP BY topic_id, partition ORDER BY topic_id, partition`,
    { settings: numberSettings },
  );
}

/** Conditions that a row lies within the hull of its partition; the first ones help the index on offsets. */
export function withinHulls(hulls: Hulls): string[] {
  return [
    `offset >= ${Math.min(...hulls.map(({ start }) => start))}`,
    `offset < ${Math.max(...hulls.map(({ end }) => end))}`,
    `offset >= ${listOf(hulls, ({ start }) => start)}[partition + 1]`,
    `offset < ${listOf(hulls, ({ end }) => end)}[partition + 1]`,
  ];
}

/** From receiving an event, by the collector's clock, to storing its row, by ClickHouse's. Names are those of the JSON. */
export interface Freshness {
  /** Rows of `events` that were looked at: those between the first and the last receipt, of other clients, too. */
  readonly rows: number;
  /** Milliseconds; below 0 when the clocks disagree. */
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly max_ms: number;
  /** Inserts of these rows: each makes a part. */
  readonly new_parts: number;
}

/**
 * Looks at the rows of a run; undefined when there are none.
 *
 * Parts are counted without `system.part_log`, which is not everywhere: rows of one insert have one time of storing,
 * and no two inserts of a partition the same one, since they follow one another.
 */
export async function readFreshness(
  { clickhouse, tables }: Pick<Store, 'clickhouse' | 'tables'>,
  identity: { readonly topic: string; readonly topicId: string },
  receipts: Receipts,
): Promise<Freshness | undefined> {
  const hulls = hullsOf(receipts.partitions);
  if (hulls.length === 0) return undefined;
  const where = [...conditionsOf(identity), ...withinHulls(hulls)].join(' AND ');
  const [row] = await clickhouse.query<{
    rows: number;
    quantiles: readonly [number, number, number];
    new_parts: number;
  }>(
    `SELECT sum(n) AS rows, quantilesExactWeighted(0.5, 0.99, 1)(late, n) AS quantiles,
       uniqExact(partition, stored_at) AS new_parts
     FROM (SELECT partition, stored_at, dateDiff('millisecond', received_at, stored_at) AS late, count() AS n
       FROM ${tables.events} WHERE ${where} GROUP BY partition, stored_at, late)`,
    { settings: numberSettings },
  );
  if (row === undefined || row.rows === 0) return undefined;
  const [p50_ms, p99_ms, max_ms] = row.quantiles;
  return { rows: row.rows, p50_ms, p99_ms, max_ms, new_parts: row.new_parts };
}
