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
  return new HttpClickHouse(options);
}

class HttpClickHouse implements ClickHouse {
  readonly url: URL;
  readonly #options: ClickHouseOptions;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #pool: Pool;

  constructor(options: ClickHouseOptions) {
    const { url, user, password, timeoutMs } = options;
    this.url = url;
    this.#options = options;
    this.#headers = {
      'x-clickhouse-user': user,
      ...(password === '' ? {} : { 'x-clickhouse-key': password }),
    };
    this.#pool = new Pool(url.origin, {
      connections: options.connections ?? 16,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      // Below the 10 s after which ClickHouse closes an idle connection, so that no request meets a closing one.
      keepAliveTimeout: 2_500,
    });
  }

  async query<T>(sql: string, statement?: StatementOptions): Promise<T[]> {
    // The answer is complete before its status: an exception in mid-result cannot pass for a short result.
    const path = this.#pathOf({ default_format: 'JSONEachRow', wait_end_of_query: '1' }, statement);
    const text = await this.#send(path, sql, statement?.signal);
    try {
      const lines = text === '' ? [] : text.trimEnd().split('\n');
      return lines.map((line) => JSON.parse(line) as T);
    } catch (error) {
      const message = `${this.url.origin} does not answer like ClickHouse: ${text.slice(0, 200)}`;
      throw new ClickHouseUnavailableError(message, { cause: error });
    }
  }

  async stream(sql: string, format: string, statement?: StatementOptions): Promise<ResultStream> {
    const path = this.#pathOf({ default_format: format }, statement);
    return await this.#ask(this.#request(path, sql, statement?.signal), ({ body, headers }) => {
      return { body, exceptionTag: String(headers['x-clickhouse-exception-tag'] ?? '') };
    });
  }

  async execute(sql: string, statement?: StatementOptions): Promise<void> {
    await this.#send(this.#pathOf({ wait_end_of_query: '1' }, statement), sql, statement?.signal);
  }

  async insert(sql: string, body: Uint8Array, statement?: StatementOptions): Promise<void> {
    await this.#send(this.#pathOf({ query: sql }, statement), body, statement?.signal).catch((error) => {
      throw error instanceof ClickHouseError ? withoutData(error) : error;
    });
  }

  async ping(): Promise<void> {
    await this.#send('/ping', null);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  #request(
    path: string,
    body: string | Uint8Array | null,
    signal?: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const method = body === null ? 'GET' : 'POST';
    const request = { path, method, headers: this.#headers, body } satisfies Dispatcher.RequestOptions;
    return this.#pool.request(signal === undefined ? request : { ...request, signal });
  }

  /** Gives what `read` makes of a response that is no exception. */
  async #ask<T>(
    response: Promise<Dispatcher.ResponseData>,
    read: (response: Dispatcher.ResponseData) => T | Promise<T>,
  ): Promise<T> {
    try {
      const answer = await response;
      const code = Number(answer.headers['x-clickhouse-exception-code'] ?? 0);
      if (answer.statusCode === 200 && code === 0) return await read(answer);
      const text = await answer.body.text();
      const message = text.trim().slice(0, 4_000) || `HTTP status ${answer.statusCode}`;
      throw new ClickHouseError(code, message, message, this.#options.loginHint);
    } catch (error) {
      if (error instanceof ClickHouseError) throw error;
      const message = `no answer from ClickHouse at ${this.url.origin}: ${messageOf(error)}`;
      throw new ClickHouseUnavailableError(message, { cause: error });
    }
  }

  async #send(path: string, body: string | Uint8Array | null, signal?: AbortSignal): Promise<string> {
    return await this.#ask(this.#request(path, body, signal), (response) => response.body.text());
  }

  #pathOf(extra: Readonly<Record<string, string>>, statement: StatementOptions = {}): string {
    const { database } = this.#options;
    const search = new URLSearchParams(extra);
    if (database !== '') search.set('database', database);
    for (const [name, value] of Object.entries(statement.params ?? {})) {
      search.set(`param_${name}`, escapeParameter(value));
    }
    for (const [name, value] of Object.entries(statement.settings ?? {})) search.set(name, String(value));
    return `/?${search}`;
  }
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
