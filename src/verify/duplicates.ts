/** Which offsets are in `events` more than once. */
import type { Source } from './coverage.ts';
import { mostListed, type Range } from './ranges.ts';
import { inquire, type Search } from './suspects.ts';

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

/** Looks into the buckets of one partition that have more rows than distinct offsets. */
export async function findDuplicates(source: Source, search: Search): Promise<Duplicates> {
  const ranges: RepeatedRange[] = [];
  let offsets = 0;
  const repeated = inquire<RepeatedRange>(source, {
    ...search,
    isSuspect: ({ rows, row_offsets }) => rows > row_offsets,
    query: (where) => `
    SELECT min(offset) AS start, max(offset) + 1 AS end, rows FROM (
      SELECT offset, rows, offset - row_number() OVER (PARTITION BY rows ORDER BY offset) AS run FROM (
        SELECT offset, count() AS rows FROM ${source.tables.events} WHERE ${where} GROUP BY offset HAVING rows > 1
      )
    ) GROUP BY rows, run ORDER BY start`,
  });
  for await (const range of repeated) {
    offsets += range.end - range.start;
    if (ranges.length < mostListed) ranges.push(range);
  }
  return { offsets, ranges };
}
