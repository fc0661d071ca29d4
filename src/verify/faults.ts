/**
 * What is wrong beside missing offsets: rows that are there twice, repeats that were kept, rows of nobody, and records
 * that retention removed from the buffer before they were committed. Those are lost only where no table holds them:
 * somebody may have set the commit back, and a commit is a moment older than the start of the buffer seen beside it.
 *
 * Rows that no record of the buffer stands behind.
 *
 * Which offsets are in `repeats`, and in `events` or `dead_letters` all the same: each belongs in one of them.
 */
import type { TopicView } from '../buffer/buffer.ts';
import { quoteText } from '../clickhouse/client.ts';
import { type Bucket, conditionsOf, numberSettings, readBuckets, type Source } from './coverage.ts';
import { findMissing, inquire, type Missing, type Search } from './missing.ts';
import type { PartitionScope } from './partition-scope.ts';
import { type FoundRanges, mostListed, type Range, RangeList, type RangeSet } from './ranges.ts';

/** Consecutive offsets that are in `events` the same number of times. */
export interface RepeatedRange extends Range {
  /** Rows of each offset, at least 2. */
  readonly rows: number;
}

/** What is stored more than once, of one partition. */
interface Duplicates {
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

const empty = { start: 0, end: 0 };

/** Asks ClickHouse, after the view was taken; by partition, of those only that have something expired. */
export async function findExpired(
  source: Source,
  scopes: readonly PartitionScope[],
  receipts: ReadonlyMap<number, RangeSet> | undefined,
): Promise<Map<number, Missing>> {
  const found = new Map<number, Missing>();
  if (scopes.every(({ expired }) => expired === undefined)) return found;
  const expired = scopes.map((scope) => {
    const range = scope.expired ?? empty;
    return { ...scope, checked: range, span: range };
  });
  const buckets: Bucket[] = [];
  for await (const slice of readBuckets(source, expired, { from: 'span', to: 'span' }))
    buckets.push(...slice);
  // The buffer has nothing left to ask about these offsets.
  const context = { source, inspector: undefined, budget: { left: 0 } };
  for (const scope of expired) {
    if (scope.expired === undefined) continue;
    const { partition } = scope;
    const own = buckets.filter((bucket) => bucket.partition === partition);
    found.set(
      partition,
      await findMissing(context, scope, { buckets: own, receipts: receipts?.get(partition) }),
    );
  }
  return found;
}

/** Rows of one table and partition that lie beyond the end of the buffer, or in a partition that it does not have. */
export interface ForeignRows {
  readonly table: string;
  readonly partition: number;
  readonly rows: number;
  readonly first: number;
  readonly last: number;
}

/** Rows of a topic that had the same name before. */
export interface EarlierTopic {
  readonly topic_id: string;
  readonly rows: number;
}

/**
 * Finds foreign rows. `after` must have been taken after the buckets were read: a record is in the buffer before
 * its row is in a table, so what lies beyond an end that was read later cannot have come from there.
 */
export async function findForeign(
  source: Source,
  buckets: readonly Bucket[],
  after: TopicView,
): Promise<ForeignRows[]> {
  const highest = new Map<number, number>();
  for (const { partition, highest: top } of buckets)
    highest.set(partition, Math.max(top, highest.get(partition) ?? 0));
  // Up to the highest that was seen before: rows that have come since then may be of newer records.
  const terms = [...highest].flatMap(([partition, top]) => {
    const end = after.partitions[partition]?.end ?? 0;
    return top < end ? [] : [`(partition = ${partition} AND offset >= ${end} AND offset <= ${top})`];
  });
  if (terms.length === 0) return [];
  const where = [...conditionsOf(source), `(${terms.join(' OR ')})`].join(' AND ');
  const { events, deadLetters, repeats } = source.tables;
  const tables = Object.entries({ events, dead_letters: deadLetters, repeats }).map(
    ([name, table]) => `
      SELECT '${name}' AS table, partition, count() AS rows, min(offset) AS first, max(offset) AS last
      FROM ${table} WHERE ${where} GROUP BY partition`,
  );
  const sql = `SELECT * FROM (${tables.join(' UNION ALL ')}) ORDER BY table, partition`;
  return await source.clickhouse.query<ForeignRows>(sql, { settings: numberSettings });
}

/** Finds rows of earlier topics of the same name: they are nobody's fault. */
export async function findEarlierTopics({
  clickhouse,
  tables,
  topic,
  topicId,
}: Source): Promise<EarlierTopic[]> {
  return await clickhouse.query<EarlierTopic>(
    `SELECT topic_id, count() AS rows FROM ${tables.events}
     WHERE topic = ${quoteText(topic)} AND topic_id != ${quoteText(topicId)} GROUP BY topic_id ORDER BY topic_id`,
    { settings: numberSettings },
  );
}
