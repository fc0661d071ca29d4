/**
 * Counts what happens in a load run.
 *
 * What an answer means for the events of its request.
 */
import { createHistogram, type Histogram, type RecordableHistogram } from 'node:perf_hooks';
import { addPlainReceipt, addReceipts, type GrowingReceipts } from '../verify/receipts.ts';
import type { Answer } from './answer-parser.ts';
import type { LoadFailure, LoadSecond } from './load.ts';

/** Counts of requests. */
interface Requests {
  planned: number;
  sent: number;
  acknowledged: number;
  failed: number;
}

/** Reasons are few; what a strange server makes of them has to stay bounded all the same. */
const mostReasons = 200;

/** One hour in microseconds: more than any request waits. */
const histogramOptions = { lowest: 1, highest: 3_600_000_000, figures: 3 } as const;

/** Counts of a run that goes on. Times are milliseconds. */
export class LoadCounts {
  readonly lateness = createHistogram(histogramOptions);
  readonly series: LoadSecond[] = [];
  readonly events = { accepted: 0, rejected: 0, unknown: 0 };
  /** Requests with any answer. */
  answers = 0;
  readonly #eventsPerPost: number;
  readonly #answerTimeoutMs: number;
  readonly #failures = new Map<string, number>();
  readonly #total = createHistogram(histogramOptions);
  /** Latencies since the last second ended. */
  readonly #current = createHistogram(histogramOptions);
  readonly #requests: Requests = { planned: 0, sent: 0, acknowledged: 0, failed: 0 };
  /** Counts when the last second ended. */
  #before: Requests = { ...this.#requests };

  constructor(eventsPerPost: number, answerTimeoutMs: number) {
    this.#eventsPerPost = eventsPerPost;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  get requests(): Readonly<Requests> {
    return this.#requests;
  }

  get failures(): LoadFailure[] {
    const list = Array.from(this.#failures, ([reason, requests]) => ({ reason, requests }));
    return list.sort((a, b) => b.requests - a.requests);
  }

  /**
   * Of all requests, microseconds: one without an answer counts as the answer timeout at least, however soon that
   * was known, so that a collector that dies does not become quick. To be read when the last second has ended.
   */
  get latency(): Histogram {
    return this.#total;
  }

  /** A request was written. */
  sent(): void {
    this.#requests.sent++;
  }

  /** An answer came so long after the planned time. */
  answered({ accepted, rejected, unknown, failure }: Outcome, latencyMs: number): void {
    this.answers++;
    record(this.#current, latencyMs);
    this.events.accepted += accepted;
    this.events.rejected += rejected;
    this.events.unknown += unknown;
    if (failure === undefined) this.#requests.acknowledged++;
    else this.#fail(failure);
  }

  /** A request that may have reached the collector has no answer. */
  lost(reason: string, elapsedMs: number): void {
    this.events.unknown += this.#eventsPerPost;
    this.notSent(reason, elapsedMs);
  }

  /** A request did not reach the collector. */
  notSent(reason: string, elapsedMs: number): void {
    record(this.#current, Math.max(elapsedMs, this.#answerTimeoutMs));
    this.#fail(reason);
  }

  /** A request was given up because the run was stopped: nobody knows how long it would have taken. */
  stopped(reason: string, elapsedMs: number): void {
    record(this.#current, elapsedMs);
    this.#fail(reason);
  }

  /** What was counted as sent was not, after all. */
  takeBackSent(): void {
    this.#requests.sent--;
  }

  /** A request that is due was seen so long after its planned time. */
  due(latenessMs: number): void {
    record(this.lateness, latenessMs);
  }

  /** Ends a second. */
  endSecond({ at, planned, waiting }: Pick<LoadSecond, 'at' | 'planned' | 'waiting'>): LoadSecond {
    this.#requests.planned = planned;
    const { sent, acknowledged, failed } = this.#requests;
    const hasEnded = this.#current.count > 0;
    const second: LoadSecond = {
      at,
      planned: planned - this.#before.planned,
      sent: sent - this.#before.sent,
      acknowledged: acknowledged - this.#before.acknowledged,
      failed: failed - this.#before.failed,
      p50Ms: hasEnded ? this.#current.percentile(50) / 1000 : null,
      p99Ms: hasEnded ? this.#current.percentile(99) / 1000 : null,
      waiting,
    };
    if (hasEnded) this.#total.add(this.#current);
    this.#current.reset();
    this.#before = { ...this.#requests };
    this.series.push(second);
    return second;
  }

  #fail(reason: string): void {
    this.#requests.failed++;
    const known = this.#failures.size < mostReasons || this.#failures.has(reason) ? reason : 'other reasons';
    this.#failures.set(known, (this.#failures.get(known) ?? 0) + 1);
  }
}

function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1000)));
}

/** Numbers of events: the three add up to those of the request. */
interface Outcome {
  readonly accepted: number;
  readonly rejected: number;
  /** Stored or not: nobody can tell. */
  readonly unknown: number;
  /** Why the request failed; undefined when it was acknowledged. */
  readonly failure: string | undefined;
}

/**
 * Reads the answer to a request with this many events, and adds its receipts. An answer of 2xx counts only when its
 * receipts fit the request; otherwise what became of the events is unknown.
 */
export function readOutcome({ status, body }: Answer, events: number, receipts: GrowingReceipts): Outcome {
  if (status < 200 || status >= 300) return readRefusal(status, body, events);
  const plain = addPlainReceipt(receipts, body);
  if (plain === events) return { accepted: events, rejected: 0, unknown: 0, failure: undefined };
  const accepted = plain > 0 ? undefined : readAccepted(parse(body), events, receipts);
  if (accepted === undefined)
    return { accepted: 0, rejected: 0, unknown: events, failure: `${status} without fitting receipts` };
  return { accepted, rejected: events - accepted, unknown: 0, failure: undefined };
}

/** Events that an answer of any form accepts; undefined when it contradicts itself or the request. */
function readAccepted(value: unknown, events: number, receipts: GrowingReceipts): number | undefined {
  const stored = addReceipts(receipts, value);
  if (stored === undefined || typeof value !== 'object' || value === null) return undefined;
  const accepted = 'accepted' in value ? value.accepted : stored;
  const listed = 'rejected' in value && Array.isArray(value.rejected) ? value.rejected.length : 0;
  const rejected = listed + countUnlisted(value);
  return accepted === stored && stored + rejected === events ? stored : undefined;
}

/** Of many refused events a collector lists the first ones only, and counts the others. */
function countUnlisted(value: object): number {
  const more = 'rejected_more' in value ? value.rejected_more : undefined;
  const count = typeof more === 'object' && more !== null && 'count' in more ? more.count : 0;
  return typeof count === 'number' ? count : 0;
}

/** The usual form of a problem: the code is its first word that counts. */
const problemCode = /^\{"type":"urn:millrace:problem:([A-Z_]{1,40})"/;
const anyCode = /^[A-Z][A-Z0-9_]{0,39}$/;

function readRefusal(status: number, body: string, events: number): Outcome {
  const code = problemCode.exec(body)?.[1] ?? readCode(parse(body));
  const failure = code === undefined ? String(status) : `${status} ${code}`;
  return isOutcomeKnown(status, code)
    ? { accepted: 0, rejected: events, unknown: 0, failure }
    : { accepted: 0, rejected: 0, unknown: events, failure };
}

function readCode(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('code' in value)) return undefined;
  return typeof value.code === 'string' && anyCode.test(value.code) ? value.code : undefined;
}

/** A proxy that gave up waiting, and a server that broke, may have stored the events. */
function isOutcomeKnown(status: number, code: string | undefined): boolean {
  return code !== 'OUTCOME_UNKNOWN' && status !== 408 && (status < 500 || status === 503);
}

/** JSON from bytes that are in latin1; undefined when it is none. */
function parse(body: string): unknown {
  try {
    return JSON.parse(Buffer.from(body, 'latin1').toString());
  } catch {
    return undefined;
  }
}
