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
  ['text/json', 'json'],
  ['application/x-www-form-urlencoded', 'form'],
]);

/** Reads the headers of a post; a problem when its body is not wanted. */
export function readPostHeaders(
  req: HttpRequest,
  { maxBodyBytes, budget }: HeaderLimits,
): PostHeaders | Problem {
  const type = typeOf(mediaType(req.getHeader('content-type')));
  if (type === undefined) {
    const detail = 'send application/json, application/x-ndjson, or text/plain holding one of them';
    return { code: 'UNSUPPORTED_TYPE', detail };
  }
  const encoding = encodingOf(req.getHeader('content-encoding'));
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

/** Formats that are JSON say so at the end of their name (RFC 6839, section 3.1). */
function typeOf(mediaType: string): BodyType | undefined {
  return bodyTypes.get(mediaType) ?? (mediaType.endsWith('+json') ? 'json' : undefined);
}

/** `x-gzip` is another name of gzip (RFC 9110, section 8.4.1.3). */
function encodingOf(header: string): Encoding {
  if (header === '') return 'identity';
  const name = header.toLowerCase();
  return (name === 'x-gzip' ? 'gzip' : name) as Encoding;
}

/** The type without its parameters, in lower case. */
function mediaType(header: string): string {
  if (header === 'application/json') return header;
  const semicolon = header.indexOf(';');
  return (semicolon === -1 ? header : header.slice(0, semicolon)).trim().toLowerCase();
}
