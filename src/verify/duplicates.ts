/** Which offsets are in `events` more than once. */
import { type Bucket, conditionsOf, numberSettings, rangeOf, type Source } from './coverage.ts';
import { mostListed, type Range } from './ranges.ts';

/** Consecutive offsets that are in `events` the same number of times. */
export interface RepeatedRange extends Range {
  /** Rows of each offset, at least 2. */
  readonly rows: number;
}

/** What is there more than once, of one partition. */
export interface Duplicates {
  /** Offsets with more than one row. */
  readonly offsets: number;
  /** The first of them. */
  readonly ranges: readonly RepeatedRange[];
}

/** Buckets that one query looks into: it counts each of their offsets. */
const bucketsAtOnce = 32;

/** Looks into the buckets of one partition that have more rows than distinct offsets. */
export async function findDuplicates(
  source: Source,
  partition: number,
  buckets: readonly Bucket[],
): Promise<Duplicates> {
  const suspects = new Set<number>();
  for (const { bucket, rows, row_offsets } of buckets) if (rows > row_offsets) suspects.add(bucket);
  const ranges: RepeatedRange[] = [];
  let offsets = 0;
  const list = [...suspects].sort((a, b) => a - b);
  for (let i = 0; i < list.length; i += bucketsAtOnce) {
    for (const range of await readRepeated(source, partition, list.slice(i, i + bucketsAtOnce))) {
      offsets += range.end - range.start;
      if (ranges.length < mostListed) ranges.push(range);
    }
  }
  return { offsets, ranges };
}

async function readRepeated(
  source: Source,
  partition: number,
  buckets: readonly number[],
): Promise<RepeatedRange[]> {
  const start = rangeOf(buckets[0] ?? 0).start;
  const { end } = rangeOf(buckets.at(-1) ?? 0);
  const where = [
    ...conditionsOf(source),
    `partition = ${partition}`,
    `offset >= ${start} AND offset < ${end}`,
    `intDiv(offset, ${rangeOf(0).end}) IN (${buckets.join(', ')})`,
  ].join(' AND ');
  const sql = `
    SELECT min(offset) AS start, max(offset) + 1 AS end, rows FROM (
      SELECT offset, rows, offset - row_number() OVER (PARTITION BY rows ORDER BY offset) AS run FROM (
        SELECT offset, count() AS rows FROM ${source.tables.events} WHERE ${where} GROUP BY offset HAVING rows > 1
      )
    ) GROUP BY rows, run ORDER BY start`;
  return await source.clickhouse.query<RepeatedRange>(sql, { settings: numberSettings });
}
