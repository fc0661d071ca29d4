/** How far the rows of a run have come, by what ClickHouse holds of the offsets that receipts name. */
import { quoteText } from '../clickhouse/client.ts';
import { deliveryTables } from '../clickhouse/tables.ts';
import { listOf, numberSettings } from '../verify/coverage.ts';
import type { Range, RangeSet } from '../verify/ranges.ts';
import type { Store } from './store.ts';

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
export interface Arrival {
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
