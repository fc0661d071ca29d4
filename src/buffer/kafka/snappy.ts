/**
 * Snappy, unpacked into memory that is there already. The native library makes new memory outside of the heap for
 * each call: 2 us for a batch of three small records against 0.3 us here. For 200 of them it is 3 us against 4, but
 * the garbage collector makes that 40 at times (Node.js 20, snappy 7.4).
 * Source: https://github.com/google/snappy/blob/main/format_description.txt
 */
import { copyShort, viewOf } from '../copy-short.ts';
import { damaged } from './unreadable.ts';

/** Positions within the records of a fetch are 32-bit integers. */
const maxSize = 2 ** 31 - 1;
/** Longer pieces are copied at one go. */
const longBytes = 256;

/**
 * Size of what a block unpacks to.
 * @throws UnreadableBatchError when it is damaged
 */
export function snappySize(source: Uint8Array): number {
  return readSize(source).size;
}

/**
 * Unpacks a block to `at` in `target`, which must have room for it; gives the position after it.
 * @throws UnreadableBatchError when it is damaged; what `target` held before `at` is untouched
 */
export function unpackSnappy(source: Uint8Array, target: Uint8Array, at: number): number {
  const { size, next } = readSize(source);
  const sourceView = viewOf(source);
  const targetView = viewOf(target);
  const end = at + size;
  let read = next;
  let written = at;
  while (read < source.length) {
    const tag = source[read++] as number;
    const kind = tag & 3;
    let length = (tag >>> 2) + 1;
    if (kind === 0) {
      if (length > 60) {
        const width = length - 60;
        length = readUint(source, read, width) + 1;
        read += width;
      }
      if (read + length > source.length || written + length > end) throw notSnappy();
      if (length > longBytes) target.set(source.subarray(read, read + length), written);
      else copyShort(sourceView, read, read + length, targetView, written);
      read += length;
    } else {
      let distance: number;
      if (kind === 1) {
        length = ((tag >>> 2) & 7) + 4;
        distance = ((tag >>> 5) << 8) | (source[read++] ?? 0);
      } else {
        const width = kind === 2 ? 2 : 4;
        distance = readUint(source, read, width);
        read += width;
      }
      if (distance === 0 || distance > written - at || written + length > end || read > source.length)
        throw notSnappy();
      const earlier = written - distance;
      if (distance >= 4) copyShort(targetView, earlier, earlier + length, targetView, written);
      else for (let i = 0; i < length; i++) target[written + i] = target[earlier + i] as number;
    }
    written += length;
  }
  if (written !== end) throw notSnappy();
  return written;
}

function readSize(source: Uint8Array): { size: number; next: number } {
  let size = 0;
  for (let i = 0, scale = 1; i < 5; i++, scale *= 0x80) {
    const byte = source[i];
    if (byte === undefined) break;
    size += (byte & 0x7f) * scale;
    if (byte < 0x80 && size <= maxSize) return { size, next: i + 1 };
  }
  throw notSnappy();
}

/** Little-endian; bytes beyond the end count as 0: whoever asks checks where it ends up. */
function readUint(source: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 0x100 + (source[at + i] ?? 0);
  return value;
}

function notSnappy(): Error {
  return damaged('its records are not what Snappy writes');
}
