import { randomUUID } from 'node:crypto';
import type { Environment } from './environment.ts';

/** How it is stored. */
interface StoredLease {
  readonly holder: string;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/**
 * Says which one of several processes should read as a group, so that they do not take it over from each
 * other in turn. It does no more than that: what keeps two readers from both committing is the generation.
 */
export class Lease {
  readonly #environment: Environment;
  readonly #key: [string, string];
  readonly #durationMs: number;
  readonly #holder = randomUUID();

  /** `durationMs` is how long it lasts without being taken again. */
  constructor(environment: Environment, group: string, durationMs: number) {
    this.#environment = environment;
    this.#key = ['lease', group];
    this.#durationMs = durationMs;
  }

  /**
   * Takes it, or prolongs it; false while another process has it.
   * @throws BufferUnavailableError when the disk takes no writes
   */
  async take(): Promise<boolean> {
    this.#environment.refresh();
    if (!this.#isFree()) return false;
    return await this.#environment.write(() => {
      if (!this.#isFree()) return false;
      const lease: StoredLease = { holder: this.#holder, untilMs: Date.now() + this.#durationMs };
      this.#environment.meta.putSync(this.#key, lease);
      return true;
    });
  }

  /** Gives it back, so that another process need not wait until it has run out. */
  async release(): Promise<void> {
    await this.#environment.write(() => {
      if (this.#read()?.holder === this.#holder) this.#environment.meta.removeSync(this.#key);
    });
  }

  #isFree(): boolean {
    const stored = this.#read();
    if (stored === undefined || stored.holder === this.#holder) return true;
    const leftMs = stored.untilMs - Date.now();
    // More than its whole time is left: the clock was set back since.
    return leftMs <= 0 || leftMs > this.#durationMs;
  }

  #read(): StoredLease | undefined {
    return this.#environment.meta.get(this.#key) as StoredLease | undefined;
  }
}
