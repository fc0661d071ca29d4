/** Everything that can be wrong with a request, each with a stable code. Documented in docs/http.md. */

/** One kind of problem: its HTTP status, whether sending the same again can help, and its title. */
interface ProblemKind {
  readonly status: number;
  readonly retry: boolean;
  readonly title: string;
}

/** All error codes. Codes never change meaning; clients branch on them. */
export const problems = {
  INVALID_JSON: { status: 400, retry: false, title: 'The body is not valid JSON' },
  EMPTY_BODY: { status: 400, retry: false, title: 'The body contains no event' },
  INVALID_RECEIPT: { status: 400, retry: false, title: 'The path does not name a receipt' },
  INVALID_ENCODING: { status: 400, retry: false, title: 'The body cannot be decompressed' },
  INVALID_IDEMPOTENCY_KEY: { status: 400, retry: false, title: 'The Idempotency-Key cannot be used' },
  INVALID_TRANSFER_ENCODING: { status: 400, retry: false, title: 'The Transfer-Encoding cannot be used' },
  HOST_NOT_ALLOWED: { status: 403, retry: false, title: 'The page is not served under this host name' },
  ORIGIN_NOT_ALLOWED: { status: 403, retry: false, title: 'The page is not served to pages of other sites' },
  NOT_FOUND: { status: 404, retry: false, title: 'There is nothing at this path' },
  UNKNOWN_RECEIPT: { status: 404, retry: false, title: 'Nothing is known about this receipt' },
  METHOD_NOT_ALLOWED: { status: 405, retry: false, title: 'The path does not support this method' },
  BODY_TOO_LARGE: { status: 413, retry: false, title: 'The body is too large' },
  EVENT_TOO_LARGE: { status: 413, retry: false, title: 'The event is too large' },
  TOO_MANY_EVENTS: { status: 413, retry: false, title: 'The request holds too many events' },
  TOO_MANY_VALUES: {
    status: 413,
    retry: false,
    title: 'The request holds too many properties and array elements',
  },
  UNSUPPORTED_TYPE: { status: 415, retry: false, title: 'The content type is not supported' },
  UNSUPPORTED_ENCODING: { status: 415, retry: false, title: 'The content encoding is not supported' },
  INVALID_EVENT: { status: 422, retry: false, title: 'The event does not match the schema' },
  TOO_MANY_KEYS: { status: 422, retry: false, title: 'The event has too many keys' },
  DUPLICATE_KEY: { status: 422, retry: false, title: 'The event has the same key or path twice' },
  INVALID_KEY: { status: 422, retry: false, title: 'The event has a key that is not valid text' },
  NUMBER_OUT_OF_RANGE: { status: 422, retry: false, title: 'The event has a number that cannot be stored' },
  TOO_DEEP: { status: 422, retry: false, title: 'The event is nested too deeply' },
  OVERLOADED: { status: 503, retry: true, title: 'The collector is at its limit of bytes in flight' },
  BUFFER_UNAVAILABLE: { status: 503, retry: true, title: 'The buffer cannot accept events now' },
  BUFFER_REFUSED: {
    status: 503,
    retry: false,
    title: 'The buffer refuses these events with its current settings',
  },
  LOOKUP_UNAVAILABLE: { status: 503, retry: true, title: 'Receipts cannot be looked up now' },
  OUTCOME_UNKNOWN: { status: 503, retry: true, title: 'The buffer did not confirm the events in time' },
  STOPPING: { status: 503, retry: true, title: 'The collector is stopping' },
} as const satisfies Record<string, ProblemKind>;

/** A stable error code. */
export type ProblemCode = keyof typeof problems;

/** Why an event or a request is refused. */
export interface Problem {
  readonly code: ProblemCode;
  /** What exactly is wrong with this one, for a person. */
  readonly detail: string;
}

/** An event refused within a batch. */
export interface Rejection extends Problem {
  /** Position of the event in the request, from 0. */
  readonly index: number;
}

/** The body of an error answer, `application/problem+json` (RFC 9457). */
export function formatProblem(
  { code, detail }: Problem,
  extra: Readonly<Record<string, unknown>> = {},
): string {
  const { status, retry, title } = problems[code];
  return JSON.stringify({
    type: `urn:millrace:problem:${code}`,
    title,
    status,
    code,
    detail,
    retry,
    ...extra,
  });
}

/** The problem of a body over its limit. */
export function tooLarge(maxBytes: number): Problem {
  return { code: 'BODY_TOO_LARGE', detail: `the limit is ${maxBytes} bytes, before and after decompression` };
}

/** The problem of a full budget. */
export function overloaded(maxBytes: number): Problem {
  return {
    code: 'OVERLOADED',
    detail: `the collector is at its limit of ${maxBytes} bytes in flight; try again later`,
  };
}
