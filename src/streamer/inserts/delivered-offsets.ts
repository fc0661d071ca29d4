/** Asks ClickHouse which offsets it has. */
import type { PartitionIdentity } from '../../buffer/buffer.ts';
import type { ClickHouse } from '../../clickhouse/client.ts';
import { deliveryTables, syncReplica, type Tables } from '../../clickhouse/tables.ts';
import type { Plan } from '../protocol/plan.ts';

/** Offsets of one partition, start <= offset < end. */
interface OffsetRange {
  readonly identity: PartitionIdentity;
  readonly range: Pick<Plan, 'start' | 'end'>;
}

/** An offset that is in a table. */
interface DeliveredOffset {
  readonly offset: number;
  /** Year and month of its receive time, UTC, as 202611: what tables are partitioned by. */
  readonly month: number;
}

const condition =
  'topic_id = {topicId:String} AND partition = {partition:UInt32} AND offset >= {start:UInt64} AND offset < {end:UInt64}';

/** Number of offsets of a range that are in any of the tables. */
export async function countDelivered(
  clickhouse: ClickHouse,
  tables: Tables,
  range: OffsetRange,
): Promise<number> {
  const row = await summarise<'offsets'>(clickhouse, tables, {
    ...range,
    summary: 'uniqExact(offset) AS offsets',
  });
  return Number(row?.offsets ?? 0);
}

/** Offsets of a range that are in one of the tables. */
export async function findOffsets(
  clickhouse: ClickHouse,
  tables: Tables,
  { table, ...range }: OffsetRange & { table: 'events' | 'deadLetters' | 'repeats' },
): Promise<DeliveredOffset[]> {
  const name = tables[table];
  await syncReplica(clickhouse, tables, [name]);
  const sql = `SELECT DISTINCT offset, toYYYYMM(received_at) AS month FROM ${name} WHERE ${condition}`;
  const rows = await clickhouse.query<{ offset: number | string; month: number }>(sql, {
    params: paramsOf(range),
  });
  return rows.map(({ offset, month }) => ({ offset: Number(offset), month }));
}

/** The last offset at or after `from` that is in any of the tables; undefined when there is none. */
export async function findLastDelivered(
  clickhouse: ClickHouse,
  tables: Tables,
  { identity, from }: { identity: PartitionIdentity; from: number },
): Promise<number | undefined> {
  const row = await summarise<'last' | 'found'>(clickhouse, tables, {
    identity,
    range: { start: from, end: Number.MAX_SAFE_INTEGER },
    summary: 'max(offset) AS last, count() AS found',
  });
  return row === undefined || Number(row.found) === 0 ? undefined : Number(row.last);
}

/** Asks all tables together. The minmax index on `offset` lets ClickHouse read little of a large one. */
async function summarise<K extends string>(
  clickhouse: ClickHouse,
  tables: Tables,
  { summary, ...range }: OffsetRange & { summary: string },
): Promise<Record<K, number | string> | undefined> {
  const names = deliveryTables(tables);
  await syncReplica(clickhouse, tables, names);
  const offsets = names.map((name) => `SELECT offset FROM ${name} WHERE ${condition}`).join(' UNION ALL ');
  const sql = `SELECT ${summary} FROM (${offsets})`;
  const [row] = await clickhouse.query<Record<K, number | string>>(sql, { params: paramsOf(range) });
  return row;
}

function paramsOf({ identity: { topicId, partition }, range: { start, end } }: OffsetRange) {
  return { topicId, partition, start, end };
}
