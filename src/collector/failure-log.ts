/**
 * Log lines for requests that got a 5xx, each under the id that the answer carries. While the buffer is away every
 * request fails: a few lines a second say how, and one says how many more there were. So an answer has an id if and
 * only if there is a line with it.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { HttpRequest } from './http-app.ts';
import { type Problem, problems } from './problem.ts';

const linesPerSecond = 10;
/** What may stand in a URN as it is. Whatever else comes is not passed on to the log or to the answer. */
const idForm = /^[\w.~:@+=/-]{1,128}$/;

/** What is known of a request beside its problem. */
interface FailedRequest {
  /** The id that it came with. */
  readonly requestId?: string | undefined;
  readonly traceId?: string | undefined;
}

/** The `X-Request-Id` that a client or a proxy sent; undefined when there is none that can be used. */
export function readRequestId(req: Pick<HttpRequest, 'getHeader'>): string | undefined {
  const id = req.getHeader('x-request-id');
  return idForm.test(id) ? id : undefined;
}

/** Writes the lines. */
export class FailureLog {
  readonly #log: Logger;
  #lines = 0;
  #unnamed = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Writes a line for a failed request and gives the id in it; undefined when there were too many this second. */
  note({ code, detail }: Problem, { requestId, traceId }: FailedRequest = {}): string | undefined {
    this.#timer ??= setTimeout(() => this.#endSecond(), 1_000).unref();
    if (this.#lines === linesPerSecond) {
      this.#unnamed.set(code, (this.#unnamed.get(code) ?? 0) + 1);
      return undefined;
    }
    this.#lines++;
    const id = requestId ?? randomUUID();
    const fields = { request_id: id, ...(traceId !== undefined && { trace_id: traceId }), code };
    this.#log.warn(fields, `answered ${problems[code].status} ${code}: ${detail}`);
    return id;
  }

  #endSecond(): void {
    this.#timer = undefined;
    this.#lines = 0;
    if (this.#unnamed.size === 0) return;
    const codes = Object.fromEntries(this.#unnamed);
    const requests = [...this.#unnamed.values()].reduce((sum, n) => sum + n, 0);
    this.#unnamed = new Map();
    this.#log.warn({ requests, codes }, `${requests} more requests failed within a second`);
  }
}
