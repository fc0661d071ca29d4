/** How soon the events of a run were stored, and in how many parts. */
import { conditionsOf, numberSettings } from '../verify/coverage.ts';
import type { Receipts } from '../verify/receipts.ts';
import { hullsOf, withinHulls } from './arrivals.ts';
import type { Store } from './store.ts';

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
