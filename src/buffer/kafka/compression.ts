/**
 * Decompression of record batches, for every codec a producer may have used, each within a limit.
 *
 * Snappy, unpacked into memory that is there already. The native library makes new memory outside of the heap for
 * each call: 2 us for a batch of three small records against 0.3 us here. For 200 of them it is 3 us against 4, but
 * the garbage collector makes that 40 at times (Node.js 20, snappy 7.4).
 * Source: https://github.com/google/snappy/blob/main/format_description.txt
 */
import zlib from 'node:zlib';
import { copyShort, viewOf } from '../records.ts';
import { appendLz4, type Target } from './lz4.ts';
import { codecs, damaged, NotReadableHereError, tooLarge, UnreadableBatchError } from './record-batch.ts';

/**
 * Most bytes that the records of one batch may take, decompressed: as many as an insert takes by default
 * (--batch-bytes), and 32 times what Kafka lets a batch have by default (`max.message.bytes`). No option: a plan that
 * is read again must come to the same records, whoever reads it.
 */
export const maxRecordsBytes = 32 * 1024 * 1024;

/** Header of the block framing that Java's snappy library writes: magic, then two version numbers. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const xerialHeaderBytes = 16;
/** Memory that zstd may take to look back, as a power of two: that of {@link maxRecordsBytes}. */
const zstdWindowLog = 25;
/** zlib's and zstd's codes for having got no memory: nothing that the bytes are to blame for. */
const memoryCodes = new Set(['Z_MEM_ERROR', 'ZSTD_error_memory_allocation']);

type Inflate = (bytes: Buffer, options: zlib.ZlibOptions) => Buffer;
/** Node.js before 22.15 has no zstd. */
const zstd = zlib as unknown as {
  readonly zstdDecompressSync?: Inflate;
  readonly constants: { readonly ZSTD_d_windowLogMax: number };
};

/**
 * Decompresses the records of a batch and appends them, never more than {@link maxRecordsBytes}.
 * @throws UnreadableBatchError when the codec is unknown, the bytes are damaged or they would become more
 * @throws NotReadableHereError when they are compressed with zstd and this Node.js has none
 */
export function decompressRecords(codec: number, bytes: Buffer, target: Target): void {
  switch (codec) {
    case codecs.none:
      append(bytes, target);
      break;
    case codecs.gzip:
      append(inflate('gzip', zlib.gunzipSync, bytes), target);
      break;
    case codecs.snappy:
      appendSnappyBlocks(bytes, target);
      break;
    case codecs.lz4:
      appendLz4(bytes, target, maxRecordsBytes);
      break;
    case codecs.zstd:
      append(unpackZstd(bytes), target);
      break;
    default:
      throw new UnreadableBatchError('BATCH_UNSUPPORTED', `codec ${codec} of its records is unknown`);
  }
}

function append(bytes: Uint8Array, target: Target): void {
  if (bytes.length > maxRecordsBytes) throw tooLarge(maxRecordsBytes);
  target.reserve(bytes.length).set(bytes, target.length);
  target.length += bytes.length;
}

/** One block, or blocks with their lengths in front as written by Kafka's Java producer. */
function appendSnappyBlocks(bytes: Buffer, target: Target): void {
  const limit = target.length + maxRecordsBytes;
  // Few batches begin as the magic does: the others make no object for the comparison.
  if (bytes[0] !== xerialMagic[0] || !bytes.subarray(0, xerialMagic.length).equals(xerialMagic)) {
    appendSnappy(bytes, target, limit);
    return;
  }
  for (let position = xerialHeaderBytes; position < bytes.length; ) {
    const length = position + 4 <= bytes.length ? bytes.readInt32BE(position) : -1;
    const end = position + 4 + length;
    if (length < 0 || end > bytes.length) throw damaged('a block of its records does not end where it says');
    appendSnappy(bytes.subarray(position + 4, end), target, limit);
    position = end;
  }
}

/** A block says how much it unpacks to: nothing is reserved before that is known to fit. */
function appendSnappy(block: Buffer, target: Target, limit: number): void {
  const size = snappySize(block);
  if (target.length + size > limit) throw tooLarge(maxRecordsBytes);
  target.length = unpackSnappy(block, target.reserve(size), target.length);
}

function unpackZstd(bytes: Buffer): Buffer {
  if (zstd.zstdDecompressSync === undefined) {
    throw new NotReadableHereError(
      `its records are compressed with zstd, which Node.js ${process.versions.node} cannot read: run Millrace with Node.js 22.15 or newer`,
    );
  }
  const params = { [zstd.constants.ZSTD_d_windowLogMax]: zstdWindowLog };
  return inflate('zstd', zstd.zstdDecompressSync, bytes, { params });
}

function inflate(name: string, unpack: Inflate, bytes: Buffer, options: object = {}): Buffer {
  try {
    return unpack(bytes, { ...options, maxOutputLength: maxRecordsBytes });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ERR_BUFFER_TOO_LARGE' || code.endsWith('windowTooLarge')) throw tooLarge(maxRecordsBytes);
    if (!/^Z(STD)?_/.test(code) || memoryCodes.has(code)) throw error;
    throw damaged(`its records are not valid ${name}`);
  }
}

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
  return damaged('its records are not valid Snappy');
}
