/**
 * Settles a batch where the deduplication token cannot be trusted: asks ClickHouse which offsets of the range it
 * has, and inserts the others.
 *
 * ClickHouse remembers tokens for a limited number of inserts or time, and a server that is not replicated
 * writes a part and its token one after the other: killed in between, it has the one without the other, and the
 * repeat of the insert would be stored twice (or, in older versions, dropped though nothing is there).
 * Sources: ClickHouse issues 111577 and 118089; docs/delivery.md.
 *
 * Whether ClickHouse can still be trusted to recognise the token of a plan.
 */
import { crc32 } from 'node:zlib';
import type { PartitionIdentity } from '../../buffer/buffer.ts';
import type { ClickHouse } from '../../clickhouse/client.ts';
import { ClickHouseUnavailableError } from '../../clickhouse/errors.ts';
import type { Tables } from '../../clickhouse/tables.ts';
import type { SealedBatch } from '../protocol/batch.ts';
import type { Plan } from '../protocol/plan.ts';
import { countDelivered, findOffsets } from './delivered-offsets.ts';
import {
  allRowsOf,
  type Block,
  type BlockOwner,
  type BlockResult,
  type BlockTarget,
  blockOf,
  insertBlock,
} from './insert-block.ts';

/** What a settlement found and did. */
interface Settlement extends BlockResult {
  /** Records of the range that ClickHouse had before. */
  readonly found: number;
}

/** The first insert may be dropped by a token that outlived its part; the second has a token of its own. */
const maxRounds = 3;
/**
 * Clocks of the machines may differ by so much, milliseconds. Erring on the side of asking costs one query.
 */
const clockSkewMs = 60_000;

/** Why a plan has to be settled by asking; undefined when its token is good. */
export async function findTokenDoubt(
  clickhouse: ClickHouse,
  tables: Tables,
  { plan, settleAfterMs }: { plan: Plan; settleAfterMs: number },
): Promise<string | undefined> {
  const ageMs = Date.now() - plan.sealedAt;
  if (ageMs > settleAfterMs) return `the plan is ${Math.round(ageMs / 1_000)} s old`;
  if (tables.isReplicated) return undefined;
  const [row] = await clickhouse.query<{ seconds: number | string }>('SELECT uptime() AS seconds');
  const uptimeMs = Number(row?.seconds ?? 0) * 1_000;
  if (uptimeMs > Math.max(ageMs, 0) + clockSkewMs) return undefined;
  return `ClickHouse was started ${Math.round(uptimeMs / 1_000)} s ago and may have been killed in the middle of an insert`;
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
    const gap = await findGap(target, batch, owner.partition);
    found ??= batch.rows.count - gap.missing.length;
    if (gap.missing.length === 0) return { ...total, found };
    if (round > maxRounds) {
      throw new ClickHouseUnavailableError(
        `ClickHouse took the rows of offsets ${batch.plan.start} to ${batch.plan.end}, but ${gap.missing.length} of them cannot be found in its tables`,
      );
    }
    for (const block of splitGap(batch, gap, round)) {
      const result = await insertBlock(target, block, owner);
      total.rows += result.rows;
      total.repeats += result.repeats;
      total.refused.push(...result.refused);
    }
  }
}

/** What ClickHouse has not got of a batch. */
interface Gap {
  /** Positions in the batch whose offsets are in none of the tables, ascending. */
  readonly missing: readonly number[];
  /** Months of which `events` has rows of the batch. */
  readonly months: ReadonlySet<number>;
}

async function findGap(
  { clickhouse, tables }: BlockTarget,
  batch: SealedBatch,
  identity: PartitionIdentity,
): Promise<Gap> {
  const range = { identity, range: batch.plan };
  const all = allRowsOf(batch);
  if ((await countDelivered(clickhouse, tables, range)) === 0) return { missing: all, months: new Set() };
  const events = await findOffsets(clickhouse, tables, { ...range, table: 'events' });
  const deadLetters = await findOffsets(clickhouse, tables, { ...range, table: 'deadLetters' });
  const repeats = await findOffsets(clickhouse, tables, { ...range, table: 'repeats' });
  const delivered = new Set([...events, ...deadLetters, ...repeats].map(({ offset }) => offset));
  return {
    missing: all.filter((index) => !delivered.has(batch.rows.record(index).offset)),
    months: new Set(events.map(({ month }) => month)),
  };
}

/**
 * The first insert may still be running somewhere. A month of which `events` has nothing yet goes under the
 * plan's own token, so that one of the two is dropped: ClickHouse judges each partition of a table by itself, and
 * writes it as a whole. What else is missing goes under a token made of the rows that an insert carries, a month
 * at a time, so that two owners who find the same gap fill it once. When an insert was answered and its rows are
 * not there, the token has outlived its part: the next round has another one.
 */
function splitGap(batch: SealedBatch, { missing, months }: Gap, round: number): Block[] {
  const untouched: number[] = [];
  const others = new Map<number, number[]>();
  for (const index of missing) {
    const month = monthOf(batch.rows.record(index).receivedAt);
    if (round === 1 && !months.has(month)) untouched.push(index);
    else {
      const rows = others.get(month);
      if (rows === undefined) others.set(month, [index]);
      else rows.push(index);
    }
  }
  const blocks = [...others.values()].map((rows) => ({
    tokenFor: (carried: readonly number[]) => missingToken(batch, carried, round),
    batch,
    rows,
  }));
  return untouched.length === 0 ? blocks : [{ ...blockOf(batch), rows: untouched }, ...blocks];
}

/** Token of some rows of a batch: the same for whoever finds that these are missing, in the same round. */
export function missingToken({ plan }: SealedBatch, rows: readonly number[], round: number): string {
  return `${plan.token}:missing:${rows.length}:${crc32(JSON.stringify(rows))}:${round}`;
}

/** As 202611, UTC. */
function monthOf(timeMs: number): number {
  const date = new Date(timeMs);
  return date.getUTCFullYear() * 100 + date.getUTCMonth() + 1;
}
