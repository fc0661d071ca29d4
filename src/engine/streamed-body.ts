/** The body of a response that is sent in pieces. */
import type { ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import { type ContentCoding, encoders } from './coding.ts';
import { EngineError } from './error.ts';

/** How long a client may take to read a piece of a response. */
const stalledReadMs = 60_000;

export class StreamedBody {
  readonly #response: ServerResponse;
  readonly #tag: string;
  readonly #encoder: Transform | undefined;

  /** @param tag by which a client tells an exception in the body from data */
  constructor(response: ServerResponse, tag: string, coding: ContentCoding | undefined) {
    this.#response = response;
    this.#tag = tag;
    if (coding === undefined) return;
    this.#encoder = encoders[coding].create();
    this.#encoder.on('error', () => response.destroy()).pipe(response, { end: false });
  }

  /**
   * Writes a piece, and waits until there is room for the next one.
   * @throws EngineError 210 when the client is gone
   */
  async write(piece: Uint8Array): Promise<void> {
    const out = this.#encoder ?? this.#response;
    if (this.#response.destroyed) throw new EngineError(210, 'NETWORK_ERROR', 'The client is gone');
    if (!out.write(piece)) await drained(out, this.#response);
  }

  /** Ends the body. */
  end(): void {
    const response = this.#response;
    if (this.#encoder === undefined) response.end();
    else this.#encoder.once('end', () => response.end()).end();
  }

  /**
   * Ends the body with an exception, and the connection without the last chunk of HTTP, so that no client takes the
   * result for whole. Source: the HTTP interface of ClickHouse, 25.11 and later; a client that knows
   * `X-ClickHouse-Exception-Tag` shows the text.
   */
  fail(exception: string): void {
    const response = this.#response;
    const length = Buffer.byteLength(exception);
    const block = `\r\n__exception__\r\n${this.#tag}\r\n${exception}${length} ${this.#tag}\r\n__exception__\r\n`;
    const cut = () => response.socket?.destroySoon();
    // Of a client that does not read it.
    const timer = setTimeout(() => response.destroy(), stalledReadMs);
    response.once('close', () => clearTimeout(timer));
    if (this.#encoder === undefined) {
      response.write(block);
      cut();
    } else {
      this.#encoder.once('end', cut).end(block);
    }
  }
}

/** Waits until `out` takes more, or the client is gone, or has not read for too long: then it is cut off. */
function drained(out: Transform | ServerResponse, response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      out.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    const timer = setTimeout(() => {
      reject(new EngineError(209, 'SOCKET_TIMEOUT', 'The client does not read'));
      settle();
      response.destroy();
    }, stalledReadMs);
    out.on('drain', settle);
    response.on('close', settle);
  });
}
