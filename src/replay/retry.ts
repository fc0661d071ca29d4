import type { Outcome } from './answer.ts';
import type { Clock } from './clock.ts';

/** How a request ended for good. */
export type Settled =
  | Extract<Outcome, { kind: 'answered' | 'hopeless' }>
  | { readonly kind: 'gave-up'; readonly reason: string }
  | { readonly kind: 'stopped' };

/** How long and how to try again. */
export interface RetryOptions {
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

const firstBackoffMs = 100;
const longestBackoffMs = 5_000;

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
  const fullMs = Math.min(longestBackoffMs, firstBackoffMs * 2 ** Math.min(failures, 16));
  const ownMs = fullMs * (0.5 + random / 2);
  if (retryAfterMs === undefined) return ownMs;
  return Math.max(ownMs, retryAfterMs + firstBackoffMs * random);
}
