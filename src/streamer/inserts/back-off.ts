import { setTimeout as sleep } from 'node:timers/promises';
import { FencedError } from '../../buffer/buffer.ts';

const firstMs = 100;
const mostMs = 10_000;

/** Waits longer each time, with jitter, so that many streamers do not come back together. */
export class BackOff {
  #nextMs = firstMs;

  /**
   * Waits for the next step.
   * @throws FencedError when `signal` aborts meanwhile
   */
  async wait(signal: AbortSignal): Promise<void> {
    const ms = this.#nextMs * (0.5 + Math.random() / 2);
    this.#nextMs = Math.min(this.#nextMs * 2, mostMs);
    try {
      await sleep(ms, undefined, { signal });
    } catch {
      throw new FencedError('stopped while waiting to try again');
    }
  }
}
