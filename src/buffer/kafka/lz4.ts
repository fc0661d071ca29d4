/**
 * LZ4 frames, unpacked into memory that is there already and never beyond a limit: what a frame says of its size is
 * its writer's word, and a block may grow 255 times. Checksums are not looked at: that of the record batch covers them.
 * Source: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md
 */
import { copyShort, viewOf } from '../records.ts';
import { damaged, tooLarge } from './record-batch.ts';

/** Takes decompressed bytes. */
export interface Target {
  /** Memory with room for so many bytes more behind {@link length}. */
  reserve(bytes: number): Uint8Array;
  /** Bytes used. */
  length: number;
}

const frameMagic = 0x184d2204;
/** Bits of the frame's flags. */
const flags = { blockChecksum: 0x10, contentSize: 0x08, contentChecksum: 0x04, dictionary: 0x01 } as const;
/** Largest size of a block by its number in the frame's head: 64 KiB, 256 KiB, 1 MiB, 4 MiB. */
const blockSizeOf = (number: number): number => 2 ** (8 + 2 * number);
/** Set in the length of a block that is stored as it is. */
const isStored = 0x80000000;
/** A byte of a compressed block makes at most this many. */
const largestGrowth = 255;
/** Longer pieces are copied at one go. */
const longBytes = 256;

/**
 * Unpacks frames, one after another, and appends at most `maxBytes`.
 * @throws UnreadableBatchError when they are damaged, or hold more
 */
export function appendLz4(source: Buffer, target: Target, maxBytes: number): void {
  const limit = target.length + maxBytes;
  for (let read = 0; read < source.length; ) read = appendFrame(source, read, { target, limit, maxBytes });
}

/** Where a frame goes: `limit` is the last position that may be written, exclusive. */
interface FrameTarget {
  readonly target: Target;
  readonly limit: number;
  readonly maxBytes: number;
}

/** @returns position after the frame */
function appendFrame(source: Buffer, start: number, { target, limit, maxBytes }: FrameTarget): number {
  if (start + 7 > source.length || source.readUInt32LE(start) !== frameMagic) throw notLz4();
  const flag = source[start + 4] as number;
  const blockSize = blockSizeOf(((source[start + 5] as number) >> 4) & 7);
  if (flag >> 6 !== 1 || (flag & flags.dictionary) !== 0 || blockSize < 65_536) throw notLz4();
  const frameBegin = target.length;
  let read = start + 7 + ((flag & flags.contentSize) === 0 ? 0 : 8);
  for (;;) {
    if (read + 4 > source.length) throw notLz4();
    const head = source.readUInt32LE(read);
    read += 4;
    if (head === 0) return read + ((flag & flags.contentChecksum) === 0 ? 0 : 4);
    const length = head % isStored;
    if (length > blockSize || read + length > source.length) throw notLz4();
    const block = source.subarray(read, read + length);
    read += length + ((flag & flags.blockChecksum) === 0 ? 0 : 4);
    const most = Math.min(head >= isStored ? length : largestGrowth * length, blockSize);
    const end = Math.min(target.length + most, limit);
    const memory = target.reserve(end - target.length);
    if (head < isStored) {
      const written = unpackBlock(block, memory, { at: target.length, begin: frameBegin, end });
      if (written === undefined) throw end === limit ? tooLarge(maxBytes) : notLz4();
      target.length = written;
    } else {
      if (target.length + length > limit) throw tooLarge(maxBytes);
      memory.set(block, target.length);
      target.length += length;
    }
  }
}

/**
 * Unpacks a block to `at`; what it repeats may reach back to `begin`.
 * @returns position after it; undefined when it would go beyond `end`
 * @throws UnreadableBatchError when it is damaged
 */
function unpackBlock(
  source: Uint8Array,
  target: Uint8Array,
  { at, begin, end }: { at: number; begin: number; end: number },
): number | undefined {
  const sourceView = viewOf(source);
  const targetView = viewOf(target);
  let read = 0;
  let written = at;
  while (read < source.length) {
    const token = source[read++] as number;
    let literals = token >> 4;
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) more = byteAt(source, read++);
    }
    if (read + literals > source.length) throw notLz4();
    if (written + literals > end) return undefined;
    if (literals > longBytes) target.set(source.subarray(read, read + literals), written);
    else copyShort(sourceView, read, read + literals, targetView, written);
    read += literals;
    written += literals;
    // The last sequence of a block has literals alone.
    if (read === source.length) return written;
    const distance = byteAt(source, read) + byteAt(source, read + 1) * 256;
    read += 2;
    let length = token & 15;
    if (length === 15) {
      for (let more = 255; more === 255; length += more) more = byteAt(source, read++);
    }
    length += 4;
    if (distance === 0 || written - distance < begin) throw notLz4();
    if (written + length > end) return undefined;
    const earlier = written - distance;
    if (length > longBytes && distance >= length) target.copyWithin(written, earlier, earlier + length);
    else if (distance >= 4) copyShort(targetView, earlier, earlier + length, targetView, written);
    else for (let i = 0; i < length; i++) target[written + i] = target[earlier + i] as number;
    written += length;
  }
  throw notLz4();
}

function byteAt(source: Uint8Array, at: number): number {
  const byte = source[at];
  if (byte === undefined) throw notLz4();
  return byte;
}

function notLz4(): Error {
  return damaged('its records are not valid LZ4');
}
