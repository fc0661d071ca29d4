/** When the batches of a replay are sent: at once, or as far apart as their events were. */
import { performance } from 'node:perf_hooks';
import { pause } from '../time.ts';

/** How fast to send. Neither: as fast as the collector answers. */
export interface Pace {
  /** Events a second. */
  readonly rate?: number | undefined;
  /** Times as fast as the clock of the file. */
  readonly speed?: number | undefined;
}

/**
 * Gives each event, in order, the time when it is due, in milliseconds after the start. Called once per event.
 * @param timeMs the event's own time; undefined when it has none
 */
export type Schedule = (timeMs: number | undefined) => number;

/** Whether events have to wait for their time. */
export function isPaced(pace: Pace): boolean {
  return pace.rate !== undefined || pace.speed !== undefined;
}

/**
 * Makes the schedule of a run. It depends on nothing but the events: due times are counted from the start and
 * not from the event before, so a late answer or a late timer shifts no later event, and errors do not add up.
 */
export function createSchedule(pace: Pace): Schedule {
  if (pace.rate !== undefined) return createSteadySchedule(pace.rate);
  if (pace.speed !== undefined) return createOriginalSchedule(pace.speed);
  return () => 0;
}

function createSteadySchedule(rate: number): Schedule {
  let count = 0;
  return () => {
    const dueMs = (count * 1000) / rate;
    count += 1;
    return dueMs;
  };
}

function createOriginalSchedule(speed: number): Schedule {
  let firstMs: number | undefined;
  let dueMs = 0;
  return (timeMs) => {
    if (timeMs === undefined) return dueMs;
    firstMs ??= timeMs;
    // A server logs requests when they end, so its clock steps back now and then: such events are due at once.
    dueMs = Math.max(dueMs, (timeMs - firstMs) / speed);
    return dueMs;
  };
}

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
  sleep: pause,
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
