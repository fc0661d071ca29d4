/** The end of what was read: whether there is a record in it. */
import type { ReadResult } from '../buffer.ts';

/** Follows reads of one partition. Markers of transactions, and what was rolled back, have offsets and are no records. */
export class ReadTail {
  /** The last offsets that were read without a gap: up to `next`, and no record from `recordsEnd` on. */
  #seen: { readonly recordsEnd: number; readonly next: number } | undefined;

  /** A read from the position `from` brought this. */
  note(from: number, { blocks, next }: ReadResult): void {
    const block = blocks.at(-1);
    const last = block?.offsets[block.count - 1];
    const before = this.#seen?.next === from ? this.#seen.recordsEnd : from;
    this.#seen = { recordsEnd: last === undefined ? before : last + 1, next };
  }

  /** The offset before which nothing is left to deliver, when everything before `committed` is delivered. */
  deliveredUpTo(committed: number): number {
    if (this.#seen === undefined || committed < this.#seen.recordsEnd) return committed;
    return Math.max(committed, this.#seen.next);
  }
}
