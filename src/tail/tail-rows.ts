/** Reads the newest rows of table `events`, then those that arrive. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouse } from '../clickhouse/client.ts';
import { type Condition, type RowPosition, Watermarks } from './watermarks.ts';

/** A row, as it is printed. */
export interface TailRow extends RowPosition {
  /** ISO 8601, UTC. */
  readonly received_at: string;
  /** The event as it was posted, on one line; where its bytes are not kept, as ClickHouse holds it. */
  readonly data: string;
}

/** What to read. */
export interface TailOptions {
  /** Rows from the past. */
  readonly limit: number;
  /** Whether to wait for new rows after those. */
  readonly follow: boolean;
  /** SQL condition that rows must meet. */
  readonly filter: string | undefined;
  /** Time between two looks, milliseconds. */
  readonly pollMs: number;
  readonly signal: AbortSignal;
}

/** Most rows of one look; bounds the memory when rows arrive faster than they can be printed. */
const pageRows = 5_000;
/**
 * The bytes of the event, else what `data` has, without the typed paths that are absent from it: ClickHouse gives those as null, '' or [], twenty of
 * them in every row. Raw text all the way, so that no number is rounded.
 */
const json = `if(raw != '', raw, concat('{', arrayStringConcat(arrayMap(p -> concat(toJSONString(p.1), ':', p.2), arrayFilter(
  p -> p.2 NOT IN ('null', '""', '[]'), JSONExtractKeysAndValuesRaw(toJSONString(data)))), ','), '}')) AS json`;
const columns = `received_at, topic, partition, offset, ${json}`;
const settings = { date_time_output_format: 'iso', output_format_json_quote_64bit_integers: 0 };

type QueriedRow = Omit<TailRow, 'data'> & { readonly json: string };

/**
 * Gives pages of rows, each page sorted by time: first the newest `limit` ones, then, when following, all that
 * arrive after. No row is missed or repeated, since the two meet at the offsets that were read before either.
 */
export async function* tailRows(
  clickhouse: Pick<ClickHouse, 'query'>,
  options: TailOptions,
): AsyncGenerator<TailRow[]> {
  const { limit, follow, pollMs, signal } = options;
  const watermarks = new Watermarks();
  const heads = await clickhouse.query<RowPosition>(
    'SELECT topic, partition, max(offset) AS offset FROM events GROUP BY topic, partition',
    { settings, signal },
  );
  for (const head of heads) watermarks.advance(head);
  if (limit > 0) yield await readPast(clickhouse, watermarks.isSeen(), options);
  while (follow && !signal.aborted) {
    const startMs = performance.now();
    const rows = await readNew(clickhouse, watermarks.isNew(), options);
    for (const row of rows) watermarks.advance(row);
    if (rows.length > 0) yield sortByTime(rows);
    // A look that takes long is a load on ClickHouse: rest for as long.
    if (rows.length < pageRows)
      await delay(Math.max(pollMs, performance.now() - startMs), undefined, { signal });
  }
}

/** A row as one line of NDJSON, without the line end. */
export function formatRow({ received_at, partition, offset, data }: TailRow): string {
  return `{"received_at":${JSON.stringify(received_at)},"partition":${partition},"offset":${offset},"data":${data}}`;
}

async function readPast(
  clickhouse: Pick<ClickHouse, 'query'>,
  seen: Condition,
  options: TailOptions,
): Promise<TailRow[]> {
  const where = `WHERE ${seen.sql}${filterClause(options.filter)}`;
  // Finds the time first, so that the events themselves are read for no more rows than are shown.
  const newest = `SELECT received_at FROM events ${where} ORDER BY received_at DESC LIMIT ${options.limit}`;
  const rows = await clickhouse.query<QueriedRow>(
    `SELECT ${columns} FROM events ${where} AND received_at >= (SELECT min(received_at) FROM (${newest}))
     ORDER BY received_at DESC, partition DESC, offset DESC LIMIT ${options.limit}`,
    { params: seen.params, settings, signal: options.signal },
  );
  return sortByTime(rows.map(toTailRow));
}

async function readNew(
  clickhouse: Pick<ClickHouse, 'query'>,
  isNew: Condition,
  options: TailOptions,
): Promise<TailRow[]> {
  // Sorted by offset, a page that is cut short still holds the lowest offsets of each partition.
  const rows = await clickhouse.query<QueriedRow>(
    `SELECT ${columns} FROM events WHERE ${isNew.sql}${filterClause(options.filter)}
     ORDER BY offset LIMIT ${pageRows}`,
    { params: isNew.params, settings, signal: options.signal },
  );
  return rows.map(toTailRow);
}

/** On a line of its own, lest a comment at its end swallow the bracket. */
function filterClause(filter: string | undefined): string {
  return filter === undefined ? '' : ` AND (\n${filter}\n)`;
}

/** Between the values of an event a line break is no more than a space, and within them it is an escape. */
function toTailRow({ json, ...position }: QueriedRow): TailRow {
  return { ...position, data: json.replace(/[\r\n]+/g, ' ') };
}

function sortByTime(rows: readonly TailRow[]): TailRow[] {
  return [...rows].sort(
    (a, b) => a.received_at.localeCompare(b.received_at) || a.partition - b.partition || a.offset - b.offset,
  );
}
