/** Which offsets are in `repeats`, and in `events` or `dead_letters` all the same: each belongs in one of them. */
import type { Source } from './coverage.ts';
import { type FoundRanges, type Range, RangeList } from './ranges.ts';
import { inquire, type Search } from './suspects.ts';

/** Looks into the buckets of one partition that have such offsets. */
export async function findKeptRepeats(source: Source, search: Search): Promise<FoundRanges> {
  const { events, deadLetters, repeats } = source.tables;
  const keptIn = (where: string): string =>
    [events, deadLetters].map((table) => `SELECT offset FROM ${table} WHERE ${where}`).join(' UNION ALL ');
  const kept = inquire<Range>(source, {
    ...search,
    isSuspect: ({ repeats_kept }) => repeats_kept > 0,
    query: (where) => `
    SELECT min(offset) AS start, max(offset) + 1 AS end FROM (
      SELECT offset, offset - row_number() OVER (ORDER BY offset) AS run FROM (
        SELECT DISTINCT offset FROM ${repeats} WHERE ${where} AND offset IN (${keptIn(where)})
      )
    ) GROUP BY run ORDER BY start`,
  });
  const found = new RangeList();
  for await (const range of kept) found.add(range);
  return found;
}
