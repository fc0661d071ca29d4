/** What a collector's answer means for the events that were posted. */

/** An event that the collector refused. */
interface Rejection {
  /** Position in the request, from 0. */
  readonly index: number;
  readonly code: string;
  readonly detail: string;
}

/** Where events were stored: `count` of them, from `offset` on. */
interface Receipt {
  readonly partition: number;
  readonly offset: number;
  readonly count: number;
}

/** How a request ended. */
export type Outcome =
  | {
      readonly kind: 'answered';
      readonly accepted: number;
      readonly rejections: readonly Rejection[];
      readonly receipts: readonly Receipt[];
    }
  | {
      /** Sending the same again can help. */
      readonly kind: 'retry';
      readonly reason: string;
      readonly retryAfterMs?: number;
      /** The events may have been stored all the same. */
      readonly isLost: boolean;
    }
  | {
      /** Neither this request nor any other can succeed. */
      readonly kind: 'hopeless';
      readonly reason: string;
    };

/** An answer as it came. */
interface RawAnswer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

/** 202: the events wait in the collector's spool until its buffer is back. */
const accepted = new Set([200, 202]);
/** Statuses that speak about the events in the request, and not about the collector or the client. */
const refusals = new Set([400, 413, 422]);
/** Statuses after which a collector, or a proxy before it, may answer otherwise. */
const transient = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Of those, the ones by which the collector says that it has stored nothing. */
const untouched = new Set([425, 429, 503]);

/** Reads the answer to a request with `count` events. */
export function readAnswer(answer: RawAnswer, count: number): Outcome {
  const body = parseObject(answer.body);
  if (accepted.has(answer.status)) return readAcceptance(body, count) ?? notACollector(answer);
  const code = typeof body?.code === 'string' ? body.code : `HTTP_${answer.status}`;
  const detail = typeof body?.detail === 'string' ? body.detail : excerpt(answer.body);
  if (transient.has(answer.status)) {
    const retryAfterMs = parseRetryAfter(answer.retryAfter, Date.now());
    return {
      kind: 'retry',
      reason: `it answered ${answer.status} (${code}: ${detail})`,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      isLost: !untouched.has(answer.status) || code === 'OUTCOME_UNKNOWN',
    };
  }
  if (answer.status === 413 && count > 1 && code !== 'EVENT_TOO_LARGE') {
    return {
      kind: 'hopeless',
      reason: `it does not accept a request of this size (${detail}); use a smaller --batch`,
    };
  }
  if (!refusals.has(answer.status)) {
    return { kind: 'hopeless', reason: `it answered ${answer.status} (${code}: ${detail})` };
  }
  const listed = readRejections(body, count);
  const rejections =
    listed.length > 0 ? listed : Array.from({ length: count }, (_, index) => ({ index, code, detail }));
  return { kind: 'answered', accepted: 0, rejections, receipts: [] };
}

/**
 * Milliseconds to wait by a Retry-After header: seconds or an HTTP date. Undefined when it is neither.
 * @param nowMs milliseconds since 1970
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined || value.trim() === '') return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Number(value) * 1000;
  const dateMs = Date.parse(value);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}

type Json = Readonly<Record<string, unknown>>;

/** Both shapes: the one for a batch, and the one for a single event. */
function readAcceptance(body: Json | undefined, count: number): Outcome | undefined {
  if (body === undefined) return undefined;
  if (typeof body.accepted === 'number') {
    const receipts = listOf(body.receipts).filter(isReceipt);
    return { kind: 'answered', accepted: body.accepted, rejections: readRejections(body, count), receipts };
  }
  const offset = body.offset ?? body.Offset;
  if (typeof offset !== 'number') return undefined;
  if (typeof body.spool === 'string')
    return { kind: 'answered', accepted: count, rejections: [], receipts: [] };
  if (typeof body.partition !== 'number') return undefined;
  const receipt = { partition: body.partition, offset, count };
  return { kind: 'answered', accepted: count, rejections: [], receipts: [receipt] };
}

/** The first refused events have a reason of their own; of the others the collector gives only the positions. */
function readRejections(body: Json | undefined, count: number): Rejection[] {
  const detail = 'the collector lists reasons only for the first refused events of a request';
  const others = readIndexes(body?.rejected_more, count);
  return [...readListed(body), ...[...others].map((index) => ({ index, code: 'REJECTED', detail }))];
}

/** Positions in ranges, first and last; none beyond the request, whatever the answer says. */
function readIndexes(more: unknown, count: number): Set<number> {
  const indexes = new Set<number>();
  if (!isObject(more)) return indexes;
  for (const list of [more.permanent, more.retriable]) {
    for (const range of Array.isArray(list) ? list : []) {
      const [first = -1, last = -1] = (Array.isArray(range) ? range : []).map(Number);
      for (let index = first; index >= 0 && index <= last && index < count; index++) indexes.add(index);
    }
  }
  return indexes;
}

function readListed(body: Json | undefined): Rejection[] {
  return listOf(body?.rejected).map((item, index) => ({
    index: typeof item.index === 'number' ? item.index : index,
    code: String(item.code ?? 'REJECTED'),
    detail: String(item.detail ?? ''),
  }));
}

function isReceipt(item: Json): item is Json & Receipt {
  return [item.partition, item.offset, item.count].every((value) => typeof value === 'number');
}

function listOf(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseObject(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function notACollector({ status, body }: RawAnswer): Outcome {
  return {
    kind: 'hopeless',
    reason: `it answered ${status}, but not like a collector: ${excerpt(body)}`,
  };
}

function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  if (line === '') return 'no text';
  return line.length > 200 ? `${line.slice(0, 200)}...` : line;
}
