/** Layout of Kafka's RecordBatch, version 2: what the encoder and the decoder share. */

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
