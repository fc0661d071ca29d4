import { setMaxListeners } from 'node:events';
import type { Clock } from '../../../src/replay/pacing.ts';

interface Sleeper {
  readonly wakeMs: number;
  readonly wake: () => void;
}

/**
 * A clock that jumps to the next waking sleeper when nothing else is left to do. `lateMs` is added to each
 * sleep, as by a busy machine.
 */
export function createFakeClock(lateMs = 0): Clock & { readonly sleeps: readonly number[] } {
  let nowMs = 0;
  let sleepers: Sleeper[] = [];
  const sleeps: number[] = [];

  function jump(): void {
    const [next] = [...sleepers].sort((a, b) => a.wakeMs - b.wakeMs);
    if (next === undefined) return;
    sleepers = sleepers.filter((sleeper) => sleeper !== next);
    nowMs = Math.max(nowMs, next.wakeMs);
    next.wake();
  }

  return {
    sleeps,
    now: () => nowMs,
    sleep(ms, signal) {
      sleeps.push(ms);
      setMaxListeners(0, signal);
      if (signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        sleepers.push({ wakeMs: nowMs + ms + lateMs, wake: resolve });
        signal.addEventListener('abort', () => resolve());
        setImmediate(jump);
      });
    },
  };
}
