/** Bounds how many calls the engine executes at once. */
import { EngineError } from './error.ts';

/** How many at once, and how many may wait. */
export interface GateLimits {
  /** Calls that run at once. Each occupies a thread of libuv's pool for as long as it runs. */
  readonly slots: number;
  /** Of these, how many may be reads: a slow SELECT must not keep inserts waiting. */
  readonly readSlots: number;
  /** Of these, how many may be those of readers: dashboards must not keep the owner's own reads waiting. */
  readonly readerSlots: number;
  /** Calls of each kind that may wait; one more is refused. */
  readonly queue: number;
}

/** Readers wait behind readers, the owner's reads behind reads, writes only for a free slot. */
export type CallKind = 'reader' | 'read' | 'write';

interface Waiter {
  readonly kind: CallKind;
  readonly start: () => void;
}

/** First come, first served, except that a write passes reads, and a read of the owner those of readers, that wait for a slot of their kind. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #running = { reader: 0, read: 0, write: 0 };
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
    const { reader, read, write } = this.#running;
    const { slots, readSlots, readerSlots } = this.#limits;
    if (reader + read + write >= slots) return false;
    if (kind !== 'write' && reader + read >= readSlots) return false;
    return kind !== 'reader' || reader < readerSlots;
  }

  #wait(kind: CallKind): Promise<void> {
    const before = this.#waiting.filter((waiter) => waiter.kind === kind).length;
    if (before >= this.#limits.queue) {
      throw new EngineError(
        202,
        'TOO_MANY_SIMULTANEOUS_QUERIES',
        `Too many simultaneous queries: ${this.#limits.slots} run and ${before} wait. Try again later`,
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
