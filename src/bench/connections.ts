/** The connections of a load run: kept ones in turn, or a fresh one for each request. */
import type { Answer } from './answer-parser.ts';
import {
  Connection,
  type ConnectionFailure,
  type ConnectionUser,
  type PlannedRequest,
} from './connection.ts';
import type { Endpoint } from './endpoint.ts';

/** Hears of requests. */
export interface RequestUser {
  /** A request was written. */
  written(): void;
  answered(connection: Connection, answer: Answer): void;
  /** A request, or nothing when the connection was idle, is lost. */
  failed(connection: Connection, failure: ConnectionFailure): void;
  /** A connection has become free. */
  freed(): void;
}

/** How to connect. */
interface ConnectionsOptions {
  readonly endpoint: Endpoint;
  /** Most connections at a time. */
  readonly max: number;
  /** Whether connections are used again. */
  readonly isKept: boolean;
  /** How long a connection may take to open, and an answer to come. */
  readonly timeoutMs: number;
}

/** Servers close idle connections, mostly after 5 seconds or later; a request that meets that moment is lost. */
const mostIdleMs = 4_000;
/** More at once than a server's backlog takes would wait for a second. */
const mostOpening = 128;
/** Requests open connections all the same. */
const pauseAfterFailureMs = 1_000;

/** Opens, lends and replaces connections. */
export class Connections implements ConnectionUser {
  readonly #options: ConnectionsOptions;
  readonly #user: RequestUser;
  readonly #all = new Set<Connection>();
  /** In turn: the one that was used longest ago is next, so that all of them are in use. May hold ended ones. */
  readonly #idle: Connection[] = [];
  #opening = 0;
  #noOpeningBeforeMs = 0;

  constructor(options: ConnectionsOptions, user: RequestUser) {
    this.#options = options;
    this.#user = user;
  }

  /** Connections that are open or being opened. */
  get size(): number {
    return this.#all.size;
  }

  /** Whether any connection is being opened. */
  get isOpening(): boolean {
    return this.#opening > 0;
  }

  /** Sends a request on an idle connection, or on a new one as soon as it is open; false when all are busy. */
  trySend(request: Buffer, planned: PlannedRequest): boolean {
    const connection = this.#take();
    if (connection === undefined) return false;
    connection.send(request, planned, performance.now());
    if (connection.isOpen) this.#user.written();
    return true;
  }

  /** Opens what is missing of kept connections, so that requests need not wait for that. */
  fill(): void {
    if (!this.#options.isKept || performance.now() < this.#noOpeningBeforeMs) return;
    while (this.size < this.#options.max && this.#opening < mostOpening) this.#create();
  }

  /** Ends what takes too long, and replaces what was idle for long. To be called several times a second. */
  tend(): void {
    const { timeoutMs } = this.#options;
    const nowMs = performance.now();
    for (const connection of this.#all) {
      const isWaiting = connection.isBusy || !connection.isOpen;
      if (isWaiting && nowMs - connection.sinceMs > timeoutMs)
        connection.fail(connection.isOpen ? 'timeout' : 'connect timeout');
    }
    for (let first = this.#idle[0]; first !== undefined; first = this.#idle[0]) {
      if (!first.isEnded && nowMs - first.sinceMs < mostIdleMs) break;
      this.#idle.shift();
      this.#end(first);
    }
    this.fill();
  }

  /** Ends all of them. */
  close(): void {
    for (const connection of this.#all) connection.close();
    this.#all.clear();
  }

  opened(connection: Connection): void {
    this.#opening--;
    if (connection.isBusy) {
      connection.sinceMs = performance.now();
      this.#user.written();
    } else this.#free(connection);
    if (this.#opening === 0) this.fill();
  }

  answered(connection: Connection, answer: Answer): void {
    if (answer.isLast || !this.#options.isKept) this.#end(connection);
    this.#user.answered(connection, answer);
    if (!connection.isEnded) this.#free(connection);
    else this.#user.freed();
  }

  failed(connection: Connection, failure: ConnectionFailure): void {
    this.#all.delete(connection);
    if (!connection.isOpen) this.#opening--;
    // Nobody is there, or somebody who ends what has only just begun.
    if (!connection.isOpen || !connection.isBusy)
      this.#noOpeningBeforeMs = performance.now() + pauseAfterFailureMs;
    this.#user.failed(connection, failure);
    this.#user.freed();
  }

  #take(): Connection | undefined {
    for (;;) {
      const connection = this.#idle.shift();
      if (connection === undefined) return this.size < this.#options.max ? this.#create() : undefined;
      if (!connection.isEnded) return connection;
    }
  }

  #create(): Connection {
    const connection = new Connection(this.#options.endpoint, this, performance.now());
    this.#all.add(connection);
    this.#opening++;
    return connection;
  }

  #free(connection: Connection): void {
    connection.sinceMs = performance.now();
    this.#idle.push(connection);
    this.#user.freed();
  }

  #end(connection: Connection): void {
    connection.close();
    this.#all.delete(connection);
  }
}
