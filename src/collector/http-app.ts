/**
 * The little of an HTTP server that the collector needs, in the shape of uWebSockets.js, which is one of its
 * two implementations.
 *
 * Whether it is clear where the body of a request ends. Where a proxy and a server disagree about that, a client can put a
 * request of its own between those of others (RFC 9112, sections 6.1 and 11.2). uWebSockets.js takes any
 * Transfer-Encoding for chunked; one beside a Content-Length it refuses itself.
 *
 * Answers to HEAD: what GET answers, without the body.
 */
import type { Problem } from './problem.ts';

/** Headers and address of a request; valid only until the handler returns. */
export interface HttpRequest {
  /** A header by its lower-case name; empty when absent. */
  getHeader(name: string): string;
  /** Visits all headers, as often as they were sent, by their lower-case names. Slow: not for every request. */
  forEach(visit: (name: string, value: string) => void): void;
  /** Whether this header was sent, and blank. Absent where that cannot be told without a visit to all. */
  isBlank?(name: string): boolean;
  /** The path, without the query. */
  getUrl(): string;
  /** What stands in the path for parameter `index` of the route, from 0; as sent, not decoded. */
  getParameter(index: number): string | undefined;
}

/** Where the answer goes, and where the body comes from. */
export interface HttpResponse {
  /** Called with each piece of the body; its memory is valid only during the call. */
  onData(handler: (piece: ArrayBuffer, isLast: boolean) => void): unknown;
  /** Called when the client goes away before the answer was sent. */
  onAborted(handler: () => void): unknown;
  /** Sends everything that `write` writes at once. */
  cork(write: () => void): unknown;
  /**
   * The status, as `503 Service Unavailable`, and on lines of their own after it (CR LF in front of each) any
   * headers that the answer always has. Called once, before anything else is written.
   */
  writeStatus(head: string): unknown;
  writeHeader(name: string, value: string): unknown;
  /** Sends the body, and ends the connection after it if asked to. */
  end(body: string, closeConnection: boolean): unknown;
  /** Ends the answer to a HEAD; how long the body would be is a header like others. */
  endWithoutBody(): unknown;
}

/** Handles one request. */
export type Handler = (res: HttpResponse, req: HttpRequest) => void;

/**
 * Routes by method and path; `:name` stands for one segment of a path, `/*` matches every path. Routes of the
 * method come before those of any method, and among each the path before `/*`.
 */
export interface HttpApp {
  get(path: string, handler: Handler): unknown;
  head(path: string, handler: Handler): unknown;
  post(path: string, handler: Handler): unknown;
  options(path: string, handler: Handler): unknown;
  any(path: string, handler: Handler): unknown;
}

/** A server that listens. */
export interface HttpServer {
  readonly port: number;
  /** Takes no new connections. */
  stopListening(): void;
  /** Closes every connection. */
  close(): void;
}

/** An app and how to make it listen. */
export interface HttpImplementation {
  readonly app: HttpApp;
  /** Listens on a port that others may share; undefined when it cannot. */
  listen(host: string, port: number): Promise<HttpServer | undefined>;
}

const header = 'transfer-encoding';

/** What is wrong with the framing of a request; of one with a Content-Length nothing is that the servers let pass. */
export function checkFraming(req: Pick<HttpRequest, 'getHeader' | 'forEach'>): Problem | undefined {
  const coding = req.getHeader(header);
  if (coding === '') return undefined;
  let times = 0;
  req.forEach((name) => {
    if (name === header) times++;
  });
  if (times === 1 && coding.trim().toLowerCase() === 'chunked') return undefined;
  const detail =
    'the only supported Transfer-Encoding is chunked, sent once; otherwise send the Content-Length of the body';
  return { code: 'INVALID_TRANSFER_ENCODING', detail };
}

/** Turns a handler of GET into one of HEAD. */
export function forHead(handler: Handler): Handler {
  return (res, req) => handler(new HeadResponse(res), req);
}

/** Names the length of the body in place of sending it: a client would take it for the start of the next answer. */
class HeadResponse implements HttpResponse {
  readonly #res: HttpResponse;

  constructor(res: HttpResponse) {
    this.#res = res;
  }

  onData(handler: (piece: ArrayBuffer, isLast: boolean) => void): void {
    this.#res.onData(handler);
  }

  onAborted(handler: () => void): void {
    this.#res.onAborted(handler);
  }

  cork(write: () => void): void {
    this.#res.cork(write);
  }

  writeStatus(head: string): void {
    this.#res.writeStatus(head);
  }

  writeHeader(name: string, value: string): void {
    this.#res.writeHeader(name, value);
  }

  /** uWebSockets.js takes a length as argument as well, and then never finishes the answer (20.51). */
  end(body: string, closeConnection: boolean): void {
    this.#res.writeHeader('Content-Length', String(Buffer.byteLength(body)));
    if (closeConnection) this.#res.writeHeader('Connection', 'close');
    this.#res.endWithoutBody();
  }

  endWithoutBody(): void {
    this.#res.endWithoutBody();
  }
}
