/**
 * Puts together what became of a client's receipts.
 *
 * Receipts of events that a collector took into its spool while the buffer was away. Such an event becomes a
 * record with the id `spool/<id of the spool>/<offset in it>`; the tables are asked for these ids.
 */
import { quoteText } from '../clickhouse/client.ts';
import { isMissingTable } from '../clickhouse/errors.ts';
import { deliveryTables } from '../clickhouse/tables.ts';
import { bucketOffsets, numberSettings, rangeOf, type Source } from './coverage.ts';
import type { PartitionScope } from './partition-scope.ts';
import { mostListed, type Range, RangeList, type RangeSet } from './ranges.ts';
import type { Receipts } from './receipts.ts';
import type { ReceiptsReport } from './report.ts';

/** Receipts of one partition that no table holds. */
export interface UndeliveredReceipts {
  readonly partition: number;
  readonly found: RangeList;
}

/** Compares the receipts with the ends of the buffer, and adds what was found about the rest. */
export function reportReceipts(
  receipts: Receipts,
  found: {
    readonly scopes: readonly PartitionScope[];
    readonly missing: readonly UndeliveredReceipts[];
    readonly spools: readonly SpoolReceipts[];
  },
): ReceiptsReport {
  const { scopes, missing, spools } = found;
  const lost: (Range & { partition: number })[] = missing.flatMap(({ partition, found: list }) =>
    list.ranges.map((range) => ({ partition, ...range })),
  );
  let total = 0;
  let pending = 0;
  let unknown = 0;
  for (const [partition, set] of receipts.partitions) {
    total += set.offsets;
    const scope = scopes.find((candidate) => candidate.partition === partition);
    const { committed, end } =
      scope === undefined ? { committed: 0, end: 0 } : { ...scope, end: scope.view.end };
    // What has expired was looked for in the tables.
    const { start: expiredFrom, end: expiredTo } = scope?.expired ?? { start: end, end };
    for (const open of [
      { start: committed, end: expiredFrom },
      { start: expiredTo, end },
    ])
      for (const range of set.within(open)) pending += range.end - range.start;
    const beyond = new RangeList();
    for (const range of set.within({ start: end, end: Number.POSITIVE_INFINITY })) beyond.add(range);
    unknown += beyond.offsets;
    for (const range of beyond.ranges) lost.push({ partition, ...range });
  }
  const sumOf = (numberOf: (spool: SpoolReceipts) => number) =>
    spools.reduce((sum, spool) => sum + numberOf(spool), 0);
  const spooledNotFound = sumOf(({ notFound }) => notFound.offsets);
  const missed = missing.reduce((sum, { found: list }) => sum + list.offsets, 0);
  total += sumOf((spool) => spool.receipts);
  return {
    receipts: total,
    delivered: total - pending - missed - unknown - spooledNotFound,
    pending,
    missing: missed,
    unknown,
    spooled_not_found: spooledNotFound,
    spooled_duplicated: sumOf(({ duplicated }) => duplicated),
    lost: lost.slice(0, mostListed),
    not_found: spools
      .flatMap(({ spool, notFound }) => notFound.ranges.map((range) => ({ spool, ...range })))
      .slice(0, mostListed),
  };
}

/** What became of the receipts of one spool. */
export interface SpoolReceipts {
  readonly spool: string;
  /** Distinct receipts. */
  readonly receipts: number;
  /** Found in no table: the event is still on its way, or lost. */
  readonly notFound: RangeList;
  /** Found in `events` more than once: offsets. */
  readonly duplicated: number;
}

interface SpoolBucket {
  readonly spool: string;
  readonly bucket: number;
  readonly delivered: number;
  readonly rows: number;
  readonly row_offsets: number;
}

/** Looks for the events of all spools: one pass over the ids, then a look into what is incomplete. */
export async function checkSpools(
  source: Source,
  spools: ReadonlyMap<string, RangeSet>,
): Promise<SpoolReceipts[]> {
  if (spools.size === 0) return [];
  const buckets = await readBuckets(source, [...spools.keys()]);
  const results: SpoolReceipts[] = [];
  for (const [spool, set] of spools) {
    const own = new Map(buckets.filter((one) => one.spool === spool).map((one) => [one.bucket, one]));
    const notFound = new RangeList();
    let duplicated = 0;
    for (const bucket of bucketsOf(set)) {
      const named = [...set.within(rangeOf(bucket))];
      const found = own.get(bucket);
      if (found === undefined) {
        for (const range of named) notFound.add(range);
        continue;
      }
      const isComplete = found.delivered === bucketOffsets && found.rows === found.row_offsets;
      if (isComplete) continue;
      const rows = await readRows(source, spool, rangeOf(bucket));
      for (const range of named) {
        for (let offset = range.start; offset < range.end; offset++) {
          const count = rows.get(offset);
          if (count === undefined) notFound.add({ start: offset, end: offset + 1 });
          else if (count > 1) duplicated++;
        }
      }
    }
    results.push({ spool, receipts: set.offsets, notFound, duplicated });
  }
  return results;
}

function* bucketsOf(set: RangeSet): Generator<number> {
  let next = 0;
  for (const range of set) {
    const last = Math.floor((range.end - 1) / bucketOffsets);
    for (let bucket = Math.max(next, Math.floor(range.start / bucketOffsets)); bucket <= last; bucket++) {
      yield bucket;
      next = bucket + 1;
    }
  }
}

async function readBuckets(source: Source, spools: readonly string[]): Promise<SpoolBucket[]> {
  const position = "toUInt64OrZero(splitByChar('/', event_id)[3])";
  const parts = deliveryTables(source.tables).map(
    (table, index) => `
      SELECT ${index} AS source, splitByChar('/', event_id)[2] AS spool, intDiv(${position}, ${bucketOffsets}) AS bucket,
        count() AS n, groupBitmapState(toUInt32(${position} % ${bucketOffsets})) AS seen
      FROM ${table}
      WHERE topic = ${quoteText(source.topic)} AND startsWith(event_id, 'spool/')
        AND spool IN (${spools.map(quoteText).join(', ')}) GROUP BY spool, bucket`,
  );
  const sql = `
    SELECT spool, bucket, groupBitmapMerge(seen) AS delivered, sumIf(n, source = 0) AS rows,
      sumIf(bitmapCardinality(seen), source = 0) AS row_offsets
    FROM (${parts.join(' UNION ALL ')}) GROUP BY spool, bucket`;
  try {
    return await source.clickhouse.query<SpoolBucket>(sql, { settings: numberSettings });
  } catch (error) {
    // No streamer has run: nothing was found.
    if (isMissingTable(error)) return [];
    throw error;
  }
}

/** Rows of `events` by offset within the spool; 0 where another table has the event. */
async function readRows(source: Source, spool: string, range: Range): Promise<Map<number, number>> {
  const prefix = `spool/${spool}/`;
  const parts = deliveryTables(source.tables).map(
    (table, index) => `
      SELECT toUInt64OrZero(substring(event_id, ${Buffer.byteLength(prefix) + 1})) AS position,
        ${index === 0 ? 1 : 0} AS n FROM ${table}
      WHERE topic = ${quoteText(source.topic)} AND startsWith(event_id, ${quoteText(prefix)})
        AND position >= ${range.start} AND position < ${range.end}`,
  );
  const sql = `SELECT position, sum(n) AS rows FROM (${parts.join(' UNION ALL ')}) GROUP BY position`;
  const rows = await source.clickhouse.query<{ position: number; rows: number }>(sql, {
    settings: numberSettings,
  });
  return new Map(rows.map((row) => [row.position, row.rows]));
}
