/**
 * Settles a batch where the deduplication token cannot be trusted: asks ClickHouse which offsets of the range it
 * has, and inserts the others.
 *
 * ClickHouse remembers tokens for a limited number of inserts or time, and a server that is not replicated
 * writes a part and its token one after the other: killed in between, it has the one without the other, and the
 * repeat of the insert would be stored twice (or, in older versions, dropped though nothing is there).
 * Sources: ClickHouse issues 111577 and 118089; docs/delivery.md.
 */
import { crc32 } from 'node:zlib';
import type { ClickHouse } from '../clickhouse/client.ts';
import type { Tables } from '../clickhouse/tables.ts';
import type { SealedBatch } from './batch.ts';
import { type Block, blockOf, recordOf } from './block.ts';
import { type BlockOwner, type BlockResult, type BlockTarget, insertBlock } from './insert-block.ts';
import type { PartitionIdentity, Plan } from './plan.ts';

/** What a settlement found and did. */
export interface Settlement extends BlockResult {
  /** Records of the range that ClickHouse had before. */
  readonly found: number;
}

/**
 * Brings what is missing of a batch into ClickHouse, and looks again until nothing is.
 * @throws ClickHouseError, ClickHouseUnavailableError: can be repeated
 * @throws FencedError when the partition has another owner
 */
export async function settleBatch(
  target: BlockTarget,
  batch: SealedBatch,
  owner: BlockOwner,
): Promise<Settlement> {
  const total = { rows: 0, repeats: 0, refused: [] as BlockResult['refused'][number][] };
  let found: number | undefined;
  for (let round = 1; ; round++) {
    const missing = await findMissing(target, batch, owner.partition);
    found ??= batch.ends.length - missing.length;
    if (missing.length === 0) return { ...total, found };
    const block: Block = { token: missingToken(batch, missing, round), batch, rows: missing };
    const result = await insertBlock(target, block, owner);
    total.rows += result.rows;
    total.repeats += result.repeats;
    total.refused.push(...result.refused);
  }
}

/**
 * The plan's own token while all is missing: should the first insert still be running somewhere, one of the two
 * is dropped. For a part of it a token made of what is missing, so that two owners who find the same gap fill it
 * once; and another one when an insert was answered and its rows are not there, since the token may have
 * outlived its part.
 */
function missingToken(batch: SealedBatch, missing: readonly number[], round: number): string {
  const { token } = batch.plan;
  if (round === 1 && missing.length === batch.ends.length) return blockOf(batch).token;
  return `${token}:missing:${missing.length}:${crc32(JSON.stringify(missing))}:${round}`;
}

/** Positions in the batch whose offsets are in none of the tables. */
async function findMissing(
  { clickhouse, tables }: BlockTarget,
  batch: SealedBatch,
  identity: PartitionIdentity,
): Promise<number[]> {
  const all = batch.ends.map((_, index) => index);
  if ((await countDelivered(clickhouse, tables, { identity, range: batch.plan })) === 0) return all;
  const sql = `SELECT DISTINCT offset FROM (${deliveredOffsets(tables)})`;
  const rows = await clickhouse.query<{ offset: number | string }>(sql, {
    params: rangeParams(identity, batch.plan),
  });
  const delivered = new Set(rows.map(({ offset }) => Number(offset)));
  return all.filter((index) => !delivered.has(recordOf(batch, index).offset));
}

/** Number of offsets of a range that are in any of the tables. */
export async function countDelivered(
  clickhouse: ClickHouse,
  tables: Tables,
  { identity, range }: { identity: PartitionIdentity; range: Pick<Plan, 'start' | 'end'> },
): Promise<number> {
  await syncReplica(clickhouse, tables);
  const sql = `SELECT uniqExact(offset) AS offsets FROM (${deliveredOffsets(tables)})`;
  const [row] = await clickhouse.query<{ offsets: number | string }>(sql, {
    params: rangeParams(identity, range),
  });
  return Number(row?.offsets ?? 0);
}

/** Offsets of a range that are dead letters. */
export async function findDeadLetters(
  clickhouse: ClickHouse,
  tables: Tables,
  { identity, range }: { identity: PartitionIdentity; range: Pick<Plan, 'start' | 'end'> },
): Promise<Set<number>> {
  const sql = `SELECT offset FROM ${tables.deadLetters} WHERE ${inRange}`;
  const rows = await clickhouse.query<{ offset: number | string }>(sql, {
    params: rangeParams(identity, range),
  });
  return new Set(rows.map(({ offset }) => Number(offset)));
}

/** The last offset at or after `from` that is in any of the tables; undefined when there is none. */
export async function findLastDelivered(
  clickhouse: ClickHouse,
  tables: Tables,
  { identity, from }: { identity: PartitionIdentity; from: number },
): Promise<number | undefined> {
  await syncReplica(clickhouse, tables);
  const sql = `SELECT max(offset) AS last, count() AS found FROM (${deliveredOffsets(tables)})`;
  const params = rangeParams(identity, { start: from, end: Number.MAX_SAFE_INTEGER });
  const [row] = await clickhouse.query<{ last: number | string; found: number | string }>(sql, { params });
  return row === undefined || Number(row.found) === 0 ? undefined : Number(row.last);
}

/** Another replica may have taken the inserts. */
async function syncReplica(clickhouse: ClickHouse, tables: Tables): Promise<void> {
  if (!tables.isReplicated) return;
  for (const name of [tables.events, tables.deadLetters, tables.repeats]) {
    await clickhouse.execute(`SYSTEM SYNC REPLICA ${name} LIGHTWEIGHT`);
  }
}

const inRange =
  'topic_id = {topicId:String} AND partition = {partition:UInt32} AND offset >= {start:UInt64} AND offset < {end:UInt64}';

/** The minmax index on `offset` lets ClickHouse read little of a large table for this. */
function deliveredOffsets({ events, deadLetters, repeats }: Tables): string {
  return [events, deadLetters, repeats]
    .map((name) => `SELECT offset FROM ${name} WHERE ${inRange}`)
    .join(' UNION ALL ');
}

function rangeParams({ topicId, partition }: PartitionIdentity, { start, end }: Pick<Plan, 'start' | 'end'>) {
  return { topicId, partition, start, end };
}
