/**
 * Whether the tables hold the bytes that the buffer holds: SHA-256 over the records of 1,024 offsets at a time, here and
 * in ClickHouse over `raw`, and where the two differ, over each record. Several rows of an offset with the same bytes,
 * as of a dead letter that was replayed, count as one.
 */
import { createHash } from 'node:crypto';
import { type BufferInspector, OffsetOutOfRangeError } from '../buffer/buffer.ts';
import { deliveryTables } from '../clickhouse/tables.ts';
import { conditionsOf, listOf, numberSettings, type Source } from './coverage.ts';
import type { PartitionScope } from './partition-scope.ts';
import { clip, type Range, RangeList } from './ranges.ts';

/** Offsets in one chunk. */
const chunkOffsets = 1_024;
/** Bytes that ClickHouse holds in memory for one question, unless one chunk of all partitions has more. */
const windowBytes = 32 * 1024 ** 2;
const windowRows = 262_144;
const readBytes = 1024 * 1024;

/** What was found of the content of one partition. */
export interface ContentCounts {
  /** Records whose bytes are those of the buffer. */
  readonly checked: number;
  /** Records whose bytes no table has: they were not kept, or are of an earlier version; or the buffer has them no longer. */
  readonly unchecked: number;
  /** Records that a table holds with different bytes. */
  readonly different: number;
}

/** The same for one partition, and where. */
export interface PartitionContent extends ContentCounts {
  readonly partition: number;
  /** The first of the ranges that differ. */
  readonly different_ranges: readonly Range[];
}

/** What comparing needs. */
interface ContentContext {
  readonly source: Source;
  readonly inspector: Pick<BufferInspector, 'read'>;
  /** A list that begins with partition 0 and leaves none out. */
  readonly scopes: readonly Pick<PartitionScope, 'partition' | 'checked' | 'view'>[];
}

/** Offsets of all partitions that are compared together. */
interface Window extends Range {
  /** Bytes of `raw` in it. */
  readonly bytes: number;
}

/** A chunk as ClickHouse has it. */
interface StoredChunk {
  readonly partition: number;
  readonly chunk: number;
  /** Rows, and how many of them have no bytes. */
  readonly rows: number;
  readonly empty: number;
  readonly digest: string;
}

/** A row of a chunk that differs. */
interface StoredRow {
  readonly partition: number;
  readonly offset: number;
  readonly digest: string;
  /** Whether it has no bytes although it is no dead letter. */
  readonly isEmpty: number;
}

/** A chunk as the buffer has it. */
interface BufferChunk {
  readonly records: number;
  readonly digest: string;
}

/** Compares the delivered records of all partitions. @throws ClickHouseError, ClickHouseUnavailableError */
export async function compareContent(context: ContentContext): Promise<PartitionContent[]> {
  const totals = context.scopes.map(({ partition }) => new ContentTotals(partition));
  if (!(await hasRaw(context.source))) {
    for (const [partition, { checked }] of context.scopes.entries())
      (totals[partition] as ContentTotals).unchecked = checked.end - checked.start;
    return totals.map((total) => total.report());
  }
  for await (const window of readWindows(context)) {
    if (window.bytes === 0) await skipWindow(context, window, totals);
    else await compareWindow(context, window, totals);
  }
  return totals.map((total) => total.report());
}

class ContentTotals {
  readonly #partition: number;
  readonly #different = new RangeList();
  checked = 0;
  unchecked = 0;

  constructor(partition: number) {
    this.#partition = partition;
  }

  /** Offsets come in ascending order. */
  differs(offset: number): void {
    this.#different.add({ start: offset, end: offset + 1 });
  }

  report(): PartitionContent {
    const { offsets, ranges } = this.#different;
    const { checked, unchecked } = this;
    return { partition: this.#partition, checked, unchecked, different: offsets, different_ranges: ranges };
  }
}

/** Whether the tables have the column: those of an earlier version get it when a streamer starts. */
export async function hasRaw({ clickhouse, tables: { database } }: Source): Promise<boolean> {
  const found = await clickhouse.query(
    `SELECT table FROM system.columns
     WHERE database = {database:String} AND table IN ('events', 'dead_letters', 'repeats') AND name = 'raw'`,
    { params: { database } },
  );
  return found.length === 3;
}

/** Cuts the offsets of all partitions into windows that ClickHouse can hold in memory, by the sizes of what it has. */
async function* readWindows(context: ContentContext): AsyncGenerator<Window> {
  const sizes = await ask<{ chunk: number; rows: number; bytes: number }>(
    context,
    (rows) =>
      `SELECT intDiv(offset, ${chunkOffsets}) AS chunk, count() AS rows, sum(length(raw)) AS bytes
       FROM (${rows}) GROUP BY chunk ORDER BY chunk`,
    undefined,
    ['raw'],
  );
  let open: (Window & { readonly rows: number }) | undefined;
  for (const { chunk, rows, bytes } of sizes) {
    const start = chunk * chunkOffsets;
    const end = start + chunkOffsets;
    const isFull = open !== undefined && (open.bytes + bytes > windowBytes || open.rows + rows > windowRows);
    // What has no bytes is not read: it is kept apart from what has.
    if (open !== undefined && (isFull || (open.bytes === 0) !== (bytes === 0))) {
      yield open;
      open = undefined;
    }
    open = {
      start: open?.start ?? start,
      end,
      bytes: (open?.bytes ?? 0) + bytes,
      rows: (open?.rows ?? 0) + rows,
    };
  }
  if (open !== undefined) yield open;
}

/** Counts the records of a window of which ClickHouse has no bytes at all. */
async function skipWindow(
  context: ContentContext,
  window: Window,
  totals: readonly ContentTotals[],
): Promise<void> {
  const found = await ask<{ partition: number; records: number }>(
    context,
    (rows) => `SELECT partition, uniqExact(offset) AS records FROM (${rows}) GROUP BY partition`,
    window,
  );
  for (const { partition, records } of found) (totals[partition] as ContentTotals).unchecked += records;
}

async function compareWindow(
  context: ContentContext,
  window: Window,
  totals: readonly ContentTotals[],
): Promise<void> {
  // The buffer is read while ClickHouse computes.
  const [stored, held] = await Promise.all([readStored(context, window), readHeld(context, window)]);
  const suspects: [partition: number, chunk: number][] = [];
  for (const { partition, chunk, rows, empty, digest } of stored) {
    const total = totals[partition] as ContentTotals;
    const own = held.get(keyOf(partition, chunk));
    if (own !== undefined && own.digest === digest) total.checked += own.records;
    else if (rows === empty || own === undefined) total.unchecked += rows;
    else suspects.push([partition, chunk]);
  }
  if (suspects.length > 0) await compareRows(context, { window, suspects, totals });
}

async function readStored(context: ContentContext, window: Window): Promise<StoredChunk[]> {
  return await ask<StoredChunk>(
    context,
    (rows) => `
      SELECT partition, chunk, rows, empty, lower(hex(SHA256(concat(arrayStringConcat(arrayMap(r -> r.2, records)), '\\n',
        arrayStringConcat(arrayMap(r -> concat(toString(r.1), ':', toString(length(r.2))), records), ','))))) AS digest
      FROM (
        SELECT partition, intDiv(offset, ${chunkOffsets}) AS chunk, count() AS rows, countIf(raw = '') AS empty,
          arrayCompact(arraySort(groupArray((offset, raw)))) AS records
        FROM (${rows}) GROUP BY partition, chunk
      ) ORDER BY partition, chunk`,
    window,
    ['raw'],
  );
}

/** The chunks of a window as the buffer has them; what retention has removed meanwhile is not among them. */
async function readHeld(context: ContentContext, window: Window): Promise<Map<string, BufferChunk>> {
  const chunks = new Map<string, BufferChunk>();
  for (const { partition, checked, view } of context.scopes) {
    const range = clip(clip(window, checked), { start: view.start, end: view.end });
    let open: { chunk: number; hash: ReturnType<typeof createHash>; lengths: string[] } | undefined;
    const close = () => {
      if (open === undefined) return;
      const digest = open.hash.update(`\n${open.lengths.join(',')}`).digest('hex');
      chunks.set(keyOf(partition, open.chunk), { records: open.lengths.length, digest });
      open = undefined;
    };
    await readRecords(context, { partition, range }, (offset, value) => {
      const chunk = Math.floor(offset / chunkOffsets);
      if (open?.chunk !== chunk) {
        close();
        open = { chunk, hash: createHash('sha256'), lengths: [] };
      }
      open.hash.update(value);
      open.lengths.push(`${offset}:${value.length}`);
    });
    close();
  }
  return chunks;
}

/** Compares the records of some chunks of a window one by one. */
async function compareRows(
  context: ContentContext,
  {
    window,
    suspects,
    totals,
  }: { window: Window; suspects: readonly [number, number][]; totals: readonly ContentTotals[] },
): Promise<void> {
  const list = suspects.map(([partition, chunk]) => `(${partition}, ${chunk})`).join(', ');
  const rows = await ask<StoredRow>(
    context,
    (from) => `
      SELECT DISTINCT partition, offset, lower(hex(SHA256(raw))) AS digest, raw = '' AND source != 1 AS isEmpty
      FROM (${from}) WHERE (partition, intDiv(offset, ${chunkOffsets})) IN (${list}) ORDER BY partition, offset`,
    window,
    ['raw', 'source'],
  );
  const digests = new Map<string, string>();
  for (const [partition, chunk] of suspects) {
    const range = clip({ start: chunk * chunkOffsets, end: (chunk + 1) * chunkOffsets }, window);
    await readRecords(context, { partition, range }, (offset, value) => {
      digests.set(keyOf(partition, offset), createHash('sha256').update(value).digest('hex'));
    });
  }
  const seen = new Set<string>();
  for (const { partition, offset, digest, isEmpty } of rows) {
    const total = totals[partition] as ContentTotals;
    const key = keyOf(partition, offset);
    const own = digests.get(key);
    if (seen.has(key)) {
      // A second row with different bytes than the first: one of them is not what was posted.
      if (own !== undefined && isEmpty === 0) total.differs(offset);
      continue;
    }
    seen.add(key);
    if (own === digest) total.checked += 1;
    else if (own === undefined || isEmpty !== 0) total.unchecked += 1;
    else total.differs(offset);
  }
}

/** Visits the records of a range that the buffer still holds; their bytes are valid during the visit only. */
async function readRecords(
  { inspector }: ContentContext,
  { partition, range: { start, end } }: { partition: number; range: Range },
  visit: (offset: number, value: Uint8Array) => void,
): Promise<void> {
  for (let position = start; position < end; ) {
    let next: number;
    try {
      const result = await inspector.read(partition, position, { maxBytes: readBytes });
      next = result.next;
      for (const { count, bytes, starts, ends, offsets } of result.blocks) {
        for (let i = 0; i < count; i++) {
          const offset = offsets[i] as number;
          if (offset < position || offset >= end) continue;
          visit(offset, bytes.subarray(starts[i] as number, ends[i] as number));
        }
      }
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError)) throw error;
      next = error.start;
    }
    if (next <= position) return;
    position = next;
  }
}

/** Runs a query over the delivered rows of all tables, `source` being the number of the table. */
async function ask<T>(
  { source, scopes }: ContentContext,
  query: (rows: string) => string,
  window?: Range,
  more: readonly ('raw' | 'source')[] = [],
): Promise<T[]> {
  const bounds = (of: (range: Range) => number) => listOf(scopes, ({ checked }) => of(checked));
  const where = [
    ...conditionsOf(source),
    ...(window === undefined ? [] : [`offset >= ${window.start} AND offset < ${window.end}`]),
    `offset >= ${bounds(({ start }) => start)}[partition + 1]`,
    `offset < ${bounds(({ end }) => end)}[partition + 1]`,
  ].join(' AND ');
  const rows = deliveryTables(source.tables).map((table, index) => {
    const columns = [
      'partition',
      'offset',
      ...more.map((name) => (name === 'source' ? `${index} AS source` : name)),
    ];
    return `SELECT ${columns.join(', ')} FROM ${table} WHERE ${where}`;
  });
  return await source.clickhouse.query<T>(query(rows.join(' UNION ALL ')), { settings: numberSettings });
}

function keyOf(partition: number, number: number): string {
  return `${partition}:${number}`;
}
