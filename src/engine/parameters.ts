/**
 * Reads what a request asks for from its URL and headers, as ClickHouse's HTTP interface does.
 *
 * Formats that begin with the names of the columns: the engine writes them around every piece of a streamed result.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { StreamChunk } from './binding.ts';
import { EngineError } from './error.ts';
import { checkFormat, type Role } from './policy.ts';
import type { Scope } from './scope.ts';

/** A request, but for its body. */
export interface QueryParameters {
  /** The `query` parameter: the statement, or its beginning. */
  readonly query: string;
  /** For a statement that names no format. */
  readonly defaultFormat: string;
  readonly scope: Scope;
  /** The client will not read before the query has ended: no streaming. */
  readonly waitEndOfQuery: boolean;
  /** The response may be compressed. */
  readonly allowCompression: boolean;
}

/** Parameters of the HTTP interface that are not settings, or that mean nothing here. */
const notSettings = new Set([
  'query',
  'database',
  'user',
  'password',
  'query_id',
  'default_format',
  'quota_key',
  'role',
  'stacktrace',
  'session_id',
  'session_timeout',
  'session_check',
  'close_session',
  'client_protocol_version',
  'buffer_size',
  'wait_end_of_query',
  'compress',
  'decompress',
  'enable_http_compression',
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'http_response_buffer_size',
  'http_wait_end_of_query',
]);

/**
 * Reads the parameters.
 * @throws EngineError for what the embedded interface does not offer
 */
export function readParameters({
  url,
  request,
  role,
}: {
  readonly url: URLSearchParams;
  readonly request: Pick<IncomingMessage, 'headers' | 'method'>;
  readonly role: Role;
}): QueryParameters {
  const { headers, method } = request;
  for (const name of ['compress', 'decompress']) {
    if (isOn(url.get(name))) {
      throw new EngineError(48, 'NOT_IMPLEMENTED', `Parameter ${name}=1 is not supported; use gzip instead`);
    }
  }
  const settings = new Map<string, string>();
  const params = new Map<string, string>();
  for (const [name, value] of url) {
    if (name.startsWith('param_')) params.set(name.slice('param_'.length), value);
    else if (!notSettings.has(name)) settings.set(name, value);
  }
  const defaultFormat =
    url.get('default_format') || headerOf(headers, 'x-clickhouse-format') || 'TabSeparated';
  checkFormat(defaultFormat);
  const database = url.get('database') || headerOf(headers, 'x-clickhouse-database') || undefined;
  if (database === 'system') {
    throw new EngineError(
      497,
      'ACCESS_DENIED',
      'system cannot be the current database: use another one, and write its tables with the prefix system.',
    );
  }
  return {
    query: url.get('query') ?? '',
    defaultFormat,
    scope: {
      role,
      database,
      settings,
      params,
      readonly: method === 'GET' || method === 'HEAD',
      queryId: checkedQueryId(url.get('query_id') ?? headerOf(headers, 'x-clickhouse-query-id')),
    },
    waitEndOfQuery: isOn(url.get('wait_end_of_query')) || isOn(url.get('http_wait_end_of_query')),
    allowCompression: isOn(url.get('enable_http_compression')),
  };
}

/** The value of a header that occurs once. */
export function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function isOn(value: string | null): boolean {
  return value === '1' || value === 'true';
}

/** It is sent back as a header, so it may hold only what a header may. */
function checkedQueryId(id: string | undefined): string {
  if (id === undefined || id === '') return randomUUID();
  if (/^[\x20-\x7e]{1,256}$/.test(id)) return id;
  throw new EngineError(36, 'BAD_ARGUMENTS', 'query_id must be up to 256 printable ASCII characters');
}

/** Where the header of a piece ends. */
type HeaderEnd = (piece: Buffer) => number;

const kinds: ReadonlyArray<readonly [format: RegExp, end: HeaderEnd]> = [
  [/^(TSV|TabSeparated|JSONCompact(Strings)?EachRow)WithNames$/i, (piece) => endOfLines(piece, 1)],
  [/^(TSV|TabSeparated|JSONCompact(Strings)?EachRow)WithNamesAndTypes$/i, (piece) => endOfLines(piece, 2)],
  [/^CSVWithNames$/i, (piece) => endOfRecords(piece, 1)],
  [/^CSVWithNamesAndTypes$/i, (piece) => endOfRecords(piece, 2)],
  [/^RowBinaryWithNames$/i, (piece) => endOfStrings(piece, 1)],
  [/^RowBinaryWithNamesAndTypes$/i, (piece) => endOfStrings(piece, 2)],
];

/** Whether the pieces of a format have a header that {@link withOneHeader} can take away. */
export function hasHeader(format: string): boolean {
  return kinds.some(([pattern]) => pattern.test(format));
}

/**
 * The pieces of a result, of which the first alone has a header.
 * @throws EngineError 49 when the engine writes something else
 */
export async function* withOneHeader(
  chunks: AsyncGenerator<StreamChunk, void, undefined>,
  format: string,
): AsyncGenerator<StreamChunk, void, undefined> {
  const endOf = kinds.find(([pattern]) => pattern.test(format))?.[1];
  let header: Buffer | undefined;
  for await (const chunk of chunks) {
    const piece = Buffer.from(chunk.bytes.buffer, chunk.bytes.byteOffset, chunk.bytes.byteLength);
    if (endOf === undefined) {
      yield chunk;
    } else if (header === undefined) {
      header = Buffer.from(piece.subarray(0, endOf(piece)));
      yield chunk;
    } else if (piece.subarray(0, header.length).equals(header)) {
      yield { ...chunk, bytes: piece.subarray(header.length) };
    } else {
      throw new EngineError(
        49,
        'LOGICAL_ERROR',
        `A piece of a result in ${format} does not begin like the first`,
      );
    }
  }
}

const newline = 0x0a;
const quote = 0x22;

/** These formats have no line break within a name. */
function endOfLines(piece: Buffer, lines: number): number {
  let end = 0;
  for (let line = 0; line < lines; line += 1) end = piece.indexOf(newline, end) + 1;
  return end;
}

/** A name is in quotes, with its own quotes doubled, and may have line breaks within them (RFC 4180). */
function endOfRecords(piece: Buffer, records: number): number {
  let left = records;
  let isQuoted = false;
  for (let at = 0; at < piece.length; at += 1) {
    if (piece[at] === quote) isQuoted = !isQuoted;
    if (piece[at] === newline && !isQuoted) left -= 1;
    if (left === 0) return at + 1;
  }
  return piece.length;
}

/** The number of columns, and a string for each name, and one for each type: numbers are LEB128. */
function endOfStrings(piece: Buffer, perColumn: number): number {
  let at = 0;
  const readNumber = () => {
    let value = 0;
    for (let factor = 1; at < piece.length; factor *= 128) {
      const byte = piece[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    return value;
  };
  const count = readNumber() * perColumn;
  for (let index = 0; index < count; index += 1) {
    const length = readNumber();
    at += length;
  }
  return at;
}
