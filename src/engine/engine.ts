/** The engine itself: one data directory, one connection for each request. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import {
  type Connection,
  type EngineBinding,
  loadBinding,
  type ReadOutcome,
  type StreamChunk,
  type WriteOutcome,
} from './binding.ts';
import { writeConfig } from './config.ts';
import { toEngineError } from './error.ts';
import { type CallKind, Gate } from './gate.ts';
import { type Scope, scopeStatements } from './scope.ts';

/** Calls that wait for the engine at most; `max_concurrent_queries` of a ClickHouse server is 100 as well. */
const maxWaiting = 100;

/** ClickHouse in this process. */
export class Engine {
  readonly #binding: EngineBinding;
  readonly #path: string;
  /** Keeps the engine open: it closes with its last connection. */
  readonly #root: Connection;
  readonly #gate: Gate;
  readonly #inFlight = new Set<Promise<unknown>>();

  private constructor(binding: EngineBinding, path: string, root: Connection) {
    this.#binding = binding;
    this.#path = path;
    this.#root = root;
    // One thread of libuv's pool stays free for files and compression.
    const threads = Number(process.env.UV_THREADPOOL_SIZE) || 4;
    const slots = Math.max(1, threads - 1);
    this.#gate = new Gate({ slots, readSlots: Math.max(1, slots - 1), queue: maxWaiting });
  }

  /**
   * Opens `<dataDir>/clickhouse`, creating it when there is none.
   * @throws OperatorError when the directory cannot be used, or the engine is not installed
   */
  static async open(dataDir: string): Promise<Engine> {
    const binding = loadBinding();
    const path = join(resolve(dataDir), 'clickhouse');
    let configFile: string;
    try {
      await mkdir(path, { recursive: true, mode: 0o750 });
      configFile = await writeConfig(resolve(dataDir));
    } catch (cause) {
      throw new OperatorError(
        `cannot write the data directory ${path}: ${messageOf(cause)}`,
        exitCodes.unavailable,
        { cause },
      );
    }
    try {
      const root = binding.CreateConnection(path, [`--config-file=${configFile}`]);
      return new Engine(binding, path, root);
    } catch (cause) {
      throw new OperatorError(
        `cannot open the data directory ${path}: another process uses it, or it is damaged ` +
          `(${messageOf(cause)}). One process owns a data directory: stop the other one, or set --data-dir.`,
        exitCodes.unavailable,
        { cause },
      );
    }
  }

  /** Runs a statement and returns its whole result. */
  async read(sql: string, format: string, scope: Scope): Promise<ReadOutcome> {
    return this.#call('read', scope, (connection) =>
      this.#binding.QueryAsyncConnection(connection, sql, format),
    );
  }

  /** Runs an INSERT that carries no data of its own and returns what it wrote. */
  async write(sql: string, scope: Scope): Promise<WriteOutcome> {
    return this.#call('write', scope, (connection) =>
      this.#binding.InsertRawAsyncConnection(connection, sql, Buffer.alloc(0), false),
    );
  }

  /**
   * Runs a SELECT and yields its result in pieces. Only for formats without header and footer: the engine
   * writes them around every piece. Leaving the loop cancels the query.
   */
  async *stream(sql: string, format: string, scope: Scope): AsyncGenerator<StreamChunk, void, undefined> {
    const connection = this.#connect();
    let finish = () => {};
    this.#track(new Promise<void>((resolve) => (finish = resolve)));
    try {
      const stream = await this.#gate.run('read', async () => {
        await this.#enter(connection, scope);
        return this.#binding.StreamQuery(connection, sql, format);
      });
      try {
        for (;;) {
          const chunk = await this.#gate.run('read', () => this.#binding.StreamFetch(stream));
          if (chunk.done) break;
          yield chunk;
        }
      } finally {
        this.#binding.StreamCancel(stream);
      }
    } catch (thrown) {
      throw toEngineError(thrown);
    } finally {
      this.#binding.CloseConnection(connection);
      finish();
    }
  }

  /** Waits for the calls in flight, then closes the data directory. */
  async close(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.allSettled([...this.#inFlight]);
    this.#binding.CloseConnection(this.#root);
  }

  /**
   * Every call gets a connection of its own (half a millisecond), so that no setting, database, parameter or
   * temporary table of one request can be seen by another.
   */
  async #call<T>(kind: CallKind, scope: Scope, use: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#track(
      this.#gate.run(kind, async () => {
        const connection = this.#connect();
        try {
          await this.#enter(connection, scope);
          return await use(connection);
        } catch (thrown) {
          throw toEngineError(thrown);
        } finally {
          // Nothing runs on it any more: closing it under a running query would end the engine.
          this.#binding.CloseConnection(connection);
        }
      }),
    );
  }

  #connect(): Connection {
    return this.#binding.CreateConnection(this.#path, []);
  }

  async #enter(connection: Connection, scope: Scope): Promise<void> {
    const statements = scopeStatements(scope);
    if (statements !== '') await this.#binding.QueryAsyncConnection(connection, statements, 'Null');
  }

  #track<T>(call: Promise<T>): Promise<T> {
    this.#inFlight.add(call);
    const forget = () => this.#inFlight.delete(call);
    call.then(forget, forget);
    return call;
  }
}
