/** Decompression of record batches, for every codec a producer may have used, each within a limit. */
import zlib from 'node:zlib';
import { appendLz4, type Target } from './lz4.ts';
import { codecs } from './record-batch.ts';
import { snappySize, unpackSnappy } from './snappy.ts';
import { damaged, NotReadableHereError, tooLarge, UnreadableBatchError } from './unreadable.ts';

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
    throw damaged(`its records are not what ${name} writes`);
  }
}
