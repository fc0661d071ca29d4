/** When events that wait are appended: at once, or a moment later and together with those that come meanwhile. */

/** This many waiting events do not wait for more: what an append costs is small beside what they cost. */
const enoughEvents = 32;
/** Shortest time over which the rate of events is measured. */
const leastSampleMs = 5;

/**
 * Spaces appends out while events come fast. An append costs about as much as five events, in the collector and again
 * in the broker, so with few events in each it is most of the cost. A lone event never
 * waits, 32 events do not, and the batcher lets no full batch wait.
 */
export class AppendPace {
  readonly #intervalMs: number;
  readonly #sampleMs: number;
  #lastAppendAt = Number.NEGATIVE_INFINITY;
  /** Events appended in this sample so far, less those that waited when it began. */
  #events = 0;
  #sampleFrom = 0;
  #isFast = false;

  /** @param intervalMs shortest time between appends while more than two events come in it; 0: none */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#sampleMs = Math.max(leastSampleMs, intervalMs);
  }

  /** How long the `waiting` events wait from `now` on, in ms; 0 or less: not at all. */
  waitMs(now: number, waiting: number): number {
    if (this.#intervalMs === 0 || waiting >= enoughEvents) return 0;
    const sample = now - this.#sampleFrom;
    if (sample > this.#sampleMs) {
      this.#isFast = (this.#events + waiting) * this.#intervalMs > 2 * sample;
      this.#sampleFrom = now;
      this.#events = -waiting;
    }
    return this.#isFast ? this.#intervalMs - (now - this.#lastAppendAt) : 0;
  }

  /** This many events are appended now. */
  appended(now: number, events: number): void {
    this.#lastAppendAt = now;
    this.#events += events;
  }
}
