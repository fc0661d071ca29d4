/** Decompression of record batches, for every codec a producer may have used. */
import { gunzipSync } from 'node:zlib';
import { compressionsAlgorithms } from '@platformatic/kafka';
import { codecs } from './record-batch.ts';
import { snappySize, unpackSnappy } from './snappy.ts';

/** Header of the block framing that Java's snappy library writes: magic, then two version numbers. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const xerialHeaderBytes = 16;

/** Takes what is decompressed. */
export interface Target {
  /** Memory with room for so many bytes more behind {@link length}. */
  reserve(bytes: number): Uint8Array;
  /** Bytes used. */
  length: number;
}

/**
 * Decompresses the records of a batch and appends them.
 * @throws Error when the codec is unknown, or is zstd on a Node that has none (before 22.15), or the bytes
 *   are damaged
 */
export function decompressRecords(codec: number, bytes: Buffer, target: Target): void {
  if (codec !== codecs.snappy) append(decompress(codec, bytes), target);
  else if (!bytes.subarray(0, xerialMagic.length).equals(xerialMagic)) appendSnappy(bytes, target);
  else {
    // Blocks, each with its length in front, as written by Kafka's Java producer.
    let position = xerialHeaderBytes;
    while (position + 4 <= bytes.length) {
      const end = position + 4 + bytes.readInt32BE(position);
      appendSnappy(bytes.subarray(position + 4, end), target);
      position = end;
    }
  }
}

function appendSnappy(block: Buffer, target: Target): void {
  const memory = target.reserve(snappySize(block));
  target.length = unpackSnappy(block, memory, target.length);
}

function append(bytes: Uint8Array, target: Target): void {
  target.reserve(bytes.length).set(bytes, target.length);
  target.length += bytes.length;
}

function decompress(codec: number, bytes: Buffer): Buffer {
  switch (codec) {
    case codecs.none:
      return bytes;
    case codecs.gzip:
      return gunzipSync(bytes);
    case codecs.lz4:
      return compressionsAlgorithms.lz4.decompressSync(bytes);
    case codecs.zstd:
      if (!compressionsAlgorithms.zstd.available) {
        throw new Error(
          `records are compressed with zstd, which Node ${process.versions.node} cannot read: use Node 22.15 or newer`,
        );
      }
      return compressionsAlgorithms.zstd.decompressSync(bytes);
    default:
      throw new Error(`records are compressed with codec ${codec}, which is unknown`);
  }
}
