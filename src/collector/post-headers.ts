/**
 * What the headers of a post say, and whether they allow to read its body.
 *
 * The id of an event, by which the streamer finds repeats: its own, or one from the key of its request.
 */
import { checkFraming, type HttpRequest } from './http-app.ts';
import type { BodyType } from './parse-events.ts';
import { overloaded, type Problem, tooLarge } from './problem.ts';
import { type ByteBudget, type Encoding, supportedEncodings } from './read-body.ts';

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

const keyHeader = 'idempotency-key';
const longestKey = 200;
/** Printable ASCII without the space: that is for {@link batchId}. */
const keyForm = new RegExp(`^[\\x21-\\x7e]{1,${longestKey}}$`);
/** Text of RFC 9651 in its quotes, without the escapes that nobody needs in a key. */
const quotedForm = /^"[^"\\]+"$/;
const loneSurrogate = /\p{Surrogate}/u;
/** Ids of events that came through a spool without one begin so: nobody else may take them. */
const spoolPrefix = 'spool/';

/** The `Idempotency-Key` of a request, without quotes; empty when there is none. */
function readKey(req: HttpRequest): string | Problem {
  const header = req.getHeader(keyHeader);
  // Most requests have none. Nothing more is asked of them: it would cost all of them time.
  if (header === '') return req.isBlank?.(keyHeader) ? invalidKey('is blank') : '';
  let times = 0;
  req.forEach((name) => {
    if (name === keyHeader) times++;
  });
  if (times > 1) return invalidKey('was sent more than once');
  const isQuoted = header.startsWith('"');
  if (isQuoted && !quotedForm.test(header))
    return invalidKey('begins with a quote but does not end with one');
  const key = isQuoted ? header.slice(1, -1) : header;
  if (!keyForm.test(key)) return invalidKey('is too long or contains characters that are not allowed');
  return key.startsWith(spoolPrefix) ? invalidKey(`begins with ${spoolPrefix}, which is reserved`) : key;
}

function invalidKey(fault: string): Problem {
  return {
    code: 'INVALID_IDEMPOTENCY_KEY',
    detail: `the Idempotency-Key ${fault}; send one of 1 to ${longestKey} printable ASCII characters without spaces, with or without quotes`,
  };
}

/** Id of the event at a position (from 0) of a batch with a key. No key has a space, so none is equal to it. */
export function batchId(key: string, index: number): string {
  return `${key} ${index}`;
}

/** The `id` of an event; undefined when it has none, or is no event at all. Empty text is none. */
export function ownId(event: unknown): string | undefined {
  const id = (event as { readonly id?: unknown } | null)?.id;
  return typeof id === 'string' && id !== '' ? id : undefined;
}

/** What is wrong with the id of an event; undefined when it can be used. */
export function checkId(id: string): Problem | undefined {
  if (id.startsWith(spoolPrefix)) {
    return { code: 'INVALID_EVENT', detail: `/id must not begin with ${spoolPrefix}, which is reserved` };
  }
  // Half a pair has no UTF-8: ids that differ would become equal on their way through the buffer.
  if (!loneSurrogate.test(id)) return undefined;
  return { code: 'INVALID_EVENT', detail: '/id must be Unicode text; it holds half of a surrogate pair' };
}
