/** Answers to HEAD: what GET answers, without the body. */
import type { Handler, HttpResponse } from './http-app.ts';

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
