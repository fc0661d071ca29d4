/** Bounds how many calls the engine executes at once. */
import { EngineError } from './error.ts';

/**
 * Kinds of calls, from those that wait longest to those that wait least: reads of readers, reads of the owner, changes
 * of tables, inserts that bring their data, and KILL.
 */
const lanes = ['reader', 'read', 'change', 'write', 'control'] as const;
export type Lane = (typeof lanes)[number];

/** How many at once, and how many may wait. */
export interface GateLimits {
  /**
   * Calls at once of each lane together with those of all lanes before it. A lane that has more than the one before it
   * thus has slots which that one can never take: slow reads keep no insert waiting, and nothing keeps KILL waiting.
   */
  readonly slots: Readonly<Record<Lane, number>>;
  /** Calls of each lane that may wait; one more is refused. */
  readonly queue: number;
}

/** How a call waits for its turn. */
export interface Patience {
  /** Ends the waiting: whoever asked is gone. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, milliseconds. Without it there is none. */
  readonly waitMs?: number;
}

interface Waiter {
  readonly lane: Lane;
  readonly start: () => void;
}

/** First come, first served within a lane; a later lane passes an earlier one that waits for a slot. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #running: Record<Lane, number> = { reader: 0, read: 0, change: 0, write: 0, control: 0 };
  #waiting: Waiter[] = [];

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /**
   * Runs `call` when its turn comes.
   * @throws EngineError 202 when the queue is full or the turn does not come in time, 210 when nobody waits any more
   */
  async run<T>(lane: Lane, call: () => Promise<T>, patience: Patience = {}): Promise<T> {
    // Whoever lets the call in also counts it: between its turn and its start others may come.
    if (this.#isFree(lane)) this.#running[lane] += 1;
    else await this.#wait(lane, patience);
    try {
      return await call();
    } finally {
      this.#running[lane] -= 1;
      this.#startNext();
    }
  }

  #isFree(lane: Lane): boolean {
    let running = 0;
    return lanes.every((each, index) => {
      running += this.#running[each];
      return index < lanes.indexOf(lane) || running < this.#limits.slots[each];
    });
  }

  #wait(lane: Lane, { signal, waitMs }: Patience): Promise<void> {
    const before = this.#waiting.filter((waiter) => waiter.lane === lane).length;
    const limit = this.#limits.slots[lane];
    if (before >= this.#limits.queue) throw tooMany(`${limit} run and ${before} wait`);
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        finish();
      };
      const waiter: Waiter = { lane, start: () => settle(resolve) };
      const leave = () => settle(() => reject(new EngineError(210, 'NETWORK_ERROR', 'The client is gone')));
      const refuse = () =>
        settle(() => reject(tooMany(`none of the ${limit} that run ended within ${waitMs} ms`)));
      const timer = waitMs === undefined ? undefined : setTimeout(refuse, waitMs);
      this.#waiting.push(waiter);
      if (signal?.aborted === true) leave();
      else signal?.addEventListener('abort', leave);
    });
  }

  #startNext(): void {
    const next = this.#waiting.find(({ lane }) => this.#isFree(lane));
    if (next === undefined) return;
    this.#running[next.lane] += 1;
    next.start();
  }
}

function tooMany(what: string): EngineError {
  const message = `Too many simultaneous queries: ${what}. Try again later`;
  return new EngineError(202, 'TOO_MANY_SIMULTANEOUS_QUERIES', message, 503);
}
