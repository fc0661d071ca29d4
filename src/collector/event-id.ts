/** The id of an event, by which the streamer finds repeats: its own, or one from the key of its request. */
import type { Problem } from './problem.ts';

const longestKey = 200;
const loneSurrogate = /\p{Surrogate}/u;

/** What is wrong with an `Idempotency-Key`; undefined when it can be used. */
export function checkKey(key: string): Problem | undefined {
  if (key.length <= longestKey && /^[\x20-\x7e]+$/.test(key)) return undefined;
  return {
    code: 'INVALID_IDEMPOTENCY_KEY',
    detail: `send 1 to ${longestKey} printable ASCII characters as Idempotency-Key`,
  };
}

/** The `id` of a valid event; undefined when it has none. Empty text is none. */
export function ownId(event: unknown): string | undefined {
  const { id } = event as { readonly id?: unknown };
  return typeof id === 'string' && id !== '' ? id : undefined;
}

/** Half a surrogate pair has no UTF-8: ids that differ would become equal on their way through the buffer. */
export function checkId(id: string): Problem | undefined {
  if (!loneSurrogate.test(id)) return undefined;
  return { code: 'INVALID_EVENT', detail: '/id must be Unicode text; it holds half of a surrogate pair' };
}
