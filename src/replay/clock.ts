import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** Time, as far as sending needs it; tests bring their own. */
export interface Clock {
  /** Milliseconds that never go backwards. */
  now(): number;
  /** Resolves after `ms`, or as soon as `signal` aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  },
};

/** Timers hold at most 2^31 ms, and a log may have a gap of months. */
const longestSleepMs = 2 ** 30;

/** Resolves when the clock reaches `timeMs`, or as soon as `signal` aborts. */
export async function waitUntil(clock: Clock, timeMs: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const leftMs = timeMs - clock.now();
    if (leftMs <= 0) return;
    await clock.sleep(Math.min(leftMs, longestSleepMs), signal);
  }
}
