/**
 * One connection to one broker, made when it is first needed and again after it was lost.
 *
 * Stands between a broker's socket and the client, which believes whatever length an answer announces: it would keep
 * two gigabytes in memory, and end the process over a negative one.
 */
import type { Socket } from 'node:net';
import { type API, Connection, NetworkError, ResponseError, TimeoutError } from '@platformatic/kafka';
import { messageOf } from '../../errors.ts';

const connectTimeoutMs = 3000;

/** Where a broker listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** There was nobody to ask: no connection, no leader, no coordinator. Nothing was sent. */
export class NotConnectedError extends Error {
  override readonly name = 'NotConnectedError';
}

/**
 * Splits `host:port`; an IPv6 host may be in brackets.
 * @throws Error when there is no port
 */
export function parseAddress(text: string): Address {
  const separator = text.lastIndexOf(':');
  const port = Number(text.slice(separator + 1));
  if (separator < 1 || !Number.isInteger(port)) throw new Error(`${text} is not host:port`);
  return { host: text.slice(0, separator).replace(/^\[|\]$/g, ''), port };
}

/**
 * A link never repeats a request: whoever sent it knows whether that is safe. A broker works on the requests
 * of one connection in turn, and a long poll or a join blocks those behind it: use a link for each purpose.
 */
export class BrokerLink {
  readonly address: Address;
  readonly #clientId: string;
  readonly #requestTimeoutMs: number;
  readonly #maxAnswerBytes: number;
  readonly #onLost: (() => void) | undefined;
  /** What was wrong with the answers on a connection that was given up for them. */
  readonly #faults = new WeakMap<Connection, BrokerAnswerError>();
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  #isClosed = false;

  /**
   * `requestTimeoutMs`: longest wait for an answer; then the connection is given up.
   * `maxAnswerBytes`: a longer answer is not read; default {@link maxAnswerBytes}.
   * `onLost` is called when an established connection ends and was not closed here.
   */
  constructor(
    address: Address,
    options: {
      clientId: string;
      requestTimeoutMs: number;
      maxAnswerBytes?: number | undefined;
      onLost?: (() => void) | undefined;
    },
  ) {
    this.address = address;
    this.#clientId = options.clientId;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#maxAnswerBytes = options.maxAnswerBytes ?? maxAnswerBytes;
    this.#onLost = options.onLost;
  }

  /**
   * Sends one request, connecting first if need be.
   * @throws ResponseError when the broker answers with an error
   * @throws NotConnectedError when nothing could be sent
   * @throws NetworkError or TimeoutError when no answer came; the broker may have acted on the request all the same
   * @throws BrokerAnswerError when what came back is no answer; it may have acted, too. The connection is given up
   */
  async request<Args extends unknown[], Result>(api: API<Args, Result>, ...args: Args): Promise<Result> {
    const open = this.#connection;
    const connection = open?.isConnected() ? open : await this.#connect();
    try {
      return await api.async(connection, ...args);
    } catch (error) {
      // After a timeout the client would take the late answer for the start of the next one.
      if (error instanceof TimeoutError) this.#drop(connection);
      const fault = this.#faults.get(connection);
      if (fault !== undefined) throw fault;
      if (error instanceof ResponseError || error instanceof NetworkError || error instanceof TimeoutError) {
        throw error;
      }
      this.#drop(connection);
      const { host, port } = this.address;
      const message = `broker ${host}:${port} sent an answer that cannot be read: ${messageOf(error)}`;
      throw new BrokerAnswerError(message, { cause: error });
    }
  }

  /** Ends a connection; the next request makes another, also before this one has closed. */
  #drop(connection: Connection): void {
    if (this.#connection === connection) this.#connection = undefined;
    connection.socket.destroy();
  }

  /** Drops the connection; requests in flight reject. */
  close(): void {
    this.#isClosed = true;
    this.#connection?.socket?.destroy();
  }

  #connect(): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(new NotConnectedError('the link is closed'));
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #open(): Promise<Connection> {
    const connection = new Connection(this.#clientId, {
      connectTimeout: connectTimeoutMs,
      requestTimeout: this.#requestTimeoutMs,
      // Callers bound what is in flight; a second queue here would only hide it.
      maxInflights: 1024,
    });
    connection.on('error', () => {});
    this.#connection = connection;
    const { host, port } = this.address;
    try {
      // The client listens for data from `connect` on, which is emitted before any comes.
      connection.once('connect', () => {
        guardAnswers(connection.socket, {
          broker: `${host}:${port}`,
          maxBytes: this.#maxAnswerBytes,
          onFault: (fault) => this.#faults.set(connection, fault),
        });
      });
      await connection.connect(host, port);
    } catch (error) {
      throw new NotConnectedError(`no connection to ${host}:${port}`, { cause: error });
    }
    if (this.#isClosed) {
      connection.socket.destroy();
      throw new NotConnectedError('the link is closed');
    }
    connection.on('close', () => {
      if (this.#connection === connection) this.#connection = undefined;
      if (!this.#isClosed) this.#onLost?.();
    });
    return connection;
  }
}

/** Most bytes of an answer that carries no records. */
export const maxAnswerBytes = 16 * 1024 * 1024;
/**
 * Most bytes of an answer to a fetch. One batch comes whole, however few bytes were asked for, and Kafka takes none of
 * more than 100 MiB by default (`socket.request.max.bytes`).
 */
export const maxFetchAnswerBytes = 104 * 1024 * 1024;

/** The number of the request, which every answer begins with. */
const smallestAnswer = 4;

/** A broker answered what no broker answers. The connection is given up; trying again may find another broker. */
export class BrokerAnswerError extends Error {
  override readonly name = 'BrokerAnswerError';
}

/** Follows the lengths in front of the answers of one connection. */
export class AnswerLengths {
  readonly #maxBytes: number;
  readonly #head = Buffer.alloc(4);
  #headBytes = 0;
  /** Bytes of the current answer that are still to come. */
  #left = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes what comes next. @returns the first length that no answer may have, if there is one */
  findImpossible(chunk: Uint8Array): number | undefined {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const passed = Math.min(this.#left, chunk.length - at);
        this.#left -= passed;
        at += passed;
        continue;
      }
      this.#head[this.#headBytes++] = chunk[at++] as number;
      if (this.#headBytes < this.#head.length) continue;
      this.#headBytes = 0;
      const length = this.#head.readInt32BE(0);
      if (length < smallestAnswer || length > this.#maxBytes) return length;
      this.#left = length;
    }
    return undefined;
  }
}

/**
 * Puts itself in front of the listener that a connected socket has for its data. Of an answer with an impossible length
 * the listener sees nothing: the socket is destroyed, and `onFault` is told why. So it is when the listener throws.
 * @param broker its address, `host:port`
 */
function guardAnswers(
  socket: Socket,
  {
    broker,
    maxBytes,
    onFault,
  }: { broker: string; maxBytes: number; onFault: (error: BrokerAnswerError) => void },
): void {
  const lengths = new AnswerLengths(maxBytes);
  const listeners = socket.listeners('data') as ((chunk: Buffer) => void)[];
  socket.removeAllListeners('data');
  const fail = (what: string): void => {
    onFault(new BrokerAnswerError(`broker ${broker} ${what}`));
    socket.destroy();
  };
  socket.on('data', (chunk: Buffer) => {
    const length = lengths.findImpossible(chunk);
    if (length !== undefined) {
      fail(`announced an answer of ${length} bytes; possible are ${smallestAnswer} to ${maxBytes}`);
      return;
    }
    try {
      for (const listener of listeners) listener(chunk);
    } catch (error) {
      fail(`sent an answer that cannot be read: ${messageOf(error)}`);
    }
  });
}
