/** Bounds how many calls the engine executes at once. */
import { EngineError } from './error.ts';

/** How many at once, and how many may wait. */
export interface GateLimits {
  /** Calls that run at once. Each occupies a thread of libuv's pool for as long as it runs. */
  readonly slots: number;
  /** Of these, how many may be reads: a slow SELECT must not keep inserts waiting. */
  readonly readSlots: number;
  /** Calls that may wait; one more is refused. */
  readonly queue: number;
}

/** Reads wait behind other reads, writes only for a free slot. */
export type CallKind = 'read' | 'write';

interface Waiter {
  readonly kind: CallKind;
  readonly start: () => void;
}

/** First come, first served, except that a write passes reads that wait for a read slot. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #running = { read: 0, write: 0 };
  #waiting: Waiter[] = [];

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /**
   * Runs `call` when its turn comes.
   * @throws EngineError 202 when the queue is full
   */
  async run<T>(kind: CallKind, call: () => Promise<T>): Promise<T> {
    // Whoever lets the call in also counts it: between its turn and its start others may come.
    if (this.#isFree(kind)) this.#running[kind] += 1;
    else await this.#wait(kind);
    try {
      return await call();
    } finally {
      this.#running[kind] -= 1;
      this.#startNext();
    }
  }

  #isFree(kind: CallKind): boolean {
    const { read, write } = this.#running;
    return read + write < this.#limits.slots && (kind === 'write' || read < this.#limits.readSlots);
  }

  #wait(kind: CallKind): Promise<void> {
    if (this.#waiting.length >= this.#limits.queue) {
      throw new EngineError(
        202,
        'TOO_MANY_SIMULTANEOUS_QUERIES',
        `Too many simultaneous queries: ${this.#limits.slots} run and ${this.#waiting.length} wait. Try again later`,
        503,
      );
    }
    return new Promise((start) => this.#waiting.push({ kind, start }));
  }

  #startNext(): void {
    const index = this.#waiting.findIndex(({ kind }) => this.#isFree(kind));
    if (index < 0) return;
    const [waiter] = this.#waiting.splice(index, 1);
    if (waiter === undefined) return;
    this.#running[waiter.kind] += 1;
    waiter.start();
  }
}
