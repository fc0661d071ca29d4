/**
 * Counts the bytes that requests make this process hold, and refuses more than the cap: memory is bounded by
 * what clients may occupy, not by how fast the buffer happens to be.
 */
export class ByteBudget {
  readonly max: number;
  #used = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Bytes held now. */
  get used(): number {
    return this.#used;
  }

  /** Takes `bytes`; false when that would pass the cap, and then takes nothing. */
  tryTake(bytes: number): boolean {
    if (this.#used + bytes > this.max) return false;
    this.#used += bytes;
    return true;
  }

  /** Gives back bytes taken before. */
  give(bytes: number): void {
    this.#used -= bytes;
  }
}
