import type { Logger } from 'pino';
import type { DependencyState } from '../buffer/buffer.ts';

/** Logs a state that is looked at again and again: once when it is no longer ok, and once when it is again. */
export class StateLog {
  readonly #log: Logger;
  readonly #restored: string;
  #isTold = false;

  /** @param restored what the log says when it is ok again */
  constructor(log: Logger, restored: string) {
    this.#log = log;
    this.#restored = restored;
  }

  /** Notes the state as it is now. */
  note(state: DependencyState): void {
    if (!state.ok && !this.#isTold) this.#log.warn(state.detail);
    if (state.ok && this.#isTold) this.#log.info(this.#restored);
    this.#isTold = !state.ok;
  }
}
