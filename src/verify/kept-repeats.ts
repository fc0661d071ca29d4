/** Which offsets are in `repeats`, and in `events` or `dead_letters` all the same: each belongs in one of them. */
import { type Bucket, conditionsOf, numberSettings, rangeOf, type Source } from './coverage.ts';
import { type FoundRanges, type Range, RangeList } from './ranges.ts';

/** Buckets that one query looks into. */
const bucketsAtOnce = 32;

/** Looks into the buckets of one partition that have such offsets. */
export async function findKeptRepeats(
  source: Source,
  partition: number,
  buckets: readonly Bucket[],
): Promise<FoundRanges> {
  const suspects = new Set<number>();
  for (const { bucket, repeats_kept } of buckets) if (repeats_kept > 0) suspects.add(bucket);
  const found = new RangeList();
  const list = [...suspects].sort((a, b) => a - b);
  for (let i = 0; i < list.length; i += bucketsAtOnce) {
    for (const range of await readKept(source, partition, list.slice(i, i + bucketsAtOnce))) found.add(range);
  }
  return found;
}

async function readKept(source: Source, partition: number, buckets: readonly number[]): Promise<Range[]> {
  const { events, deadLetters, repeats } = source.tables;
  const where = [
    ...conditionsOf(source),
    `partition = ${partition}`,
    `offset >= ${rangeOf(buckets[0] ?? 0).start} AND offset < ${rangeOf(buckets.at(-1) ?? 0).end}`,
    `intDiv(offset, ${rangeOf(0).end}) IN (${buckets.join(', ')})`,
  ].join(' AND ');
  const kept = [events, deadLetters].map((table) => `SELECT offset FROM ${table} WHERE ${where}`);
  const sql = `
    SELECT min(offset) AS start, max(offset) + 1 AS end FROM (
      SELECT offset, offset - row_number() OVER (ORDER BY offset) AS run FROM (
        SELECT DISTINCT offset FROM ${repeats} WHERE ${where} AND offset IN (${kept.join(' UNION ALL ')})
      )
    ) GROUP BY run ORDER BY start`;
  return await source.clickhouse.query<Range>(sql, { settings: numberSettings });
}
