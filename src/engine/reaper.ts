/** Ends queries that nobody waits for any more, or that take longer than they may. */
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from './error.ts';

/** What a query runs under. */
export interface Watch {
  /** Whoever asked is gone. */
  readonly signal?: AbortSignal | undefined;
  /** Longest time, milliseconds, should the engine's own limit not end it. Without it there is none. */
  readonly maxMs?: number | undefined;
}

/** One query that is watched. */
export interface Watched {
  /** What the client is told of what the query ended with. */
  explain(error: EngineError): EngineError;
  /** The query has ended. */
  end(): void;
}

/** A query that has not come into the list of those that run, or does not look whether it was cancelled, is told again. */
const repeatMs = 500;

export class Reaper {
  readonly #kill: (tags: readonly string[]) => Promise<void>;
  readonly #condemned = new Set<string>();
  #isAtWork = false;

  /** @param kill cancels the queries with these tags, as far as they run. It must not throw */
  constructor(kill: (tags: readonly string[]) => Promise<void>) {
    this.#kill = kill;
  }

  /**
   * Watches over a query from now on.
   * @throws EngineError 210 when its client is gone already
   */
  watch(tag: string, { signal, maxMs }: Watch): Watched {
    if (signal?.aborted === true) throw gone();
    let isLate = false;
    const condemn = () => {
      this.#condemned.add(tag);
      void this.#work();
    };
    const expire = () => {
      isLate = true;
      condemn();
    };
    signal?.addEventListener('abort', condemn);
    const timer = maxMs === undefined ? undefined : setTimeout(expire, maxMs);
    return {
      explain: (error) => (isLate ? expired(maxMs) : error),
      end: () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', condemn);
        this.#condemned.delete(tag);
      },
    };
  }

  async #work(): Promise<void> {
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    while (this.#condemned.size > 0) {
      await this.#kill([...this.#condemned]);
      await delay(repeatMs);
    }
    this.#isAtWork = false;
  }
}

function gone(): EngineError {
  return new EngineError(210, 'NETWORK_ERROR', 'The client is gone');
}

function expired(maxMs = 0): EngineError {
  return new EngineError(159, 'TIMEOUT_EXCEEDED', `Timeout exceeded: the query was ended after ${maxMs} ms`);
}
