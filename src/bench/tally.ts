/** Counts what happens in a load run. */
import { createHistogram, type Histogram, type RecordableHistogram } from 'node:perf_hooks';
import type { LoadFailure, LoadSecond } from './load.ts';
import type { Outcome } from './outcome.ts';

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
export class Tally {
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
