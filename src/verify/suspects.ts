/** A closer look into the buckets of a partition that are not as they should be. */
import { type Bucket, conditionsOf, numberSettings, rangeOf, type Source } from './coverage.ts';
import type { Range, RangeSet } from './ranges.ts';

/** Buckets that one query looks into: it counts each of their offsets. */
const bucketsAtOnce = 32;

/** What one partition is looked through for. */
export interface Search {
  readonly partition: number;
  /** Of this partition, in any order. */
  readonly buckets: readonly Bucket[];
  /** Only these offsets; undefined: all in the buckets. */
  readonly within?: RangeSet | undefined;
}

/** Which buckets, and the query that looks into some of them, from the condition that names them. */
export interface Inquiry extends Search {
  isSuspect(bucket: Bucket): boolean;
  query(where: string): string;
}

/** Asks about all suspects, in order of their offsets, a few at a time; each row is a range that the query gave. */
export async function* inquire<T extends Range>(
  source: Source,
  { partition, buckets, within, isSuspect, query }: Inquiry,
): AsyncGenerator<T> {
  const suspects = new Set(buckets.filter(isSuspect).map(({ bucket }) => bucket));
  const list = [...suspects].sort((a, b) => a - b);
  for (let i = 0; i < list.length; i += bucketsAtOnce) {
    const where = whereIn(source, partition, list.slice(i, i + bucketsAtOnce));
    const found = await source.clickhouse.query<T>(query(where), { settings: numberSettings });
    if (within === undefined) yield* found;
    else for (const row of found) for (const part of within.within(row)) yield { ...row, ...part };
  }
}

/** The condition that a row is of the partition, and in one of these buckets, in ascending order. */
export function whereIn(source: Source, partition: number, buckets: readonly number[]): string {
  return [
    ...conditionsOf(source),
    `partition = ${partition}`,
    `offset >= ${rangeOf(buckets[0] ?? 0).start} AND offset < ${rangeOf(buckets.at(-1) ?? 0).end}`,
    `intDiv(offset, ${rangeOf(0).end}) IN (${buckets.join(', ')})`,
  ].join(' AND ');
}
