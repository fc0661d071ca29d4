/** The id of an event, by which the streamer finds repeats: its own, or one from the key of its request. */
import type { HttpRequest } from './http-app.ts';
import type { Problem } from './problem.ts';

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
export function readKey(req: HttpRequest): string | Problem {
  const header = req.getHeader(keyHeader);
  // Most requests have none. Nothing more is asked of them: it would cost all of them time.
  if (header === '') return req.isBlank?.(keyHeader) ? invalidKey('is blank') : '';
  let times = 0;
  req.forEach((name) => {
    if (name === keyHeader) times++;
  });
  if (times > 1) return invalidKey('was sent more than once');
  const isQuoted = header.startsWith('"');
  if (isQuoted && !quotedForm.test(header)) return invalidKey('begins with a quote and has none at its end');
  const key = isQuoted ? header.slice(1, -1) : header;
  if (!keyForm.test(key)) return invalidKey('is too long or has other characters');
  return key.startsWith(spoolPrefix) ? invalidKey(`begins with ${spoolPrefix}, which is reserved`) : key;
}

function invalidKey(fault: string): Problem {
  return {
    code: 'INVALID_IDEMPOTENCY_KEY',
    detail: `the Idempotency-Key ${fault}; send one of 1 to ${longestKey} printable ASCII characters without spaces, in quotes or not`,
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
