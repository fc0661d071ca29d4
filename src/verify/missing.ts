/**
 * Which offsets are missing: looks into the buckets that lack some, and asks the buffer what was there.
 *
 * A closer look into the buckets of a partition that are not as they should be.
 */
import { type BufferInspector, OffsetOutOfRangeError } from '../buffer/buffer.ts';
import { deliveryTables } from '../clickhouse/tables.ts';
import {
  type Bucket,
  bucketOffsets,
  conditionsOf,
  numberSettings,
  rangeOf,
  regions,
  type Source,
} from './coverage.ts';
import type { PartitionScope } from './partition-scope.ts';
import { clip, intersect, type Range, RangeList, type RangeSet } from './ranges.ts';

/** Missing offsets that one query gives at most, in about 4 MB; one bucket may have up to 65,536. */
const mostCandidates = 500_000;
/** Most bytes of one read, and for a single offset: what is read beyond the candidates is read in vain. */
const readBytes = 256 * 1024;
const offsetReadBytes = 1_024;

/** How much of the buffer may be read in all, in bytes of records. */
export interface ReadBudget {
  left: number;
}

/** What is missing of one partition. */
export interface Missing {
  /** Records that no table holds. */
  readonly missing: RangeList;
  /** Of these, offsets of which the buffer was not asked whether it holds a record there. */
  unconfirmed: number;
  /** Offsets that no table holds, and the buffer neither: transactions of Kafka leave them. */
  gaps: number;
  /** Receipts that no table holds. */
  readonly receipts: RangeList;
}

/** What finding the missing offsets of a partition needs. */
interface MissingContext {
  readonly source: Source;
  /** Asked whether there is a record where no table holds one; undefined: every offset counts as one. */
  readonly inspector: Pick<BufferInspector, 'isDense' | 'read'> | undefined;
  readonly budget: ReadBudget;
}

/** What is looked at of a partition: {@link PartitionScope}. */
type MissingScope = Pick<PartitionScope, 'partition' | 'checked' | 'span'>;

/** Finds what is missing of one partition; `buckets` are those of this partition, in any order. */
export async function findMissing(
  context: MissingContext,
  scope: MissingScope,
  { buckets, receipts }: { buckets: readonly Bucket[]; receipts: RangeSet | undefined },
): Promise<Missing> {
  const found: Missing = { missing: new RangeList(), unconfirmed: 0, gaps: 0, receipts: new RangeList() };
  for (const suspect of suspects(scope, { buckets, receipts })) {
    // Where there is not one row, there is nothing to ask ClickHouse.
    const candidates = Array.isArray(suspect)
      ? await readCandidates(context.source, scope, suspect)
      : [suspect];
    if (receipts !== undefined) {
      for (const common of intersect(candidates, receipts)) found.receipts.add(common);
    }
    const ours = candidates
      .map((candidate) => clip(candidate, scope.checked))
      .filter(({ start, end }) => end > start);
    if (ours.length > 0) await confirm(context, scope.partition, { candidates: ours, found });
  }
  return found;
}

/** What may lack offsets, in ascending order: buckets to look into together, or a range without any row. */
function* suspects(
  { checked, span }: MissingScope,
  { buckets, receipts }: { buckets: readonly Bucket[]; receipts: RangeSet | undefined },
): Generator<Range | number[]> {
  const delivered = sumDelivered(buckets);
  let together: number[] = [];
  let candidates = 0;
  let empty: Range | undefined;
  const last = span.end > span.start ? Math.ceil(span.end / bucketOffsets) : 0;
  for (let bucket = Math.floor(span.start / bucketOffsets); bucket < last; bucket++) {
    const range = clip(rangeOf(bucket), span);
    const sums = delivered.get(bucket) ?? { checked: 0, all: 0 };
    const ours = clip(range, checked);
    const isLacking =
      sums.checked < ours.end - ours.start ||
      (receipts !== undefined && sums.all < range.end - range.start && !receipts.within(range).next().done);
    if (!isLacking) continue;
    if (sums.all === 0 && empty?.end === range.start) {
      empty = { start: empty.start, end: range.end };
      continue;
    }
    if (empty !== undefined) yield empty;
    empty = undefined;
    const isFull = candidates + bucketOffsets - sums.all > mostCandidates;
    if (together.length > 0 && (sums.all === 0 || isFull)) {
      yield together;
      together = [];
      candidates = 0;
    }
    if (sums.all === 0) empty = range;
    else {
      together.push(bucket);
      candidates += bucketOffsets - sums.all;
    }
  }
  if (empty !== undefined) yield empty;
  if (together.length > 0) yield together;
}

/** Delivered offsets of each bucket: those that must be, and those that receipts may name as well. */
function sumDelivered(buckets: readonly Bucket[]): Map<number, { checked: number; all: number }> {
  const delivered = new Map<number, { checked: number; all: number }>();
  for (const { bucket, region, delivered: count } of buckets) {
    if (region === regions.outside) continue;
    const sums = delivered.get(bucket) ?? { checked: 0, all: 0 };
    sums.all += count;
    if (region === regions.checked) sums.checked += count;
    delivered.set(bucket, sums);
  }
  return delivered;
}

/** Offsets of the span that lie in these buckets and that no table holds, as ranges. */
async function readCandidates(
  source: Source,
  { partition, span }: MissingScope,
  buckets: readonly number[],
): Promise<Range[]> {
  const where = whereIn(source, partition, buckets);
  const held = deliveryTables(source.tables).map(
    (table) => `
      SELECT intDiv(offset, ${bucketOffsets}) AS bucket, groupBitmapState(toUInt32(offset % ${bucketOffsets})) AS seen
      FROM ${table} WHERE ${where} GROUP BY bucket`,
  );
  const sql = `
    SELECT bucket,
      arraySort(bitmapToArray(
        bitmapAndnot(bitmapBuild(range(toUInt32(${bucketOffsets}))), groupBitmapMergeState(seen)))) AS missing
    FROM (${held.join(' UNION ALL ')}) GROUP BY bucket ORDER BY bucket`;
  const rows = await source.clickhouse.query<{ bucket: number; missing: number[] }>(sql, {
    settings: numberSettings,
  });
  return rows.flatMap(({ bucket, missing }) => {
    const { start } = rangeOf(bucket);
    return joinRuns(missing)
      .map((run) => clip({ start: start + run.start, end: start + run.end }, span))
      .filter((range) => range.end > range.start);
  });
}

/** Ascending numbers as ranges. */
function joinRuns(numbers: readonly number[]): Range[] {
  const runs: Range[] = [];
  let start = numbers[0] ?? 0;
  for (const [i, number] of numbers.entries()) {
    if (numbers[i + 1] === number + 1) continue;
    runs.push({ start, end: number + 1 });
    start = numbers[i + 1] ?? 0;
  }
  return runs;
}

/** Sorts candidates into records that are missing and offsets that never held one. */
async function confirm(
  { inspector, budget }: MissingContext,
  partition: number,
  { candidates, found }: { candidates: readonly Range[]; found: Missing },
): Promise<void> {
  if (inspector === undefined || inspector.isDense) {
    for (const candidate of candidates) found.missing.add(candidate);
    return;
  }
  for (const candidate of candidates) {
    let position = candidate.start;
    while (position < candidate.end) {
      const step = await readStep(inspector, partition, { position, end: candidate.end, budget });
      const to = Math.min(step.next, candidate.end);
      let records = 0;
      for (const offset of step.offsets) {
        found.missing.add({ start: offset, end: offset + 1 });
        records++;
      }
      if (step.isUnread) {
        found.missing.add({ start: position, end: to });
        found.unconfirmed += to - position;
      } else {
        found.gaps += to - position - records;
      }
      position = to;
    }
  }
}

interface Step {
  readonly offsets: readonly number[];
  readonly next: number;
  /** Nothing could be read: retention has passed, or the budget is used up. */
  readonly isUnread: boolean;
}

/** Reads the offsets of the records from a position on, as far as one read goes. */
async function readStep(
  inspector: Pick<BufferInspector, 'read'>,
  partition: number,
  { position, end, budget }: { position: number; end: number; budget: ReadBudget },
): Promise<Step> {
  if (budget.left <= 0) return { offsets: [], next: end, isUnread: true };
  try {
    const maxBytes = Math.min(readBytes, (end - position) * offsetReadBytes);
    const { blocks, next } = await inspector.read(partition, position, { maxBytes });
    const offsets: number[] = [];
    for (const block of blocks) {
      budget.left -= block.bytes.length;
      for (let i = 0; i < block.count; i++) {
        const offset = block.offsets[i] as number;
        if (offset >= position && offset < end) offsets.push(offset);
      }
    }
    return next > position ? { offsets, next, isUnread: false } : { offsets: [], next: end, isUnread: true };
  } catch (error) {
    if (!(error instanceof OffsetOutOfRangeError)) throw error;
    const next = error.start > position ? error.start : end;
    return { offsets: [], next, isUnread: true };
  }
}

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
interface Inquiry extends Search {
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
function whereIn(source: Source, partition: number, buckets: readonly number[]): string {
  return [
    ...conditionsOf(source),
    `partition = ${partition}`,
    `offset >= ${rangeOf(buckets[0] ?? 0).start} AND offset < ${rangeOf(buckets.at(-1) ?? 0).end}`,
    `intDiv(offset, ${rangeOf(0).end}) IN (${buckets.join(', ')})`,
  ].join(' AND ');
}
