/** Reads what a request asks for from its URL and headers, as ClickHouse's HTTP interface does. */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
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
      'Name tables of system as system.table, from another database',
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
