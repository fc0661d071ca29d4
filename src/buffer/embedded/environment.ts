/**
 * The LMDB environment of one log, shared by everything in this process that uses it.
 *
 * Why an acknowledged record is on the disk. lmdb-js turns `overlappingSync` on by default: a commit is then
 * visible to other processes, and its promise may resolve, before it is flushed; after a power failure the
 * next record would get an offset that a reader has already delivered. It is off here, and then a commit is
 * LMDB's own: `mdb_txn_commit` in mdb.c writes the pages, calls fdatasync, writes the root through a
 * descriptor opened with O_DSYNC, and only then makes the transaction visible and lets the promise resolve.
 * `strace -f -e fdatasync,pwrite64,pwritev,write` around `await transaction(put)` of lmdb 3.5.6 shows, on a
 * thread of the pool and never on the event loop's:
 *
 *     pwritev(19, …)                    pages
 *     fdatasync(19) = 0
 *     pwrite64(20, …, 128, 4136) = 128  root; 20 is data.mdb opened O_WRONLY|O_DSYNC
 *     write(2, "resolved 0\n")          the promise resolved
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { exitCodes, messageOf, OperatorError } from '../../errors.ts';
import { BufferUnavailableError, OutcomeUnknownError } from '../buffer.ts';
import { allocateLockFile, LastTransaction } from './lock-file.ts';

/** How long a transaction may take before whoever waits for it is told; its outcome is unknown then. */
const transactionTimeoutMs = 15_000;
/** Each process that reads holds one slot: 256 collectors, a streamer, tools. The lock file grows by 64 bytes each. */
const maxReaders = 1022;

/** Of the files; lmdb-js takes it, but its types lack it. Events are for nobody but the user who stores them. */
const fileMode = { permissionsMode: 0o600 };

/** Directory of the log of a topic below the directory of all logs. */
export function logPath(dir: string, topic: string): string {
  // A dot stays out: lmdb-js takes a name with one for a file, and `..` would leave the directory.
  return join(dir, encodeURIComponent(topic).replaceAll('.', '%2E'));
}

/** Whether somebody has created an environment at `path`. */
export function existsEnvironment(path: string): boolean {
  return existsSync(join(path, 'data.mdb'));
}

const shared = new Map<string, Environment>();
const closing = new Map<string, Promise<void>>();

/** An open LMDB environment with the databases of a log. */
export class Environment {
  readonly path: string;
  /** Blocks of records by their binary key. */
  readonly blocks: Database<Buffer, Uint8Array>;
  /** State of each partition, and of the whole log: small, fixed, binary. */
  readonly states: Database<Buffer, number | string>;
  /** What changes rarely: identity, generations, commits, retention. JSON. */
  readonly meta: Database<unknown, (string | number)[]>;
  readonly #root: RootDatabase;
  readonly #lastTransaction: LastTransaction;
  #users = 0;
  #stuckWrites = 0;

  private constructor(path: string, mapSize: number) {
    this.path = path;
    this.#root = open({
      path,
      noSubdir: false,
      ...fileMode,
      overlappingSync: false,
      mapSize,
      maxReaders,
      maxDbs: 4,
      // With it, lmdb-js makes a second promise for each transaction that nobody can get hold of, and a failed
      // commit ends the process as an unhandled rejection.
      eventTurnBatching: false,
      // The thread that commits waits for our part of the transaction. Without this it looks every few microseconds
      // whether that is done, about eight times for each commit.
      strictAsyncOrder: true,
    });
    this.#lastTransaction = new LastTransaction(path);
    // Opening itself may just have set it back.
    this.#root.transactionSync(() => this.#restoreLastTransaction());
    this.blocks = this.#root.openDB('blocks', { encoding: 'binary', keyEncoding: 'binary' });
    this.states = this.#root.openDB('states', { encoding: 'binary' });
    this.meta = this.#root.openDB('meta', { encoding: 'json' });
  }

  /**
   * Opens or creates the environment at `path`, or shares the one that this process has open already: two in
   * one process would deadlock, since opening takes the write lock on the event loop, and a transaction of
   * the other may hold it while it waits for the event loop.
   * @param mapSize bytes of address space; 0 takes what the file says
   * @throws OperatorError when it cannot be opened
   */
  static async acquire(path: string, mapSize: number): Promise<Environment> {
    while (closing.has(path)) await closing.get(path);
    let environment = shared.get(path);
    if (environment === undefined) {
      environment = openOrExplain(path, () => new Environment(path, mapSize));
      shared.set(path, environment);
    }
    environment.#users++;
    return environment;
  }

  /** Ends one use; the last one closes the environment, after the transactions under way. */
  async release(): Promise<void> {
    if (--this.#users > 0) return;
    // Closing waits for all transactions, and these may never end: it stays open, for whoever acquires it next, until
    // they do or the process ends.
    if (!this.isStuck) await this.#close();
  }

  async #close(): Promise<void> {
    shared.delete(this.path);
    const closed = this.#root.close().then(() => this.#lastTransaction.close());
    closing.set(this.path, closed);
    try {
      await closed;
    } finally {
      closing.delete(this.path);
    }
  }

  /** Whether a transaction has passed its time and has not ended yet. */
  get isStuck(): boolean {
    return this.#stuckWrites > 0;
  }

  /**
   * Runs `work` in a write transaction, alone among all processes, and resolves when its writes are durable.
   * Calls that arrive while a transaction is under way share the next one and its flush. `work` must be
   * synchronous and short, and decide to throw before its first write: what it wrote is committed regardless.
   * @throws BufferUnavailableError when the commit failed: nothing was stored
   * @throws OutcomeUnknownError when it takes too long
   */
  async write<T>(work: () => T): Promise<T> {
    let timedOut = false;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        timedOut = true;
        this.#stuckWrites++;
        reject(new OutcomeUnknownError(stuckMessage(this.path)));
      }, transactionTimeoutMs);
    });
    const attempt = this.#transact(() => {
      if (timedOut) throw new BufferUnavailableError(stuckMessage(this.path));
      return work();
    });
    const onEnd = () => {
      if (!timedOut) return;
      this.#stuckWrites--;
      if (!this.isStuck && this.#users === 0) void this.#close();
    };
    attempt.then(onEnd, onEnd);
    try {
      return await Promise.race([attempt, timeout]);
    } catch (error) {
      throw await explainCommit(error, this.path);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A transaction that starts from the newest state; one that does not is left empty, and tried again. */
  async #transact<T>(work: () => T): Promise<T> {
    for (;;) {
      const done = await this.#root.transaction(() => {
        return this.#restoreLastTransaction() ? undefined : { result: work() };
      });
      if (done !== undefined) return done.result;
    }
  }

  /** Within a write transaction: whether it starts from an older state than it should. The next one does not. */
  #restoreLastTransaction(): boolean {
    const { lastTxnId } = this.#root.getStats() as { readonly lastTxnId: number };
    if (this.#root.getWriteTxnId() > lastTxnId) return false;
    this.#lastTransaction.restore(lastTxnId);
    return true;
  }

  /**
   * Makes the reads that follow, until the next turn of the event loop, see the newest commit of any process.
   * lmdb-js otherwise goes on with the snapshot that a read in the same turn took.
   */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /** Frees the reader slots of processes that are gone, whose snapshots would keep pages from being reused. */
  releaseDeadReaders(): number {
    return this.#root.readerCheck();
  }
}

function openOrExplain(path: string, create: () => Environment): Environment {
  try {
    const isNew = !existsEnvironment(path);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    allocateLockFile(path);
    const environment = create();
    if (isNew) for (const dir of [path, dirname(path), dirname(dirname(path))]) syncDirectory(dir);
    return environment;
  } catch (error) {
    throw new OperatorError(
      `Cannot open the embedded log in ${path}: ${messageOf(error)}. Check that the directory can be written, has space, and is on a local disk (--data-dir).`,
      exitCodes.unavailable,
      { cause: error },
    );
  }
}

/** Flushing a new file does not flush its name: without this a power failure could take the whole log away. */
function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** Turns "Commit failed" of lmdb-js into the reason behind it; leaves alone what `work` threw. */
async function explainCommit(error: unknown, path: string): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  const settled = Promise.resolve(error.commitError).then(
    () => error,
    (reason: unknown) => reason,
  );
  const unknownReason = new Promise((resolve) => setTimeout(resolve, 1_000, error).unref());
  const reason = await Promise.race([settled, unknownReason]);
  return new BufferUnavailableError(
    `The embedded log in ${path} could not be written: ${messageOf(reason)}. Nothing was stored. Free or add disk space there, or check the disk; writing is retried automatically.`,
    { cause: reason },
  );
}

function stuckMessage(path: string): string {
  return `The embedded log in ${path} did not finish a write in ${transactionTimeoutMs / 1000} s. The disk is stuck, or another process that uses the log is paused while it holds the lock: look for a stopped millrace process, and restart this one if writes do not resume.`;
}
