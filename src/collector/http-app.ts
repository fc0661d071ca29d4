/**
 * The little of an HTTP server that the collector needs, in the shape of uWebSockets.js, which is one of its
 * two implementations.
 */

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
