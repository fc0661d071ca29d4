/**
 * Variable-length integers as Kafka records use them: zig-zag, seven bits a byte, least significant first.
 * Numbers, not bigints: what they carry (lengths, deltas of offsets and milliseconds) fits 53 bits.
 */

import { damaged } from './unreadable.ts';

/** Bytes that `value` takes as a varint. `value` is a safe integer. */
export function varintSize(value: number): number {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  let size = 1;
  while (rest >= 0x80) {
    rest = Math.floor(rest / 0x80);
    size++;
  }
  return size;
}

/** Writes `value`, a safe integer, at `at`; returns the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  let position = at;
  while (rest >= 0x80) {
    target[position++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[position++] = rest;
  return position;
}

/** Reads varints one after another; a cursor, so that reading makes no objects. */
export class VarintReader {
  readonly bytes: Uint8Array;
  position: number;

  constructor(bytes: Uint8Array, position = 0) {
    this.bytes = bytes;
    this.position = position;
  }

  /**
   * The next varint.
   * @throws UnreadableBatchError when the bytes end within it or it does not fit a safe integer
   */
  read(): number {
    const { bytes } = this;
    const first = bytes[this.position++];
    // Most are one byte long: deltas of 0, the null key, the count of headers.
    if (first !== undefined && first < 0x80) return (first >>> 1) ^ -(first & 1);
    if (first === undefined) throw damaged('a record ends within a number');
    let value = first & 0x7f;
    let scale = 0x80;
    for (;;) {
      const byte = bytes[this.position++];
      if (byte === undefined) throw damaged('a record ends within a number');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 0x80;
      if (scale > 2 ** 56) throw damaged('a number in a record is too large');
    }
    if (value > Number.MAX_SAFE_INTEGER) throw damaged('a number in a record is too large');
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
