/** A set of ids in typed arrays: each has a slot, a small number by which others keep what belongs to it. */
import { hash } from 'node:crypto';

const firstCapacity = 256;
const none = -1;

/**
 * Ids as the first 128 bits of their SHA-256: short, and nobody can find two ids that are equal here. Open
 * addressing with linear probing; at most three quarters of the places are taken.
 */
export class IdTable {
  readonly #maxIds: number;
  /** Four words for each slot; of a free slot, the first is the next free slot. */
  #words = new Uint32Array(4 * firstCapacity);
  /** Slot plus 1 by place; 0 is empty. */
  #places = new Uint32Array(2 * firstCapacity);
  #capacity = firstCapacity;
  #size = 0;
  /** Slots that were ever in use; those behind them are free too. */
  #used = 0;
  #free = none;
  // The id that `find` looked for last.
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;

  constructor(maxIds: number) {
    this.#maxIds = maxIds;
  }

  /** Number of ids. */
  get size(): number {
    return this.#size;
  }

  /** Slots are below this; it grows. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Bytes of memory. */
  get byteLength(): number {
    return this.#words.byteLength + this.#places.byteLength;
  }

  /** The slot of an id; -1 when it is absent. */
  find(id: string): number {
    const digest = hash('sha256', id, 'binary');
    this.#a = wordAt(digest, 0);
    this.#b = wordAt(digest, 4);
    this.#c = wordAt(digest, 8);
    this.#d = wordAt(digest, 12);
    const words = this.#words;
    const mask = this.#places.length - 1;
    for (let place = this.#a & mask; ; place = (place + 1) & mask) {
      const slot = (this.#places[place] as number) - 1;
      if (slot === none) return none;
      const at = 4 * slot;
      if (
        words[at] === this.#a &&
        words[at + 1] === this.#b &&
        words[at + 2] === this.#c &&
        words[at + 3] === this.#d
      ) {
        return slot;
      }
    }
  }

  /** Adds the id that `find` has just not found; gives its slot. There must be fewer than the most ids. */
  addMissing(): number {
    if (this.#size === this.#capacity) this.#grow();
    let slot = this.#free;
    if (slot === none) slot = this.#used++;
    // A chain of free slots ends with the word of -1.
    else this.#free = (this.#words[4 * slot] as number) | 0;
    this.#words[4 * slot] = this.#a;
    this.#words[4 * slot + 1] = this.#b;
    this.#words[4 * slot + 2] = this.#c;
    this.#words[4 * slot + 3] = this.#d;
    this.#place(slot);
    this.#size++;
    return slot;
  }

  /** Removes the id of a slot, which another may get. */
  remove(slot: number): void {
    const mask = this.#places.length - 1;
    let hole = this.#home(slot);
    while (this.#places[hole] !== slot + 1) hole = (hole + 1) & mask;
    // Those behind it move up, where that does not put them before their home: a search ends at a hole.
    for (let place = (hole + 1) & mask; ; place = (place + 1) & mask) {
      const moved = (this.#places[place] as number) - 1;
      if (moved === none) break;
      if (((place - this.#home(moved)) & mask) < ((place - hole) & mask)) continue;
      this.#places[hole] = moved + 1;
      hole = place;
    }
    this.#places[hole] = 0;
    this.#words[4 * slot] = this.#free;
    this.#free = slot;
    this.#size--;
  }

  #home(slot: number): number {
    return (this.#words[4 * slot] as number) & (this.#places.length - 1);
  }

  #place(slot: number): void {
    const mask = this.#places.length - 1;
    let place = this.#home(slot);
    while (this.#places[place] !== 0) place = (place + 1) & mask;
    this.#places[place] = slot + 1;
  }

  #grow(): void {
    this.#capacity = Math.min(this.#maxIds, Math.ceil(1.5 * this.#capacity));
    const words = new Uint32Array(4 * this.#capacity);
    words.set(this.#words);
    this.#words = words;
    let places = this.#places.length;
    while (places * 0.75 < this.#capacity) places *= 2;
    if (places === this.#places.length) return;
    this.#places = new Uint32Array(places);
    // It was full: every slot in use holds an id.
    for (let slot = 0; slot < this.#used; slot++) this.#place(slot);
  }
}

function wordAt(digest: string, at: number): number {
  return (
    (digest.charCodeAt(at) |
      (digest.charCodeAt(at + 1) << 8) |
      (digest.charCodeAt(at + 2) << 16) |
      (digest.charCodeAt(at + 3) << 24)) >>>
    0
  );
}
