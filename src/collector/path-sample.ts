/** Tells how many distinct paths events have: one that grows and grows means that somebody uses ids as keys. */

/** One of so many events is looked at. */
const sampled = 64;
/** Paths remembered; beyond that the number alone says enough. */
const mostPaths = 10_000;
/** How long a path counts, milliseconds. */
const windowMs = 3_600_000;

/** Distinct dotted paths among a sample of the events of the last one to two hours. */
export class PathSample {
  readonly #now: () => number;
  #count = 0;
  #paths = new Set<string>();
  #before = 0;
  #startedAt: number;

  /** @param now milliseconds of a clock that only goes forward */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startedAt = now();
  }

  /** Takes every 64th event into account, beginning with the first. */
  add(event: unknown): void {
    if (this.#count++ % sampled !== 0) return;
    this.#turn();
    this.#addPaths(event, '');
  }

  /** Distinct paths, 0 to 10,000: of the current hour or of the one before, whichever had more. */
  size(): number {
    this.#turn();
    return Math.max(this.#paths.size, this.#before);
  }

  #turn(): void {
    const now = this.#now();
    const windows = Math.floor((now - this.#startedAt) / windowMs);
    if (windows === 0) return;
    this.#before = windows === 1 ? this.#paths.size : 0;
    this.#paths = new Set();
    this.#startedAt += windows * windowMs;
  }

  /** Objects within arrays are no paths of their own. */
  #addPaths(value: unknown, prefix: string): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      if (this.#paths.size < mostPaths) this.#paths.add(prefix);
      return;
    }
    for (const [key, inner] of Object.entries(value)) {
      if (this.#paths.size >= mostPaths) return;
      this.#addPaths(inner, prefix === '' ? key : `${prefix}.${key}`);
    }
  }
}
