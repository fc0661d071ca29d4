/** The native binding of chDB: ClickHouse as a library in this process. */
import { createRequire } from 'node:module';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

declare const handle: unique symbol;

/** A connection to the engine: the settings, database and temporary tables of one client. */
export type Connection = { readonly [handle]: 'connection' };

/** A result that is read chunk by chunk. */
export type StreamHandle = { readonly [handle]: 'stream' };

/** The result of a query that returns rows. Rows and bytes are those of the result. */
export interface ReadOutcome {
  readonly bytes: Uint8Array;
  /** Seconds. */
  readonly elapsed: number;
  readonly rowsRead: number;
  readonly bytesRead: number;
}

/** The result of a statement that writes. */
export interface WriteOutcome {
  /** Seconds. */
  readonly elapsed: number;
  readonly rowsWritten: number;
  readonly bytesWritten: number;
}

/** One piece of a streamed result. */
export interface StreamChunk {
  readonly bytes: Uint8Array;
  readonly numRows: number;
  readonly done: boolean;
}

/**
 * What chDB's addon exports, as far as it is used here. Queries run on libuv's thread pool.
 *
 * The addon is used rather than chDB's `Session`, since `Session` puts the bytes of an insert behind the
 * statement, where the engine reads them as the text of a script: a blank line ends the data, and what
 * follows it is executed. It also refuses quoted names, table functions and binary formats, runs queries
 * with parameters one at a time, and defers closing a connection until every query of the process is done.
 */
export interface EngineBinding {
  CreateConnection(path: string, args: readonly string[]): Connection;
  CloseConnection(connection: Connection): void;
  QueryAsyncConnection(connection: Connection, sql: string, format: string): Promise<ReadOutcome>;
  InsertRawAsyncConnection(
    connection: Connection,
    statement: string,
    data: Buffer,
    countLines: boolean,
  ): Promise<WriteOutcome>;
  StreamQuery(connection: Connection, sql: string, format: string): StreamHandle;
  StreamFetch(stream: StreamHandle): Promise<StreamChunk>;
  StreamCancel(stream: StreamHandle): void;
}

/**
 * Loads the engine.
 * @throws OperatorError when the optional dependency is missing or does not fit this platform
 */
export function loadBinding(): EngineBinding {
  try {
    const requireHere = createRequire(import.meta.url);
    const requireInChdb = createRequire(requireHere.resolve('chdb/package.json'));
    const loader = requireInChdb('./dist/loader.js') as { loadNative(): EngineBinding };
    return loader.loadNative();
  } catch (cause) {
    throw new OperatorError(
      `the embedded ClickHouse (npm package chdb) cannot be loaded: ${messageOf(cause).split('\n', 1)[0]}\n` +
        'Run `npm install` with optional dependencies (Linux x64 with glibc), or set --clickhouse-url ' +
        'to a ClickHouse server and --no-embedded-clickhouse.',
      exitCodes.unavailable,
      { cause },
    );
  }
}
