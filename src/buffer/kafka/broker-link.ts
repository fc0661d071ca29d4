/** One connection to one broker, made when it is first needed and again after it was lost. */
import { type API, Connection, NetworkError, ResponseError, TimeoutError } from '@platformatic/kafka';
import { messageOf } from '../../errors.ts';
import { BrokerAnswerError, guardAnswers, maxAnswerBytes } from './answer-guard.ts';

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
