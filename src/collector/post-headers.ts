/** What the headers of a post say, and whether they allow to read its body. */
import type { ByteBudget } from './byte-budget.ts';
import { type Encoding, supportedEncodings } from './decompress.ts';
import { readKey } from './event-id.ts';
import { checkFraming } from './framing.ts';
import type { HttpRequest } from './http-app.ts';
import type { BodyType } from './parse-events.ts';
import { overloaded, type Problem, tooLarge } from './problem.ts';

/** Headers of a post. */
export interface PostHeaders {
  readonly type: BodyType;
  readonly encoding: Encoding;
  /** Idempotency-Key; empty when there is none. */
  readonly key: string;
}

/** What bounds a post before its body is read. */
export interface HeaderLimits {
  readonly maxBodyBytes: number;
  readonly budget: ByteBudget;
}

/** By what clients send: a map, since an object has names of its own, as `__proto__`. */
const bodyTypes: ReadonlyMap<string, BodyType> = new Map([
  ['', 'json'],
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['text/plain', 'text'],
]);

/** Reads the headers of a post; a problem when its body is not wanted. */
export function readPostHeaders(
  req: HttpRequest,
  { maxBodyBytes, budget }: HeaderLimits,
): PostHeaders | Problem {
  const type = bodyTypes.get(mediaType(req.getHeader('content-type')));
  if (type === undefined) {
    const detail = 'send application/json, application/x-ndjson, or text/plain holding one of them';
    return { code: 'UNSUPPORTED_TYPE', detail };
  }
  const encoding = (req.getHeader('content-encoding') || 'identity').toLowerCase() as Encoding;
  if (!supportedEncodings.includes(encoding)) {
    return { code: 'UNSUPPORTED_ENCODING', detail: `send one of ${supportedEncodings.join(', ')}` };
  }
  const key = readKey(req);
  if (typeof key !== 'string') return key;
  const length = req.getHeader('content-length');
  // Most posts have one, and are not asked for more.
  const fault = length === '' ? checkFraming(req) : undefined;
  if (fault !== undefined) return fault;
  const contentLength = Number(length);
  if (contentLength > maxBodyBytes) return tooLarge(maxBodyBytes);
  return budget.used + contentLength > budget.max ? overloaded(budget.max) : { type, encoding, key };
}

/** The type without its parameters, in lower case. */
function mediaType(header: string): string {
  if (header === 'application/json') return header;
  const semicolon = header.indexOf(';');
  return (semicolon === -1 ? header : header.slice(0, semicolon)).trim().toLowerCase();
}
