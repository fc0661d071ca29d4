/**
 * Which offsets ClickHouse holds, counted by buckets of 65,536 offsets in one pass over the three tables.
 *
 * For each bucket ClickHouse keeps a bitmap of the offsets it saw, at most 8 KiB, and gives its cardinality. That
 * is exact: a range of n offsets whose rows have n distinct offsets lacks none, whatever is there twice; and rows
 * are there twice if and only if there are more of them than distinct offsets. A sum or a hash over the offsets
 * would not be: a loss and a repeat in one bucket can cancel out in it. A dead letter that was replayed is in two
 * tables and counts once, since the bitmaps of the tables are merged.
 *
 * The numbers in a bitmap are UInt32, although UInt16 would do: the cardinality has their type, and that of a full
 * bucket would be 0.
 */
import { type ClickHouse, quoteText } from '../clickhouse/client.ts';
import { deliveryTables, type Tables } from '../clickhouse/tables.ts';
import type { PartitionScope } from './partition-scope.ts';
import type { Range } from './ranges.ts';

/** Offsets in one bucket. */
export const bucketOffsets = 65_536;
/** Bitmaps of one query: at most 8 KiB each. */
const mostBitmaps = 16_384;
/** Far beyond the end of every partition there are only rows that do not belong there: one bucket for all. */
const bucketsBeyond = 4_096;

/** Where a bucket lies: its offsets are counted apart for each of these. */
export const regions = {
  /** Neither of the others. */
  outside: 0,
  /** {@link PartitionScope.checked} */
  checked: 1,
  /** The rest of {@link PartitionScope.span} */
  named: 2,
} as const;

/** What one bucket holds of one region. */
export interface Bucket {
  readonly partition: number;
  /** Offsets from `bucket` * 65,536 on. */
  readonly bucket: number;
  readonly region: number;
  /** Distinct offsets in any of the tables. */
  readonly delivered: number;
  /** Rows of `events`, and how many distinct offsets they have. */
  readonly rows: number;
  readonly row_offsets: number;
  /** Distinct offsets in `dead_letters`. */
  readonly dead_letters: number;
  /** Distinct offsets in `repeats`. */
  readonly repeats: number;
  /** Of these, distinct offsets that are in one of the other two as well. */
  readonly repeats_kept: number;
  /** Highest offset in any of the tables. */
  readonly highest: number;
}

/** Numbers as numbers: offsets are below 2^53. */
export const numberSettings = { output_format_json_quote_64bit_integers: 0 } as const;

/** Which rows are looked at. */
export interface Source {
  readonly clickhouse: Pick<ClickHouse, 'query' | 'execute'>;
  readonly tables: Tables;
  readonly topic: string;
  readonly topicId: string;
}

/** What is counted of one partition; a list of them begins with partition 0 and leaves none out. */
type CountedScope = Pick<PartitionScope, 'checked' | 'span'> & {
  readonly view: Pick<PartitionScope['view'], 'end'>;
};

/** Which offsets are looked at; undefined: all. */
interface Limits {
  readonly from: 'span' | undefined;
  readonly to: 'span' | undefined;
}

/** Counts the rows of all buckets, in slices that bound the memory of ClickHouse. */
export async function* readBuckets(
  source: Source,
  scopes: readonly CountedScope[],
  limits: Limits,
): AsyncGenerator<Bucket[]> {
  const last = Math.max(0, ...scopes.map(({ view }) => Math.floor(view.end / bucketOffsets)));
  const sliceBuckets = Math.max(1, Math.floor(mostBitmaps / Math.max(1, scopes.length)));
  const lowest = limits.from === undefined ? 0 : Math.min(...scopes.map(({ span }) => span.start));
  const start = Math.min(last, Math.floor(lowest / bucketOffsets));
  for (let first = start; first <= last; first += sliceBuckets) {
    const isLast = first + sliceBuckets > last;
    const slice = [
      ...(first === start ? [] : [`offset >= ${first * bucketOffsets}`]),
      ...(isLast ? [] : [`offset < ${(first + sliceBuckets) * bucketOffsets}`]),
    ];
    const where = [...conditionsOf(source), ...slice, ...limitsOf(scopes, limits)].join(' AND ');
    yield await source.clickhouse.query<Bucket>(bucketQuery(source.tables, scopes, { where, last }), {
      settings: numberSettings,
    });
  }
}

function bucketQuery(
  tables: Tables,
  scopes: readonly CountedScope[],
  { where, last }: { where: string; last: number },
): string {
  const isIn = (range: 'checked' | 'span') =>
    `offset >= ${listOf(scopes, (scope) => scope[range].start)}[partition + 1] AND ` +
    `offset < ${listOf(scopes, (scope) => scope[range].end)}[partition + 1]`;
  const parts = deliveryTables(tables).map(
    (table, index) => `
      SELECT ${index} AS source, partition, least(intDiv(offset, ${bucketOffsets}), ${last + bucketsBeyond}) AS bucket,
        multiIf(${isIn('checked')}, ${regions.checked}, ${isIn('span')}, ${regions.named}, ${regions.outside}) AS region,
        count() AS n, max(offset) AS top, groupBitmapState(toUInt32(offset % ${bucketOffsets})) AS seen
      FROM ${table} WHERE ${where} GROUP BY partition, bucket, region`,
  );
  return `
    SELECT partition, bucket, region, groupBitmapMerge(seen) AS delivered, sumIf(n, source = 0) AS rows,
      sumIf(bitmapCardinality(seen), source = 0) AS row_offsets,
      sumIf(bitmapCardinality(seen), source = 1) AS dead_letters,
      sumIf(bitmapCardinality(seen), source = 2) AS repeats,
      groupBitmapMergeIf(seen, source != 2) + repeats - delivered AS repeats_kept, max(top) AS highest
    FROM (${parts.join(' UNION ALL ')})
    GROUP BY partition, bucket, region ORDER BY partition, bucket, region`;
}

/** Rows of this topic, and of none that had its name before. */
export function conditionsOf({ topic, topicId }: Pick<Source, 'topic' | 'topicId'>): string[] {
  return [`topic = ${quoteText(topic)}`, `topic_id = ${quoteText(topicId)}`];
}

/** The first condition of each bound is the same for all partitions, so that the index on offsets helps. */
function limitsOf(scopes: readonly CountedScope[], { from, to }: Limits): string[] {
  const starts = ({ span }: CountedScope) => span.start;
  const ends = ({ span }: CountedScope) => span.end;
  return [
    ...(from === undefined
      ? []
      : [
          `offset >= ${Math.min(...scopes.map(starts))}`,
          `offset >= ${listOf(scopes, starts)}[partition + 1]`,
        ]),
    ...(to === undefined
      ? []
      : [`offset < ${Math.max(0, ...scopes.map(ends))}`, `offset < ${listOf(scopes, ends)}[partition + 1]`]),
  ];
}

/** A list with one number for each partition; ClickHouse counts from 1, and gives 0 beyond its end. */
export function listOf<T>(values: readonly T[], numberOf: (value: T) => number): string {
  // Typed, since an empty list has no type of its own.
  return `CAST([${values.map(numberOf).join(',')}], 'Array(UInt64)')`;
}

/** The offsets of a bucket. */
export function rangeOf(bucket: number): Range {
  return { start: bucket * bucketOffsets, end: (bucket + 1) * bucketOffsets };
}
