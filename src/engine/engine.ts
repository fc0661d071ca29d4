/** The engine itself: one data directory, one connection for each request. */
import { isUtf8 } from 'node:buffer';
import type { Logger } from 'pino';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import type { EngineFiles } from './access.ts';
import {
  type Connection,
  type EngineBinding,
  loadBinding,
  type ReadOutcome,
  type StreamChunk,
  type WriteOutcome,
} from './binding.ts';
import { EngineError, toEngineError } from './error.ts';
import type { Role } from './policy.ts';
import { Gate, hasTag, type Lane, type Patience, Reaper, tagOf, type Watch } from './running.ts';
import { ownScope, quoteLiteral, type Scope, scopeStatements } from './scope.ts';
import { maxStreams, type OpenStream, Streams } from './streams.ts';
import { type FunctionRow, Vocabulary } from './vocabulary.ts';

/** Calls that wait for the engine at most; `max_concurrent_queries` of a ClickHouse server is 100 as well. */
const maxWaiting = 100;
/** Longest wait for a turn, milliseconds. */
const maxWaitMs = 30_000;

/** Streams at once, and of these for readers. */
const maxReaderStreams = maxStreams - 8;

/** Statements whose canonical text is remembered, and the longest of them: inserts repeat theirs for ever. */
const maxRemembered = 256;
const maxRememberedLength = 8 * 1024;

/** How a statement is run. */
export interface Ask extends Watch {
  /** By what it waits for its turn; without it a read of whoever asks. */
  readonly lane?: Lane;
}

/** ClickHouse in this process. */
export class Engine {
  readonly #binding: EngineBinding;
  readonly #path: string;
  /** Keeps the engine open: it closes with its last connection. */
  readonly #root: Connection;
  readonly #gate: Gate;
  /** Parsing waits for nobody but other parsing: an insert must not wait for readers before it is known as one. */
  readonly #parsers: Gate;
  readonly #streams: Streams;
  /** Streams at once: clients that take their time must not keep the owner's own reads waiting. */
  readonly #streamSlots: Gate;
  readonly #reaper: Reaper;
  #count = 0;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #canonical = new Map<string, string>();

  private constructor(binding: EngineBinding, path: string, root: Connection, log: Logger) {
    this.#binding = binding;
    this.#path = path;
    this.#root = root;
    this.#streams = new Streams(path);
    // Of libuv's pool one thread stays free for files and compression, one for what ends queries, and two for parsing,
    // one of them for the owner.
    const threads = Number(process.env.UV_THREADPOOL_SIZE) || 4;
    const slots = (fewer: number) => Math.max(1, threads - 4 - fewer);
    this.#gate = new Gate({
      slots: { reader: slots(4), read: slots(3), change: slots(2), write: slots(1), control: slots(0) },
      queue: maxWaiting,
    });
    const streams = { read: maxStreams, change: maxStreams, write: maxStreams, control: maxStreams };
    this.#streamSlots = new Gate({ slots: { reader: maxReaderStreams, ...streams }, queue: maxWaiting });
    const parsers = { read: 2, change: 2, write: 2, control: 2 };
    this.#parsers = new Gate({ slots: { reader: 1, ...parsers }, queue: maxWaiting });
    this.#reaper = new Reaper(async (tags) => {
      await this.#cancel(hasTag(tags)).catch((error) =>
        log.error({ error }, 'a query could not be cancelled'),
      );
    });
  }

  /**
   * Opens the data in `files`, creating it when there is none.
   * @throws OperatorError when the directory cannot be used, or the engine is not installed
   */
  static open(files: EngineFiles, log: Logger): Engine {
    const binding = loadBinding();
    try {
      const root = binding.CreateConnection(files.data, [`--config-file=${files.config}`]);
      return new Engine(binding, files.data, root, log);
    } catch (cause) {
      throw new OperatorError(
        `cannot open the data directory ${files.data}: another process uses it, or it is damaged ` +
          `(${messageOf(cause)}). One process owns a data directory: stop the other one, or set --data-dir.`,
        exitCodes.unavailable,
        { cause },
      );
    }
  }

  /** Runs a statement and returns its whole result. */
  async read(sql: string, format: string, scope: Scope, ask: Ask = {}): Promise<ReadOutcome> {
    return this.#call(scope, ask, (connection) =>
      this.#binding.QueryAsyncConnection(connection, sql, format),
    );
  }

  /** Runs an INSERT that carries no data of its own and returns what it wrote. */
  async write(sql: string, scope: Scope, ask: Ask = {}): Promise<WriteOutcome> {
    return this.#call(scope, { lane: 'write', ...ask }, (connection) =>
      this.#binding.InsertRawAsyncConnection(connection, sql, Buffer.alloc(0), false),
    );
  }

  /**
   * Runs a SELECT and yields its result in pieces. Not for formats with a footer: the engine writes header and footer
   * around every piece. Leaving the loop cancels the query.
   */
  async *stream(
    sql: string,
    format: string,
    scope: Scope,
    ask: Ask = {},
  ): AsyncGenerator<StreamChunk, void, undefined> {
    const { signal } = ask;
    const lane = laneOf(scope, ask);
    let finish = () => {};
    this.#track(new Promise<void>((resolve) => (finish = resolve)));
    const patience = { signal, waitMs: maxWaitMs };
    let release = () => {};
    let stream: OpenStream | undefined;
    try {
      release = await takeSlot(this.#streamSlots, lane, patience);
      const tag = this.#nextTag(scope);
      const watched = this.#reaper.watch(tag, ask);
      try {
        const query = { scope: scopeStatements(scope, tag), sql, format };
        const opened = await this.#streams.open(query, (open) => this.#gate.run(lane, open, patience));
        stream = opened;
        for (;;) {
          const chunk = await this.#gate.run(lane, () => opened.fetch(), { signal });
          if (chunk.done) break;
          yield chunk;
        }
      } catch (thrown) {
        throw watched.explain(living(toEngineError(thrown)));
      } finally {
        await stream?.close();
        watched.end();
      }
    } finally {
      release();
      finish();
    }
  }

  /**
   * The statement as the engine's parser understands it, on one line: a text that the parser, asked again, writes as it
   * is. Once is not enough. Some names are written without the quotes that they need, so that what was one name within
   * two kinds of quotes (`APPLY("`file`")`) is another one, or several words, in the text that would run.
   * @param role who asks: what readers send may take long, and must not keep the owner's inserts waiting
   * @throws EngineError for what the parser does not take, as a whole, alone
   */
  async parse(sql: string, role: Role): Promise<string> {
    const known = this.#canonical.get(sql);
    if (known !== undefined) return known;
    const query = `WITH ${format}(${format}(${quoteLiteral(sql)})) AS text SELECT if(${format}(text) = text, text, '') SETTINGS ${parserSettings}`;
    const canonical = await this.#parsers
      .run(role === 'reader' ? 'reader' : 'write', () =>
        this.#once(scopeStatements(ownScope), (on) =>
          this.#binding.QueryAsyncConnection(on, query, 'RawBLOB'),
        ),
      )
      .then(({ bytes }) => textOf(Buffer.from(bytes)))
      .catch((thrown) => {
        throw withoutWrapping(living(toEngineError(thrown)));
      });
    if (canonical === '')
      throw new EngineError(62, 'SYNTAX_ERROR', 'Syntax error: this statement can be read in two ways');
    if (sql.length <= maxRememberedLength) {
      if (this.#canonical.size >= maxRemembered) {
        const [oldest = ''] = this.#canonical.keys();
        this.#canonical.delete(oldest);
      }
      this.#canonical.set(sql, canonical);
    }
    return canonical;
  }

  /** What the engine knows, less what statements must not use. */
  async readVocabulary(): Promise<Vocabulary> {
    const functions = await this.#rows<FunctionRow>(
      'SELECT name, is_aggregate, alias_to, case_insensitive, categories FROM system.functions',
    );
    const names = async (sql: string) => (await this.#rows<{ name: string }>(sql)).map(({ name }) => name);
    const settings = async (table: string) => {
      const rows = await this.#rows<{ name: string; type: string }>(`SELECT name, type FROM system.${table}`);
      return new Map(rows.map(({ name, type }) => [name, type]));
    };
    return new Vocabulary({
      functions,
      types: await names('SELECT name FROM system.data_type_families'),
      combinators: await names('SELECT name FROM system.aggregate_function_combinators'),
      settings: await settings('settings'),
      tableSettings: await settings('merge_tree_settings'),
      timezones: new Set(await names('SELECT time_zone AS name FROM system.time_zones')),
    });
  }

  async #rows<T>(sql: string): Promise<T[]> {
    const { bytes } = await this.read(sql, 'JSONEachRow', ownScope);
    const lines = Buffer.from(bytes).toString('utf8').trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as T);
  }

  /** Cancels every running query, for the end of the process. */
  async cancelAll(): Promise<void> {
    await this.#cancel("query NOT LIKE 'KILL %'");
  }

  async #cancel(condition: string): Promise<void> {
    await this.#track(
      this.#once(scopeStatements({ ...ownScope, readonly: false }), (on) =>
        this.#binding.QueryAsyncConnection(on, `KILL QUERY WHERE ${condition} ASYNC`, 'Null'),
      ),
    );
  }

  /** Waits for the calls in flight, then closes the data directory. */
  async close(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.allSettled([...this.#inFlight]);
    this.#binding.CloseConnection(this.#root);
  }

  async #call<T>(scope: Scope, ask: Ask, use: (connection: Connection) => Promise<T>): Promise<T> {
    const lane = laneOf(scope, ask);
    const run = async () => {
      const tag = this.#nextTag(scope);
      const watched = this.#reaper.watch(tag, ask);
      try {
        return await this.#once(scopeStatements(scope, tag), use);
      } catch (thrown) {
        throw watched.explain(living(toEngineError(thrown)));
      } finally {
        watched.end();
      }
    };
    return this.#track(this.#gate.run(lane, run, { signal: ask.signal, waitMs: maxWaitMs }));
  }

  #nextTag({ role, queryId }: Scope): string {
    this.#count += 1;
    return tagOf(role, this.#count, queryId);
  }

  /**
   * Every call gets a connection of its own (half a millisecond), so that no setting, database, parameter, role or
   * temporary table of one request can be seen by another.
   * @param statements those that put it into the scope of the request
   */
  async #once<T>(statements: string, use: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = this.#binding.CreateConnection(this.#path, []);
    try {
      if (statements !== '') await this.#binding.QueryAsyncConnection(connection, statements, 'Null');
      return await use(connection);
    } finally {
      // Nothing runs on it any more: closing it under a running query would end the engine.
      this.#binding.CloseConnection(connection);
    }
  }

  #track<T>(call: Promise<T>): Promise<T> {
    this.#inFlight.add(call);
    const forget = () => this.#inFlight.delete(call);
    call.then(forget, forget);
    return call;
  }
}

/** Longest text that is parsed, bytes; a statement of 16 MiB doubles when all of it must be escaped. */
const maxParsedBytes = 64 * 1024 ** 2;
/** Wrong turns of the parser, a fifth of what ClickHouse allows: a million of them take six seconds. */
const maxParserBacktracks = 200_000;
const parserSettings = `max_query_size = ${maxParsedBytes}, max_parser_backtracks = ${maxParserBacktracks}`;

/** A character of UTF-8 of several bytes, read as Latin-1 (RFC 3629), or a byte that belongs to none. */
const highBytes =
  /[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\x80-\xff]/g;

/** A canonical statement as text. It has any bytes in its literals, as of `'\\xff'`: those go back to escapes. */
function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  const escaped = bytes
    .toString('latin1')
    .replace(highBytes, (found) => (found.length > 1 ? found : `\\x${found.charCodeAt(0).toString(16)}`));
  return Buffer.from(escaped, 'latin1').toString('utf8');
}

/**
 * Ends the process when the engine in it is dead: after a fault of its own, as an overflow of the stack, it answers
 * nothing any more, does not end either, and only a new process helps. What was answered is on disk.
 */
function living(error: EngineError): EngineError {
  if (error.code === 236 && error.message.includes('due to a fatal error'))
    process.kill(process.pid, 'SIGKILL');
  return error;
}

function laneOf({ role }: Scope, { lane }: Ask): Lane {
  return lane ?? (role === 'reader' ? 'reader' : 'read');
}

/** Waits for a slot of a gate, and returns what gives it back. */
function takeSlot(gate: Gate, lane: Lane, patience: Patience): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = () => new Promise<void>((release) => resolve(release));
    gate.run(lane, hold, patience).catch(reject);
  });
}

const format = 'formatQuerySingleLine';

/** The parser's complaint, without the query that asked for it. */
function withoutWrapping(error: EngineError): EngineError {
  const message = error.message.replace(
    /: (In scope|while executing) [\s\S]*formatQuerySingleLine[\s\S]*$/i,
    '',
  );
  return new EngineError(error.code, error.type, message, error.status);
}
