/**
 * Reads the newest rows of table `events`, then those that arrive.
 *
 * Which row of each partition was printed last, and the SQL conditions that follow from it.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type ClickHouse, createClickHouse } from '../clickhouse/client.ts';
import {
  authenticationCodes,
  ClickHouseError,
  ClickHouseUnavailableError,
  describeRefusal,
  isMissingTable,
} from '../clickhouse/errors.ts';
import type { Config } from '../config/options.ts';
import { type ExitCode, exitCodes, OperatorError } from '../errors.ts';
import { printableJson } from '../text.ts';
import { type Command, type CommandContext, clickhouseOptions } from './command.ts';
import { clickhouseClientOptions } from './open-buffer.ts';

const pollMs = 500;

/** Prints the newest rows, then those that arrive, until stopped. */
export const tail: Command = {
  arguments: [],
  options: [
    'limit',
    'follow',
    'filter',
    ...clickhouseOptions.filter((key) => key !== 'clickhouseCluster'),
    'dataDir',
    'logLevel',
    'config',
  ],
  examples: [
    'millrace tail',
    'millrace tail --limit 100 --no-follow',
    'millrace tail --filter "os = \'linux\' AND status >= 500"',
    'millrace tail | jq .data.path',
  ],
  run,
};

async function run({ config }: CommandContext): Promise<ExitCode> {
  const clickhouse = createClickHouse(clickhouseClientOptions(config, config.clickhouseDatabase, 'reader'));
  const controller = new AbortController();
  const stop = () => controller.abort();
  const onOutputError = (error: NodeJS.ErrnoException) => {
    // The reader of the pipe, as head, has what it wanted.
    if (error.code !== 'EPIPE') throw error;
    stop();
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.stdout.on('error', onOutputError);
  const { limit, follow, filter } = config;
  let isStarted = false;
  try {
    const pages = tailRows(clickhouse, { limit, follow, filter, pollMs, signal: controller.signal });
    for await (const rows of pages) {
      isStarted = true;
      await print(printableJson(rows.map((row) => `${formatRow(row)}\n`).join('')), controller.signal);
    }
  } catch (error) {
    if (!controller.signal.aborted) throw describe(error, config, isStarted);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    await clickhouse.close();
  }
  return exitCodes.ok;
}

/** Writes, and waits until the reader has caught up. */
async function print(text: string, signal: AbortSignal): Promise<void> {
  if (text === '' || process.stdout.write(text)) return;
  await once(process.stdout, 'drain', { signal });
}

function describe(error: unknown, config: Config, isStarted: boolean): unknown {
  const { clickhouseUrl, clickhouseDatabase: database, filter } = config;
  if (error instanceof ClickHouseUnavailableError) {
    return new OperatorError(`${error.message}; check --clickhouse-url`, exitCodes.unavailable, {
      cause: error,
    });
  }
  if (!(error instanceof ClickHouseError)) return error;
  if (isMissingTable(error)) {
    const message =
      `database ${database} at ${clickhouseUrl.origin} has no table events yet: ` +
      'start the streamer first (millrace start, or millrace stream), or check --clickhouse-database';
    return new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
  if (filter !== undefined && !isStarted && !isRefusal(error)) {
    return new OperatorError(`ClickHouse does not accept --filter: ${error.message}`, exitCodes.usage, {
      cause: error,
    });
  }
  return new OperatorError(
    `ClickHouse at ${clickhouseUrl.origin} refuses the query: ${describeRefusal(error)}`,
    exitCodes.unavailable,
    { cause: error },
  );
}

/** Whether the user is refused (wrong password, no such user, no right), which no filter brings about. */
function isRefusal({ code }: ClickHouseError): boolean {
  return code === 497 || authenticationCodes.includes(code);
}

/** A row, as it is printed. */
interface TailRow extends RowPosition {
  /** ISO 8601, UTC. */
  readonly received_at: string;
  /** The event as it was posted, on one line; where its bytes are not kept, as ClickHouse holds it. */
  readonly data: string;
}

/** What to read. */
interface TailOptions {
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

/** Where a row came from. */
interface RowPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** A condition and the values of its parameters. */
interface Condition {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/**
 * The highest offset seen in each partition. Rows are told apart by their offset and not by their time: many
 * rows share a time, and partitions reach the table out of order, but within one, offsets arrive in order.
 */
export class Watermarks {
  readonly #topics = new Map<string, Map<number, number>>();

  /** Takes note of a row. Rows may come in any order. */
  advance({ topic, partition, offset }: RowPosition): void {
    const partitions = this.#topics.get(topic) ?? new Map<number, number>();
    this.#topics.set(topic, partitions);
    partitions.set(partition, Math.max(offset, partitions.get(partition) ?? offset));
  }

  /** True of the rows up to the watermarks, and of no others. */
  isSeen(): Condition {
    const { terms, params } = this.#compare('<=');
    return { sql: terms.length === 0 ? '0' : `(${terms.join(' OR ')})`, params };
  }

  /** True of the rows after the watermarks, and of all rows of partitions that were not seen. */
  isNew(): Condition {
    const { terms, params } = this.#compare('>');
    const known = [...this.#topics.values()].map(
      (partitions, index) =>
        `(topic = {t${index}:String} AND partition IN (${[...partitions.keys()].join(', ')}))`,
    );
    const unseen = known.length === 0 ? '1' : `NOT (${known.join(' OR ')})`;
    return { sql: `(${[...terms, unseen].join(' OR ')})`, params };
  }

  #compare(operator: '<=' | '>'): { terms: string[]; params: Record<string, string> } {
    const terms: string[] = [];
    const params: Record<string, string> = {};
    for (const [index, [topic, partitions]] of [...this.#topics].entries()) {
      params[`t${index}`] = topic;
      for (const [partition, offset] of partitions) {
        terms.push(
          `(topic = {t${index}:String} AND partition = ${partition} AND offset ${operator} ${offset})`,
        );
      }
    }
    return { terms, params };
  }
}
