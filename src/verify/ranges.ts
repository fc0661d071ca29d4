/** Ranges of offsets: half open, in order, not touching each other. */

/** Offsets with start <= offset < end. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Offsets that were found, in ascending order: counts all of them, keeps the first ranges. */
export interface FoundRanges {
  readonly offsets: number;
  readonly ranges: readonly Range[];
  /** Whether there are more ranges than are kept. */
  readonly isCut: boolean;
}

/** Ranges that a report lists; what lies beyond is counted. */
export const mostListed = 1_000;

/** Collects {@link FoundRanges} in bounded memory. */
export class RangeList implements FoundRanges {
  readonly ranges: Range[] = [];
  offsets = 0;
  isCut = false;

  /** Adds a range that starts where the last one ended, or later. */
  add({ start, end }: Range): void {
    if (end <= start) return;
    this.offsets += end - start;
    const last = this.ranges.at(-1);
    if (last !== undefined && last.end === start && !this.isCut)
      this.ranges[this.ranges.length - 1] = { start: last.start, end };
    else if (this.ranges.length < mostListed) this.ranges.push({ start, end });
    else this.isCut = true;
  }
}

/** The part of a range that lies within another; empty ranges end where they start. */
export function clip({ start, end }: Range, within: Range): Range {
  const from = Math.max(start, within.start);
  return { start: from, end: Math.max(from, Math.min(end, within.end)) };
}

/** What two ordered lists have in common. */
export function* intersect(a: Iterable<Range>, b: RangeSet): Generator<Range> {
  for (const range of a) yield* b.within(range);
}

const firstCompaction = 65_536;

/** Ranges from the end within which a place is looked for: posts in flight at once get answers in any order. */
const mostOutOfOrder = 64;

/**
 * A set of offsets that grows in any order: 16 bytes for each range. The ranges of a client that posts in order,
 * or on many connections at once, are few at any time.
 */
export class RangeSet {
  #bounds = new Float64Array(1_024);
  #count = 0;
  #compactAt = firstCompaction;
  #isSorted = true;

  /** The set with these ranges; `bounds` is as {@link toBounds} gives it, and belongs to the set from now on. */
  static fromBounds(bounds: Float64Array): RangeSet {
    const set = new RangeSet();
    if (bounds.length > 0) set.#bounds = bounds as Float64Array<ArrayBuffer>;
    set.#count = bounds.length / 2;
    return set;
  }

  /** A copy of all ranges in order, start and end of each: what can be sent to another thread. */
  toBounds(): Float64Array<ArrayBuffer> {
    this.#compact();
    return this.#bounds.slice(0, 2 * this.#count);
  }

  add(start: number, end: number): void {
    const last = 2 * this.#count - 1;
    if (this.#count > 0 && this.#bounds[last] === start) {
      this.#bounds[last] = end;
      return;
    }
    if (this.#count > 0 && start < (this.#bounds[last] as number)) {
      if (this.#isSorted && this.#insertNearEnd(start, end)) return;
      this.#isSorted = false;
    }
    this.#insertAt(this.#count, start, end);
    if (this.#count >= this.#compactAt) {
      this.#compact();
      this.#compactAt = Math.max(firstCompaction, 2 * this.#count);
    }
  }

  /** Puts a range before one of the last ones, joined with its neighbours; false when it belongs elsewhere. */
  #insertNearEnd(start: number, end: number): boolean {
    const lowest = Math.max(0, this.#count - mostOutOfOrder);
    let index = this.#count;
    while (index > lowest && (this.#bounds[2 * index - 2] as number) >= end) index--;
    const previousEnd = index === 0 ? -1 : (this.#bounds[2 * index - 1] as number);
    // Overlaps are rare, and left to the sort.
    if (index === this.#count || previousEnd > start || (index === lowest && index > 0)) return false;
    const joinsNext = this.#bounds[2 * index] === end;
    if (previousEnd === start && joinsNext) {
      this.#bounds[2 * index - 1] = this.#bounds[2 * index + 1] as number;
      this.#bounds.copyWithin(2 * index, 2 * index + 2, 2 * this.#count);
      this.#count--;
    } else if (previousEnd === start) this.#bounds[2 * index - 1] = end;
    else if (joinsNext) this.#bounds[2 * index] = start;
    else this.#insertAt(index, start, end);
    return true;
  }

  #insertAt(index: number, start: number, end: number): void {
    if (2 * this.#count === this.#bounds.length) {
      const grown = new Float64Array(2 * this.#bounds.length);
      grown.set(this.#bounds);
      this.#bounds = grown;
    }
    if (index < this.#count) this.#bounds.copyWithin(2 * index + 2, 2 * index, 2 * this.#count);
    this.#bounds[2 * index] = start;
    this.#bounds[2 * index + 1] = end;
    this.#count++;
  }

  /** Distinct offsets. */
  get offsets(): number {
    let offsets = 0;
    for (const { start, end } of this) offsets += end - start;
    return offsets;
  }

  /** From the lowest offset to the highest; undefined when it is empty. */
  get hull(): Range | undefined {
    this.#compact();
    if (this.#count === 0) return undefined;
    return { start: this.#bounds[0] as number, end: this.#bounds[2 * this.#count - 1] as number };
  }

  *[Symbol.iterator](): Generator<Range> {
    this.#compact();
    for (let i = 0; i < this.#count; i++) yield this.#at(i);
  }

  /** The parts of the set that lie within a range. */
  *within(range: Range): Generator<Range> {
    this.#compact();
    for (let i = this.#firstEndingAfter(range.start); i < this.#count; i++) {
      const own = this.#at(i);
      if (own.start >= range.end) return;
      yield clip(own, range);
    }
  }

  #at(index: number): Range {
    return { start: this.#bounds[2 * index] as number, end: this.#bounds[2 * index + 1] as number };
  }

  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#bounds[2 * middle + 1] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Sorts and merges. */
  #compact(): void {
    if (this.#isSorted) return;
    const order = Uint32Array.from({ length: this.#count }, (_, i) => i);
    const bounds = this.#bounds;
    order.sort((a, b) => (bounds[2 * a] as number) - (bounds[2 * b] as number));
    const merged = new Float64Array(bounds.length);
    let count = 0;
    for (const index of order) {
      const start = bounds[2 * index] as number;
      const end = bounds[2 * index + 1] as number;
      if (count > 0 && start <= (merged[2 * count - 1] as number)) {
        merged[2 * count - 1] = Math.max(merged[2 * count - 1] as number, end);
      } else {
        merged[2 * count] = start;
        merged[2 * count + 1] = end;
        count++;
      }
    }
    this.#bounds = merged;
    this.#count = count;
    this.#isSorted = true;
  }
}
