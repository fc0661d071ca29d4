/**
 * Reads table `dead_letters`: first where they are, then, a chunk at a time, what they hold.
 *
 * Which dead letters are meant, and the SQL condition that says so.
 *
 * What can be read out of ClickHouse's message about a refused row.
 */
import { type ClickHouse, quoteText } from '../clickhouse/client.ts';
import type { DeadLetter } from '../clickhouse/rows/dead-letter.ts';
import type { Tables } from '../clickhouse/tables.ts';

/** Most rows of one insert, and of one question to ClickHouse. */
const chunkRows = 10_000;
/** Most bytes of raw records of a chunk, unless one alone has more. */
const chunkBytes = 8 * 1024 ** 2;

const settings = { output_format_json_quote_64bit_integers: 0 };

/** Where a dead letter is from. */
export interface LetterHead {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** Size of the raw record. */
  readonly bytes: number;
}

/** A dead letter as the table has it. */
export interface StoredLetter extends DeadLetter {
  /** Milliseconds since the epoch. */
  readonly refusedAt: number;
}

/** Kinds of dead letters that are counted apart. */
const mostKinds = 50;

/** Dead letters of the same kind; the last group may stand for all the other kinds. */
export interface LetterGroup {
  /** 1, or how many other kinds it stands for: its code, column and pattern are those of one of them. */
  readonly kinds: number;
  readonly code: number;
  readonly column: string;
  /** Reason without what differs from row to row. */
  readonly pattern: string;
  readonly pending: number;
  readonly replayed: number;
  /** Receive times, milliseconds since the epoch. */
  readonly firstAt: number;
  readonly lastAt: number;
}

/** Where to read. */
export interface LetterSource {
  readonly clickhouse: Pick<ClickHouse, 'query'>;
  readonly tables: Tables;
}

/** Counts by code, column and pattern of the reason, most pending ones first; beyond 50 kinds the others together. */
export async function countLetters(
  { clickhouse, tables: { deadLetters, events } }: LetterSource,
  filter: DeadLetterFilter,
): Promise<LetterGroup[]> {
  const { sql: where, params } = conditionOf(filter);
  const received = (which: string) => `(SELECT ${which}(received_at) FROM ${deadLetters} WHERE ${where})`;
  // A replayed row has the receive time of its dead letter, which spares ClickHouse most of the table.
  const stored = `SELECT topic_id, partition, offset FROM ${events}
    WHERE received_at BETWEEN ${received('min')} AND ${received('max')}
      AND offset IN (SELECT offset FROM ${deadLetters} WHERE ${where})`;
  const kinds = `
    SELECT code, column, pattern, countIf(NOT is_replayed) AS pending, countIf(is_replayed) AS replayed,
      min(received_at) AS first, max(received_at) AS last,
      row_number() OVER (ORDER BY pending DESC, replayed DESC, code, column, pattern) AS place
    FROM (
      SELECT code, column, ${patternSql()} AS pattern, received_at,
        (topic_id, partition, offset) IN (${stored}) AS is_replayed
      FROM ${deadLetters} WHERE ${where} ORDER BY refused_at DESC LIMIT 1 BY topic_id, partition, offset
    ) GROUP BY code, column, pattern`;
  return await clickhouse.query<LetterGroup>(
    `SELECT toUInt32(count()) AS kinds, any(code) AS code, any(column) AS column, any(pattern) AS pattern,
       sum(pending) AS pending, sum(replayed) AS replayed,
       toUnixTimestamp64Milli(min(first)) AS firstAt, toUnixTimestamp64Milli(max(last)) AS lastAt
     FROM (${kinds}) GROUP BY least(place, ${mostKinds + 1}) AS position ORDER BY position`,
    { params, settings },
  );
}

/** The newest `limit` dead letters by receive time, newest first. */
export async function findNewest(
  source: LetterSource,
  filter: DeadLetterFilter,
  limit: number,
): Promise<LetterHead[]> {
  if (limit === 0) return [];
  return await findHeads(source, filter, {
    order: 'received_at DESC, topic_id, partition DESC, offset DESC',
    limit,
  });
}

/** All dead letters by topic, partition and offset, in pages. */
export async function* findAll(source: LetterSource, filter: DeadLetterFilter): AsyncGenerator<LetterHead[]> {
  let after: LetterHead | undefined;
  for (;;) {
    const page = await findHeads(source, filter, {
      order: 'topic_id, partition, offset',
      limit: chunkRows,
      after,
    });
    if (page.length > 0) yield page;
    after = page.at(-1);
    if (page.length < chunkRows) return;
  }
}

async function findHeads(
  { clickhouse, tables }: LetterSource,
  filter: DeadLetterFilter,
  page: { readonly order: string; readonly limit: number; readonly after?: LetterHead | undefined },
): Promise<LetterHead[]> {
  const { sql, params } = conditionOf(filter);
  const { after, order, limit } = page;
  const rest =
    after === undefined
      ? ''
      : ` AND (topic_id, partition, offset) > (${quoteText(after.topicId)}, ${after.partition}, ${after.offset})`;
  return await clickhouse.query<LetterHead>(
    `SELECT topic, topic_id AS topicId, partition, offset, toUnixTimestamp64Milli(received_at) AS receivedAt,
       length(raw) AS bytes
     FROM ${tables.deadLetters} WHERE ${sql}${rest}
     ORDER BY ${order} LIMIT 1 BY topic_id, partition, offset LIMIT ${limit}`,
    { params, settings },
  );
}

/** Cuts into runs of one partition each, small enough for one insert; order is kept. */
export function cutHeads(heads: readonly LetterHead[]): LetterHead[][] {
  const chunks: LetterHead[][] = [];
  let bytes = 0;
  for (const head of heads) {
    const chunk = chunks.at(-1);
    const last = chunk?.at(-1);
    const isSamePlace = last?.topicId === head.topicId && last.partition === head.partition;
    if (chunk === undefined || !isSamePlace || chunk.length >= chunkRows || bytes + head.bytes > chunkBytes) {
      chunks.push([head]);
      bytes = head.bytes;
    } else {
      chunk.push(head);
      bytes += head.bytes;
    }
  }
  return chunks;
}

/** A partition of one topic. */
export interface Place {
  readonly topicId: string;
  readonly partition: number;
}

/** The dead letters at these offsets, by offset; each once, as it was refused last. */
export async function readLetters(
  { clickhouse, tables }: LetterSource,
  place: Place,
  offsets: readonly number[],
): Promise<StoredLetter[]> {
  type Row = Omit<StoredLetter, 'raw'> & { readonly raw: string };
  const rows = await clickhouse.query<Row>(
    `SELECT topic, topic_id AS topicId, partition, offset, toUnixTimestamp64Milli(received_at) AS receivedAt,
       toUnixTimestamp64Milli(refused_at) AS refusedAt, event_id AS eventId, code, column, reason,
       base64Encode(raw) AS raw
     FROM ${tables.deadLetters} WHERE ${atOffsets(place, offsets)}
     ORDER BY offset, refused_at DESC LIMIT 1 BY offset`,
    { settings },
  );
  return rows.map((row) => ({ ...row, raw: Buffer.from(row.raw, 'base64') }));
}

/** Which of these dead letters are rows of `events`: their offsets. */
export async function readStored(
  { clickhouse, tables }: LetterSource,
  place: Place,
  letters: readonly Pick<LetterHead, 'offset' | 'receivedAt'>[],
): Promise<Set<number>> {
  const times = letters.map(({ receivedAt }) => receivedAt);
  const [first, last] = times.reduce(
    ([low, high], at) => [Math.min(low, at), Math.max(high, at)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  const offsets = letters.map(({ offset }) => offset);
  // The time spares ClickHouse most of the table. What is no number in JavaScript is none to look for.
  const received = [
    ...(Number.isSafeInteger(first)
      ? [`received_at >= fromUnixTimestamp64Milli(toInt64(${first}), 'UTC')`]
      : []),
    ...(Number.isSafeInteger(last)
      ? [`received_at <= fromUnixTimestamp64Milli(toInt64(${last}), 'UTC')`]
      : []),
  ];
  const where = [atOffsets(place, offsets), ...received].join(' AND ');
  const rows = await clickhouse.query<{ readonly offset: number }>(
    `SELECT DISTINCT offset FROM ${tables.events} WHERE ${where}`,
    { settings },
  );
  return new Set(rows.map(({ offset }) => offset));
}

function atOffsets({ topicId, partition }: Place, offsets: readonly number[]): string {
  return `topic_id = ${quoteText(topicId)} AND partition = ${partition} AND offset IN (${offsets.join(', ')})`;
}

/** All that is given must hold. */
export interface DeadLetterFilter {
  readonly partition?: number | undefined;
  /** Error code of ClickHouse; 0 for what could not be read. */
  readonly code?: number | undefined;
  /** Text contained in the reason, in any case. */
  readonly reason?: string | undefined;
  /** Received at or after this time, milliseconds since the epoch. */
  readonly since?: number | undefined;
  /** Received before this time, milliseconds since the epoch. */
  readonly until?: number | undefined;
  /** Both ends included. */
  readonly offsets?: { readonly from: number; readonly to: number } | undefined;
}

/** A condition on table `dead_letters` and the values of its parameters. */
interface Condition {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/** The condition of a filter; true of all without any. */
function conditionOf(filter: DeadLetterFilter): Condition {
  const { partition, code, reason, since, until, offsets } = filter;
  const terms = ['1'];
  if (partition !== undefined) terms.push(`partition = ${partition}`);
  if (code !== undefined) terms.push(`code = ${code}`);
  if (reason !== undefined) terms.push('positionCaseInsensitiveUTF8(reason, {reason:String}) > 0');
  if (since !== undefined) terms.push(`received_at >= fromUnixTimestamp64Milli(${since}, 'UTC')`);
  if (until !== undefined) terms.push(`received_at < fromUnixTimestamp64Milli(${until}, 'UTC')`);
  if (offsets !== undefined) terms.push(`offset BETWEEN ${offsets.from} AND ${offsets.to}`);
  return { sql: terms.join(' AND '), params: reason === undefined ? {} : { reason } };
}

/** Applied in this order, by JavaScript and by ClickHouse (RE2): only what both understand. */
const replacements: readonly (readonly [pattern: string, replacement: string])[] = [
  ['^Code: [0-9]+\\. DB::Exception: ', ''],
  ['^Cannot insert data into JSON column: ', ''],
  // Text of the event without quotes: values, and the path of a key that is there twice.
  ['convert value [\\s\\S]* to enum', 'convert value … to enum'],
  ['FixedString\\([0-9]+\\): [\\s\\S]*$', 'FixedString'],
  ['JSON object: [\\s\\S]*$', 'JSON object'],
  // What follows says where within the insert, which changes with the batch.
  ['[: ]*(\\((while reading|at row)|While executing|\\n)[\\s\\S]*$', ''],
  [' here: [\\s\\S]*$', ''],
  ['\\. You can enable setting[\\s\\S]*$', ''],
  ['JSON element: [\\s\\S]*$', 'JSON element'],
  ['"[^"]*"', '"…"'],
  ['\\b[0-9][0-9.]*\\b', 'N'],
  ['-N', 'N'],
];

/** Pattern of a reason: without what differs from row to row, so that like ones are counted together. */
export function patternOf(reason: string): string {
  let pattern = reason;
  for (const [from, to] of replacements) pattern = pattern.replace(new RegExp(from, 'g'), to);
  return pattern.trim();
}

/** SQL for the pattern of the column `reason`. */
function patternSql(): string {
  const replaced = replacements.reduce(
    (sql, [from, to]) => `replaceRegexpAll(${sql}, ${quoteText(from)}, ${quoteText(to)})`,
    'reason',
  );
  return `trimBoth(${replaced})`;
}
