/** Failures of one kind in a row: told of once they are no accident, and once more when they are over. */

/** So many in a row are not worth a word: the next try is often better. */
const patientTries = 3;

/** Counts them. */
export class Streak {
  readonly #tell: (reason: string | undefined) => void;
  #length = 0;
  #isTold = false;

  /** `tell`: called with the reason when it may have changed, and with undefined when the failures are over. */
  constructor(tell: (reason: string | undefined) => void) {
    this.#tell = tell;
  }

  /** Failures so far. */
  get length(): number {
    return this.#length;
  }

  /** One more. `reason`: of the whole, for a person. */
  failed(reason: string): void {
    if (++this.#length <= patientTries) return;
    this.#isTold = true;
    this.#tell(reason);
  }

  /** It worked, or nobody tries any more. */
  ended(): void {
    this.#length = 0;
    if (!this.#isTold) return;
    this.#isTold = false;
    this.#tell(undefined);
  }
}
