/**
 * Layout of Kafka's RecordBatch, version 2: what the encoder and the decoder share.
 *
 * Record batches that cannot be read, whoever tries and whenever: what makes one, and by which name. The same bytes
 * must always come to the same end, since a plan that is read again has to hold the same records.
 */
import { writeVarint } from '../records.ts';

/** Byte positions of the fields that come before the records. */
export const batchLayout = {
  baseOffset: 0,
  /** Bytes of the batch after this field. */
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  crc: 17,
  /** First byte that the checksum covers; it goes to the end of the batch. */
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  count: 57,
  records: 61,
} as const;

/** Bytes before the ones that `length` counts. */
export const lengthEnd = 12;

/** The only version of the format since Kafka 0.11; Kafka 4 refuses older ones. */
export const currentMagic = 2;

/** Bits of the attributes. */
export const batchAttributes = {
  compression: 0b111,
  /** Timestamps were set by the broker: `maxTimestamp` holds for every record. */
  logAppendTime: 1 << 3,
  transactional: 1 << 4,
  /** Holds a transaction marker, no events. */
  control: 1 << 5,
} as const;

/** Compression codecs by their number in the attributes. */
export const codecs = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** A 64-bit integer of less than 53, without the cost of a BigInt. */
export function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** Why a record batch cannot be read: the names that dead letters carry (docs/dead-letters.md). */
type UnreadableCode = 'BATCH_TOO_LARGE' | 'BATCH_DAMAGED' | 'BATCH_UNSUPPORTED';

/** A record batch that nobody can read. Its message says why, without a byte of its content. */
export class UnreadableBatchError extends Error {
  override readonly name = 'UnreadableBatchError';
  readonly code: UnreadableCode;

  constructor(code: UnreadableCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The error for bytes that are not what they say. */
export function damaged(what: string): UnreadableBatchError {
  return new UnreadableBatchError('BATCH_DAMAGED', what);
}

/** The error for records that take more than `maxBytes`. */
export function tooLarge(maxBytes: number): UnreadableBatchError {
  return new UnreadableBatchError('BATCH_TOO_LARGE', `its records take more than ${maxBytes} bytes`);
}

/**
 * The checksum of a record batch does not match. Once, that may be its way here: what was acknowledged is not given up
 * before another answer has shown the same.
 */
export class ChecksumError extends UnreadableBatchError {
  readonly baseOffset: number;

  constructor(baseOffset: number) {
    super('BATCH_DAMAGED', 'its checksum does not match');
    this.baseOffset = baseOffset;
  }
}

/** A record batch that another installation can read: nothing may be delivered in its place. */
export class NotReadableHereError extends Error {
  override readonly name = 'NotReadableHereError';
}

/** Bytes that `value`, a safe integer, takes: a varint of 2 * value, or of -2 * value - 1 where it is negative. */
export function zigzagSize(value: number): number {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  let size = 1;
  while (rest >= 0x80) {
    rest = Math.floor(rest / 0x80);
    size++;
  }
  return size;
}

/** Writes `value`, a safe integer, at `at`; returns the position after it. */
export function writeZigzag(target: Uint8Array, at: number, value: number): number {
  return writeVarint(target, at, value < 0 ? -value * 2 - 1 : value * 2);
}

/** Reads such numbers one after another; a cursor, so that reading makes no objects. */
export class ZigzagReader {
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
    if (first === undefined) throw damaged('a record ends in the middle of a number');
    let value = first & 0x7f;
    let scale = 0x80;
    for (;;) {
      const byte = bytes[this.position++];
      if (byte === undefined) throw damaged('a record ends in the middle of a number');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 0x80;
      if (scale > 2 ** 56) throw damaged('a number in a record is too large');
    }
    if (value > Number.MAX_SAFE_INTEGER) throw damaged('a number in a record is too large');
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
