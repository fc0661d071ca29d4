/** How the inserts of one partition follow one another: few and large when much comes, soon when little does. */

/** Share of the age that the first rows after a pause wait for those that come with them. */
const lingerShare = 0.1;

/**
 * A batch is due when the insert before it began `ageMs` ago and has ended. So there is at most one insert in that
 * time, whatever comes, unless batches get full; rows wait at most that long; when ClickHouse is slow the next batch
 * grows meanwhile; and after a pause rows go at once, but for a tenth of the time. Times are those of
 * `performance.now()`.
 */
export class Pace {
  readonly #ageMs: number;
  #beganAt = Number.NEGATIVE_INFINITY;
  #isInserting = false;

  constructor(ageMs: number) {
    this.#ageMs = ageMs;
  }

  /** Whether an insert is under way: no batch is due before it ends. */
  get isInserting(): boolean {
    return this.#isInserting;
  }

  /** An insert begins. */
  begin(): void {
    this.#beganAt = performance.now();
    this.#isInserting = true;
  }

  /** It has ended. */
  end(): void {
    this.#isInserting = false;
  }

  /** When a batch is due at the earliest whose first rows were read at `firstAt`; undefined: there are none yet. */
  dueAt(firstAt: number | undefined): number {
    const next = this.#beganAt + this.#ageMs;
    return firstAt === undefined ? next : Math.max(next, firstAt + this.#ageMs * lingerShare);
  }
}
