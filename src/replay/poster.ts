/** Posts the batches of a replay, each until there is an answer that will not change. */
import { Pool } from 'undici';
import { messageOf } from '../errors.ts';
import { backOffMs } from '../time.ts';
import { type Outcome, readAnswer } from './answer.ts';
import type { Batch } from './batch.ts';
import type { Clock } from './pacing.ts';

/** Posts batches to a collector. */
export interface Poster {
  /** Sends it once and tells how that went; never throws. */
  post(batch: Batch, signal: AbortSignal): Promise<Outcome>;
  close(): Promise<void>;
}

/** What a poster sends to. */
interface PosterOptions {
  readonly url: URL;
  readonly connections: number;
  /** One JSON event as the body instead of NDJSON; for batches of one event. */
  readonly isSingle: boolean;
}

/** Longer than any collector takes: to give up early would only make repeats. */
const answerTimeoutMs = 60_000;

/** Failures that happen before the request left, so that nothing can have been stored. */
const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Makes a poster; it connects with the first batch. */
export function createPoster({ url, connections, isSingle }: PosterOptions): Poster {
  const pool = new Pool(url.origin, {
    connections,
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  });
  const headers = {
    'content-type': isSingle ? 'application/json' : 'application/x-ndjson',
    'user-agent': 'millrace-replay',
  };
  return {
    async post({ body, lines }, signal) {
      try {
        const response = await pool.request({ method: 'POST', path: '/v1/events', headers, body, signal });
        const retryAfter = response.headers['retry-after'];
        return readAnswer(
          {
            status: response.statusCode,
            retryAfter: Array.isArray(retryAfter) ? retryAfter[0] : retryAfter,
            body: await response.body.text(),
          },
          lines.length,
        );
      } catch (error) {
        return { kind: 'retry', reason: messageOf(error), isLost: !notSent.has(codeOf(error)) };
      }
    },
    close: () => pool.destroy(),
  };
}

/** Connecting to a name with several addresses fails with an error of errors. */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** How a request ended for good. */
type Settled =
  | Extract<Outcome, { kind: 'answered' | 'hopeless' }>
  | { readonly kind: 'gave-up'; readonly reason: string }
  | { readonly kind: 'stopped' };

/** How long and how to try again. */
interface RetryOptions {
  /** From the first failure to giving up. */
  readonly retryForMs: number;
  readonly clock: Clock;
  /** Ends the waiting between two tries. */
  readonly signal: AbortSignal;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Called before each wait. */
  readonly onRetry?: (outcome: Extract<Outcome, { kind: 'retry' }>, waitMs: number) => void;
}

const firstBackOffMs = 100;

/**
 * Sends until there is an answer that will not change, for at most `retryForMs` after the first failure. When
 * the collector asks for a longer wait than is left, it gives up at once: it could not keep to it.
 */
export async function sendUntilSettled(
  send: () => Promise<Outcome>,
  options: RetryOptions,
): Promise<Settled> {
  const { clock, signal, retryForMs } = options;
  let deadlineMs: number | undefined;
  for (let failures = 0; ; failures += 1) {
    const outcome = await send();
    if (outcome.kind !== 'retry') return outcome;
    if (signal.aborted) return { kind: 'stopped' };
    deadlineMs ??= clock.now() + retryForMs;
    const waitMs = backoff(failures, outcome.retryAfterMs, options.random());
    if (clock.now() + waitMs > deadlineMs) return { kind: 'gave-up', reason: outcome.reason };
    options.onRetry?.(outcome, waitMs);
    await clock.sleep(waitMs, signal);
    if (signal.aborted) return { kind: 'stopped' };
  }
}

/**
 * Milliseconds until the next try: twice as long each time, and half of it up to chance, so that many clients
 * do not return together. Never shorter than the collector asked for.
 * @param failures tries that failed before this one
 * @param random from 0 to 1
 */
export function backoff(failures: number, retryAfterMs: number | undefined, random: number): number {
  const ownMs = backOffMs(failures, { firstMs: firstBackOffMs, mostMs: 5_000, random });
  if (retryAfterMs === undefined) return ownMs;
  return Math.max(ownMs, retryAfterMs + firstBackOffMs * random);
}
