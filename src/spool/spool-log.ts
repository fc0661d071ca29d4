/** What the log says about a spool: when events begin to go there, when it is drained, what is left at the end. */
import type { Logger } from 'pino';
import type { DependencyState } from '../buffer/buffer.ts';

/** Tells the story of a spool as one process sees it: of several that share it, one drains. */
export class SpoolLog {
  readonly #log: Logger;
  readonly #dir: string;
  #isEntered = false;
  /** When events last began to go to the spool, on the clock of `performance.now`. */
  #since = performance.now();
  /** Events that this process has drained since it was empty. */
  #drained = 0;

  constructor(log: Logger, dir: string) {
    this.#log = log;
    this.#dir = dir;
  }

  /** These events wait from an earlier run. */
  foundEvents(events: number): void {
    this.#isEntered = true;
    this.#log.warn(
      { events, dir: this.#dir },
      `${events} events of an earlier run wait in the spool; they go first`,
    );
  }

  /** Events went in. `buffer` is the state of the buffer that did not get them. */
  entered(buffer: DependencyState): void {
    if (this.#isEntered) return;
    this.#isEntered = true;
    this.#since = performance.now();
    const reason = buffer.ok ? '' : `: ${buffer.detail}`;
    this.#log.warn({ dir: this.#dir }, `events go to the spool in ${this.#dir} now${reason}`);
  }

  /** The buffer has acknowledged events of the spool. */
  drained(events: number): void {
    this.#drained += events;
  }

  /** This process has drained the last ones. */
  emptied(): void {
    const seconds = Math.round((performance.now() - this.#since) / 1_000);
    const events = this.#drained;
    this.left();
    if (events === 0) return;
    this.#drained = 0;
    this.#log.info(
      { events, seconds },
      `the spool is drained: ${events} events, ${seconds} s after they began to go there`,
    );
  }

  /** Nothing is in the spool, whoever drained it. */
  left(): void {
    this.#isEntered = false;
  }

  /** The process stops, and this many events stay. */
  stopped(events: number): void {
    if (events === 0) return;
    this.#log.warn(
      { events, dir: this.#dir },
      `stopped with ${events} events in the spool in ${this.#dir}: they are delivered after the next start`,
    );
  }
}
