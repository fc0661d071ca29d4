/** Decompression of record batches, for every codec a producer may have used. */
import { gunzipSync } from 'node:zlib';
import { compressionsAlgorithms } from '@platformatic/kafka';
import { uncompressSync } from 'snappy';
import { codecs } from './record-batch.ts';

/** Header of the block framing that Java's snappy library writes: magic, then two version numbers. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const xerialHeaderBytes = 16;

/**
 * Decompresses the records of a batch.
 * @throws Error when the codec is unknown, or is zstd on a Node that has none (before 22.15), or the bytes
 *   are damaged
 */
export function decompressRecords(codec: number, bytes: Buffer): Buffer {
  switch (codec) {
    case codecs.none:
      return bytes;
    case codecs.gzip:
      return gunzipSync(bytes);
    case codecs.snappy:
      return bytes.subarray(0, xerialMagic.length).equals(xerialMagic)
        ? unpackXerial(bytes)
        : unpackSnappy(bytes);
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

/** Blocks, each with its length in front, as written by Kafka's Java producer. */
function unpackXerial(bytes: Buffer): Buffer {
  const blocks: Buffer[] = [];
  let position = xerialHeaderBytes;
  while (position + 4 <= bytes.length) {
    const end = position + 4 + bytes.readInt32BE(position);
    blocks.push(unpackSnappy(bytes.subarray(position + 4, end)));
    position = end;
  }
  return blocks.length === 1 && blocks[0] !== undefined ? blocks[0] : Buffer.concat(blocks);
}

function unpackSnappy(bytes: Buffer): Buffer {
  const plain = uncompressSync(bytes, { asBuffer: true });
  return typeof plain === 'string' ? Buffer.from(plain) : plain;
}
