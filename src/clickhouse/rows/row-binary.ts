/** The few pieces of ClickHouse's RowBinary that the streamer writes; those of Native are the same. */

/** Most bytes of a length below 2^35. */
export const varintBytes = 5;

/** Writes a length, seven bits a byte, lowest first; gives the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let position = at;
  while (rest >= 0x80) {
    target[position++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[position++] = rest;
  return position;
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
