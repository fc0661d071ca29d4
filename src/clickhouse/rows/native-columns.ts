/** Columns as ClickHouse's Native format has them, growing row by row. */
import { copyShort, varintBytes, viewOf, writeVarint } from '../../buffer/records.ts';

const initialBytes = 64 * 1024;
const initialRows = 1_024;
/** Longer texts are copied at one go. */
const longBytes = 256;
const wordRange = 2 ** 32;
/** A column that is filled again keeps memory of which it used at least this share. */
const keptShare = 0.25;

/** Texts, each behind its length: a column of String. */
export class TextColumn {
  #bytes: Buffer = Buffer.allocUnsafeSlow(initialBytes);
  #view = viewOf(this.#bytes);
  /** What was copied from last: many texts come from one memory. */
  #source: Uint8Array | undefined;
  #sourceView = this.#view;
  #ends = new Uint32Array(initialRows);
  #count = 0;
  #length = 0;

  /** Number of texts. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the column. */
  get length(): number {
    return this.#length;
  }

  /** Appends `source[start .. end)`. */
  add(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const bytes = this.#reserve(length);
    const at = writeVarint(bytes, this.#length, length);
    if (length > longBytes) bytes.set(source.subarray(start, end), at);
    else copyShort(this.#viewOf(source), start, end, this.#view, at);
    this.#finish(at + length);
  }

  /** Appends a text, in UTF-8. */
  addText(text: string): void {
    const length = Buffer.byteLength(text);
    const bytes = this.#reserve(length);
    const at = writeVarint(bytes, this.#length, length);
    this.#finish(at + bytes.write(text, at));
  }

  /** Text `index`, without its length: a view, valid until the next `add` or `clear`. */
  get(index: number): Buffer {
    const end = this.#ends[index] as number;
    let at = this.#start(index);
    while ((this.#bytes[at] as number) >= 0x80) at++;
    return this.#bytes.subarray(at + 1, end);
  }

  /** Whether text `index` is empty. */
  isEmpty(index: number): boolean {
    return (this.#ends[index] as number) === this.#start(index) + 1;
  }

  /** The column from row `from` to before row `to`: a view, valid until the next `add` or `clear`. */
  slice(from: number, to: number): Buffer {
    return this.#bytes.subarray(this.#start(from), this.#start(to));
  }

  /** Empties the column and keeps its memory, unless that was much more than it needed. */
  clear(): void {
    if (this.#length < this.#bytes.length * keptShare) this.#use(Buffer.allocUnsafeSlow(initialBytes));
    this.#source = undefined;
    this.#sourceView = this.#view;
    if (this.#count < this.#ends.length * keptShare) this.#ends = new Uint32Array(initialRows);
    this.#count = 0;
    this.#length = 0;
  }

  #start(index: number): number {
    return index === 0 ? 0 : (this.#ends[index - 1] as number);
  }

  #finish(end: number): void {
    if (this.#count === this.#ends.length) this.#ends = doubled(this.#ends);
    this.#ends[this.#count++] = end;
    this.#length = end;
  }

  #reserve(bytes: number): Buffer {
    const needed = this.#length + varintBytes + bytes;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#use(grown);
    }
    return this.#bytes;
  }

  #use(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  #viewOf(source: Uint8Array): DataView {
    if (source !== this.#source) {
      this.#source = source;
      this.#sourceView = viewOf(source);
    }
    return this.#sourceView;
  }
}

/** Whole numbers below 2^53: a column of Int64, UInt64 or DateTime64. */
export class Int64Column {
  /** Low and high half of each: a BigInt for each would cost more than all else. */
  #words = new Uint32Array(2 * initialRows);
  #count = 0;

  add(value: number): void {
    if (2 * this.#count === this.#words.length) this.#words = doubled(this.#words);
    const at = 2 * this.#count++;
    // Both are taken modulo 2^32, which is two's complement for a negative one.
    this.#words[at] = value;
    this.#words[at + 1] = Math.floor(value / wordRange);
  }

  get(index: number): number {
    const high = (this.#words[2 * index + 1] as number) | 0;
    return high * wordRange + (this.#words[2 * index] as number);
  }

  /** The column from row `from` to before row `to`: a view, valid until the next `add` or `clear`. */
  slice(from: number, to: number): Buffer {
    return Buffer.from(this.#words.buffer, 8 * from, 8 * (to - from));
  }

  /** Empties the column and keeps its memory, unless that was much more than it needed. */
  clear(): void {
    if (2 * this.#count < this.#words.length * keptShare) this.#words = new Uint32Array(2 * initialRows);
    this.#count = 0;
  }
}

function doubled(from: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const to = new Uint32Array(2 * from.length);
  to.set(from);
  return to;
}

/** Gathers rows of small tables. Not for the events themselves: it allocates for each value. */
export class RowBinary {
  readonly #pieces: Uint8Array[] = [];

  text(value: string | Uint8Array): this {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    this.length(bytes.length).#pieces.push(bytes);
    return this;
  }

  /** A length, or in Native a number of rows or columns. */
  length(value: number): this {
    const bytes = Buffer.allocUnsafe(varintBytes);
    this.#pieces.push(bytes.subarray(0, writeVarint(bytes, 0, value)));
    return this;
  }

  uint32(value: number): this {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeUInt32LE(value);
    this.#pieces.push(bytes);
    return this;
  }

  /** Also for DateTime64(3), in milliseconds since the epoch. */
  int64(value: number): this {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeBigInt64LE(BigInt(value));
    this.#pieces.push(bytes);
    return this;
  }

  /** All rows so far. */
  build(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}
