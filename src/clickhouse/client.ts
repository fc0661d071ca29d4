/** A client for ClickHouse's HTTP interface: what the streamer, `check` and `tail` need of it, on undici. */
import { type Dispatcher, Pool } from 'undici';
import { messageOf } from '../errors.ts';
import { ClickHouseError, ClickHouseUnavailableError, summarise } from './errors.ts';

/** Where ClickHouse is and who asks. */
export interface ClickHouseOptions {
  readonly url: URL;
  /** Default database of every statement; empty: ClickHouse's own default. */
  readonly database: string;
  readonly user: string;
  readonly password: string;
  /** For a person, when ClickHouse does not let the user in: where the password came from, and what to do. */
  readonly loginHint?: string;
  /** Longest time for one answer, milliseconds. */
  readonly timeoutMs: number;
  /** Most connections; more requests wait. Default 16. */
  readonly connections?: number;
}

/** What accompanies a statement. */
export interface StatementOptions {
  /** Values of `{name:Type}` in the statement. */
  readonly params?: Readonly<Record<string, string | number>>;
  /** ClickHouse settings of this statement. */
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly signal?: AbortSignal;
}

/** A result that is not complete yet, and that an exception may end: src/sql/read-result.ts reads it. */
export interface ResultStream {
  readonly body: AsyncIterable<Uint8Array>;
  /** What tells an exception in the body from data; empty when ClickHouse only cuts the connection. */
  readonly exceptionTag: string;
}

/** A ClickHouse server. Every method may throw {@link ClickHouseError} or {@link ClickHouseUnavailableError}. */
export interface ClickHouse {
  readonly url: URL;
  /** Runs a statement and gives its rows. */
  query<T>(sql: string, options?: StatementOptions): Promise<T[]>;
  /** Runs a statement and gives its result while it comes, in `format` unless the statement names one. */
  stream(sql: string, format: string, options?: StatementOptions): Promise<ResultStream>;
  /** Runs a statement without a result. */
  execute(sql: string, options?: StatementOptions): Promise<void>;
  /** Inserts `body`, the data that belongs to the statement `INSERT INTO ... FORMAT ...`. */
  insert(sql: string, body: Uint8Array, options?: StatementOptions): Promise<void>;
  /** Whether the server answers. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Makes a client; it connects on the first statement. */
export function createClickHouse(options: ClickHouseOptions): ClickHouse {
  const { url, timeoutMs } = options;
  const pool = new Pool(url.origin, {
    connections: options.connections ?? 16,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    // Below the 10 s after which ClickHouse closes an idle connection, so that no request meets a closing one.
    keepAliveTimeout: 2_500,
  });
  const headers = {
    'x-clickhouse-user': options.user,
    ...(options.password === '' ? {} : { 'x-clickhouse-key': options.password }),
  };

  async function request(
    path: string,
    body: string | Uint8Array | null,
    signal?: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const options: Dispatcher.RequestOptions = {
      path,
      method: body === null ? 'GET' : 'POST',
      headers,
      body,
    };
    return await pool.request(signal === undefined ? options : { ...options, signal });
  }

  /** Gives what `read` makes of a response that is no exception. */
  async function ask<T>(
    response: Promise<Dispatcher.ResponseData>,
    read: (response: Dispatcher.ResponseData) => T | Promise<T>,
  ): Promise<T> {
    try {
      const answer = await response;
      const code = Number(answer.headers['x-clickhouse-exception-code'] ?? 0);
      if (answer.statusCode === 200 && code === 0) return await read(answer);
      const text = await answer.body.text();
      const message = text.trim().slice(0, 4_000) || `HTTP status ${answer.statusCode}`;
      throw new ClickHouseError(code, message, message, options.loginHint);
    } catch (error) {
      if (error instanceof ClickHouseError) throw error;
      throw new ClickHouseUnavailableError(
        `no answer from ClickHouse at ${url.origin}: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  async function send(path: string, body: string | Uint8Array | null, signal?: AbortSignal): Promise<string> {
    return await ask(request(path, body, signal), (response) => response.body.text());
  }

  function pathOf(extra: Readonly<Record<string, string>>, statement: StatementOptions = {}): string {
    const search = new URLSearchParams(extra);
    if (options.database !== '') search.set('database', options.database);
    for (const [name, value] of Object.entries(statement.params ?? {})) {
      search.set(`param_${name}`, escapeParameter(value));
    }
    for (const [name, value] of Object.entries(statement.settings ?? {})) search.set(name, String(value));
    return `/?${search}`;
  }

  return {
    url,
    async query<T>(sql: string, statement?: StatementOptions): Promise<T[]> {
      // The answer is complete before its status: an exception in mid-result cannot pass for a short result.
      const path = pathOf({ default_format: 'JSONEachRow', wait_end_of_query: '1' }, statement);
      const text = await send(path, sql, statement?.signal);
      try {
        const lines = text === '' ? [] : text.trimEnd().split('\n');
        return lines.map((line) => JSON.parse(line) as T);
      } catch (error) {
        const message = `${url.origin} does not answer like ClickHouse: ${text.slice(0, 200)}`;
        throw new ClickHouseUnavailableError(message, { cause: error });
      }
    },
    async stream(sql, format, statement) {
      const path = pathOf({ default_format: format }, statement);
      return await ask(request(path, sql, statement?.signal), ({ body, headers }) => {
        return { body, exceptionTag: String(headers['x-clickhouse-exception-tag'] ?? '') };
      });
    },
    async execute(sql, statement) {
      await send(pathOf({ wait_end_of_query: '1' }, statement), sql, statement?.signal);
    },
    async insert(sql, body, statement) {
      await send(pathOf({ query: sql }, statement), body, statement?.signal).catch((error) => {
        throw error instanceof ClickHouseError ? withoutData(error) : error;
      });
    },
    async ping() {
      await send('/ping', null);
    },
    async close() {
      await pool.close();
    },
  };
}

/** The error of an insert, whose words quote the data that was sent. */
function withoutData({ code, detail, loginHint }: ClickHouseError): ClickHouseError {
  return new ClickHouseError(code, summarise(code, detail), detail, loginHint);
}

/** Quotes a name for use in a statement. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

/** Quotes text for use in a statement. */
export function quoteText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** ClickHouse reads the value of a parameter as a field of TabSeparated. */
function escapeParameter(value: string | number): string {
  return String(value).replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
}
