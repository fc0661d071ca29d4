import { pause } from '../pause.ts';
import type { Environment } from './environment.ts';
import { readTotals } from './log-state.ts';

const shortestMs = 5;
const longestMs = 25;
const slowdown = 1.2;

/**
 * Notices appends of any process. LMDB tells nobody about a commit of another process, so this polls one
 * small value for all partitions together: every 5 ms while records arrive, every 25 ms when they do not. One
 * poll costs a few microseconds.
 */
export class AppendWatch {
  readonly #environment: Environment;
  readonly #waiting = new Map<() => void, number>();
  #intervalMs = shortestMs;
  #timer: NodeJS.Timeout | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /**
   * Waits until the log has more appended records than `appended`, at most `maxMs`; returns early, without an
   * error, when the signal aborts.
   */
  async wait(appended: number, { maxMs, signal }: { maxMs: number; signal: AbortSignal }): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort();
    signal.addEventListener('abort', end, { once: true });
    this.#waiting.set(end, appended);
    this.#schedule();
    try {
      if (!signal.aborted) await pause(maxMs, over.signal);
    } finally {
      this.#waiting.delete(end);
      signal.removeEventListener('abort', end);
      if (this.#waiting.size === 0) this.#stop();
    }
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.#poll(), this.#intervalMs);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #poll(): void {
    this.#timer = undefined;
    this.#environment.refresh();
    const { appended } = readTotals(this.#environment);
    const woken = [...this.#waiting].filter(([, seen]) => seen !== appended);
    for (const [wake] of woken) wake();
    this.#intervalMs = woken.length > 0 ? shortestMs : Math.min(longestMs, this.#intervalMs * slowdown);
    if (this.#waiting.size > woken.length) this.#schedule();
  }
}
