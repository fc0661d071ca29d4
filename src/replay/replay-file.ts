/** A run: reads a file, keeps to the pace, keeps a number of requests in flight, and counts. */
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import type { Batch } from './batch.ts';
import type { Format } from './format.ts';
import { type Clock, createSchedule, isPaced, type Pace, waitUntil } from './pacing.ts';
import { type Poster, sendUntilSettled } from './poster.ts';
import { createRateMeter, type Progress } from './progress.ts';
import { readBatches } from './read-batches.ts';
import type { Source } from './source.ts';
import { ReplayCounts, type Summary } from './tally.ts';

/** What a run is made of. */
export interface ReplayOptions {
  readonly source: Source;
  readonly poster: Poster;
  /** Where the poster sends, for messages. */
  readonly target: string;
  readonly progress: Progress;
  readonly log: Logger;
  readonly clock: Clock;
  readonly format: Format | 'auto';
  readonly pace: Pace;
  /** Most events in one request. */
  readonly batch: number;
  /** Most requests in flight. */
  readonly concurrency: number;
  readonly skip: number;
  readonly retryForMs: number;
  /** How long requests in flight may take to finish after a stop. */
  readonly stopTimeoutMs: number;
  /** Ends the run early: nothing new is sent. */
  readonly stop: AbortSignal;
}

/** How a run ended, and the error when it failed. */
export interface ReplayResult {
  readonly summary: Summary;
  readonly failure: OperatorError | undefined;
}

/** Bytes of one request; with the requests in flight, what bounds the memory. */
const maxRequestBytes = 1024 ** 2;
/** Paced events go out together when they are due this close to each other, milliseconds. */
const pacedWindowMs = 100;
const progressIntervalMs = 200;
const warningIntervalMs = 5_000;

/** Posts the events of a file. Failures come back with the summary, so that it can be shown first. */
export async function replayFile(options: ReplayOptions): Promise<ReplayResult> {
  const run = new Run(options);
  return run.finish();
}

class Run {
  readonly #options: ReplayOptions;
  readonly #tally = new ReplayCounts();
  readonly #inFlight = new Set<Promise<void>>();
  /** Aborts on a stop and on the first failure: no new request after it. */
  readonly #ending = new AbortController();
  /** Aborts when requests in flight take too long after that. */
  readonly #cutting = new AbortController();
  readonly #startMs: number;
  #maxLateMs = 0;
  #isComplete = false;
  #failure: OperatorError | undefined;
  #trouble = '';
  #warnedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#startMs = options.clock.now();
    // Every request in flight listens.
    setMaxListeners(0, this.#ending.signal, this.#cutting.signal);
  }

  async finish(): Promise<ReplayResult> {
    const { stop, stopTimeoutMs, progress } = this.#options;
    let cutTimer: NodeJS.Timeout | undefined;
    this.#ending.signal.addEventListener('abort', () => {
      cutTimer = setTimeout(() => this.#cutting.abort(), stopTimeoutMs);
    });
    const end = () => this.#ending.abort();
    if (stop.aborted) end();
    stop.addEventListener('abort', end);
    const progressTimer = this.#showProgress();
    try {
      await this.#sendAll();
    } catch (error) {
      this.#fail(this.#describeReadError(error));
    } finally {
      await Promise.all(this.#inFlight);
      clearTimeout(cutTimer);
      clearInterval(progressTimer);
      stop.removeEventListener('abort', end);
      progress.stop();
    }
    return { summary: this.#summarize(), failure: this.#failure };
  }

  async #sendAll(): Promise<void> {
    const { source, pace, format, skip, batch: maxEvents, concurrency, clock } = this.#options;
    const signal = this.#ending.signal;
    const isInTime = isPaced(pace);
    const batches = readBatches(source.chunks, {
      format,
      skip,
      limits: {
        maxEvents,
        maxBytes: maxRequestBytes,
        windowMs: isInTime ? pacedWindowMs : Number.POSITIVE_INFINITY,
      },
      schedule: createSchedule(pace),
      needsTime: pace.speed !== undefined,
      signal,
    });
    for await (const batch of batches) {
      await waitUntil(clock, this.#startMs + batch.dueMs, signal);
      while (this.#inFlight.size >= concurrency) await Promise.race(this.#inFlight);
      if (signal.aborted) return;
      if (isInTime) this.#maxLateMs = Math.max(this.#maxLateMs, clock.now() - this.#startMs - batch.dueMs);
      const sending: Promise<void> = this.#send(batch).finally(() => this.#inFlight.delete(sending));
      this.#inFlight.add(sending);
    }
    await Promise.all(this.#inFlight);
    this.#isComplete = !signal.aborted;
  }

  async #send(batch: Batch): Promise<void> {
    const { poster, retryForMs, clock, target } = this.#options;
    this.#tally.begin(batch);
    if (batch.lines.length === 0) return this.#tally.settle(batch);
    const settled = await sendUntilSettled(() => poster.post(batch, this.#cutting.signal), {
      retryForMs,
      clock,
      signal: this.#ending.signal,
      random: Math.random,
      onRetry: ({ reason, isLost }) => {
        this.#tally.retry(isLost);
        this.#warn(reason);
      },
    });
    if (settled.kind === 'answered') {
      this.#trouble = '';
      this.#tally.settle(batch, settled);
    } else if (settled.kind !== 'stopped') {
      const tried = settled.kind === 'gave-up' ? ` (tried for ${retryForMs / 1000} s, see --retry-for)` : '';
      this.#fail(
        new OperatorError(
          `the collector at ${target} does not accept events: ${settled.reason}${tried}; check --url and its /status`,
          exitCodes.unavailable,
        ),
      );
    }
  }

  /** Seldom: all requests in flight meet the same trouble, again and again. */
  #warn(reason: string): void {
    const { log, clock, target } = this.#options;
    this.#trouble = reason;
    if (clock.now() - this.#warnedMs < warningIntervalMs) return;
    this.#warnedMs = clock.now();
    log.warn(`trying again: ${target} accepts no events: ${reason}`);
  }

  #fail(failure: OperatorError): void {
    this.#failure ??= failure;
    this.#ending.abort();
  }

  #describeReadError(error: unknown): OperatorError {
    if (error instanceof OperatorError) return error;
    const message = `cannot read ${this.#options.source.name} to its end: ${messageOf(error)}`;
    return new OperatorError(message, exitCodes.failure, { cause: error });
  }

  #summarize(): Summary {
    const { pace, clock } = this.#options;
    const counts = this.#tally.read();
    const isUseless = this.#isComplete && counts.sent === 0 && counts.unreadable > 0;
    if (isUseless) this.#failure ??= this.#describeUseless(counts.faults[0]?.line);
    return {
      ...counts,
      state: this.#failure !== undefined ? 'failed' : this.#isComplete ? 'complete' : 'stopped',
      seconds: (clock.now() - this.#startMs) / 1000,
      maxLateMs: isPaced(pace) ? this.#maxLateMs : undefined,
      failure: this.#failure?.message,
    };
  }

  #describeUseless(line = 1): OperatorError {
    return new OperatorError(
      `no line of ${this.#options.source.name} can be read, from line ${line} on: is it an access log in the ` +
        'combined format, or NDJSON? See --format',
      exitCodes.failure,
    );
  }

  #showProgress(): NodeJS.Timeout {
    const { source, progress, clock } = this.#options;
    const measureRate = createRateMeter();
    return setInterval(() => {
      const { sent, rejected, end } = this.#tally.read();
      const rate = measureRate(sent, clock.now());
      progress.update({ bytes: source.bytesOnDisk(end), sent, rejected, rate, trouble: this.#trouble });
    }, progressIntervalMs);
  }
}
