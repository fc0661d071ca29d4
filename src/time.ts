/** Waiting, and telling how long something took. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits `ms`; returns early, without an error, when the signal aborts. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => {});
}

/** How the wait between two tries grows, milliseconds. */
interface BackOffLimits {
  /** Default 50. */
  readonly firstMs?: number;
  /** Default 2,000. */
  readonly mostMs?: number;
  /** From 0 to 1; by default by chance. */
  readonly random?: number;
}

/**
 * Milliseconds to wait before the next try: `firstMs`, doubled with each failure before this one, at most `mostMs`; and
 * of that between a half and all, so that many who wait do not come back together.
 * @param failures from 0
 */
export function backOffMs(failures: number, limits: BackOffLimits = {}): number {
  const { firstMs = 50, mostMs = 2_000, random = Math.random() } = limits;
  return Math.min(mostMs, firstMs * 2 ** Math.min(failures, 30)) * (0.5 + random / 2);
}

/** Settles as `promise` does, but rejects with the signal's reason when that aborts first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** A moment on two clocks. Each of them stands still or is set where the other is not. */
export interface Moment {
  /** `performance.now()`: goes on evenly, but not while the machine is suspended or its virtual machine frozen. */
  readonly steady: number;
  /** `Date.now()`: goes on while it is suspended, but may be set. */
  readonly wall: number;
}

/** Tells the moment. */
export type Clock = () => Moment;

/** The clocks of this machine. */
export const systemClock: Clock = () => ({ steady: performance.now(), wall: Date.now() });

/** Before every other moment. */
export const never: Moment = { steady: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };

/** Milliseconds from one moment to a later one: the larger of what the two clocks say, so never less than it was. */
export function msBetween(earlier: Moment, later: Moment): number {
  return Math.max(later.steady - earlier.steady, later.wall - earlier.wall);
}
