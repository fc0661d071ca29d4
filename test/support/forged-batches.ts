/** Record batches as a hostile or broken producer, or broker, makes them. */
import {
  batchLayout,
  codecs,
  lengthEnd,
  writeZigzag,
  zigzagSize,
} from '../../src/buffer/kafka/record-batch.ts';
import { stampProducer } from '../../src/buffer/kafka/record-encoder.ts';

/** What a forged batch says, and what it holds. */
export interface Forgery {
  readonly baseOffset?: number;
  /** Number of its codec in the attributes. */
  readonly codec?: number;
  /** What follows the head: records, compressed or whatever. */
  readonly records: Uint8Array;
  readonly count: number;
  /** Default: one less than `count`. */
  readonly lastOffsetDelta?: number;
  readonly baseTimestamp?: bigint;
}

/** A batch with a valid checksum over whatever it holds. */
export function forgeBatch(forgery: Forgery): Buffer {
  const { baseOffset = 0, codec = codecs.none, records, count, baseTimestamp = 1_763_690_000_000n } = forgery;
  const batch = Buffer.concat([Buffer.alloc(batchLayout.records), records]);
  batch.writeBigInt64BE(BigInt(baseOffset), batchLayout.baseOffset);
  batch.writeInt32BE(batch.length - lengthEnd, batchLayout.length);
  batch.writeInt8(2, batchLayout.magic);
  batch.writeInt16BE(codec, batchLayout.attributes);
  batch.writeInt32BE(forgery.lastOffsetDelta ?? count - 1, batchLayout.lastOffsetDelta);
  batch.writeBigInt64BE(baseTimestamp, batchLayout.baseTimestamp);
  batch.writeBigInt64BE(baseTimestamp, batchLayout.maxTimestamp);
  batch.writeInt32BE(count, batchLayout.count);
  stampProducer(batch, { id: -1n, epoch: -1, sequence: -1 });
  return batch;
}

/** What a record says, each field as a number that need not be true. */
export interface ForgedRecord {
  readonly value?: Uint8Array;
  readonly offsetDelta: number;
  readonly timestampDelta?: number;
  /** Default: the length of the value. */
  readonly valueLength?: number;
  readonly keyLength?: number;
  /** Default: none. The bytes of the headers follow their count. */
  readonly headerCount?: number;
  readonly headers?: Uint8Array;
  /** Default: what the fields take. */
  readonly length?: number;
}

/** A record, encoded. */
export function forgeRecord(record: ForgedRecord): Buffer {
  const {
    value = Buffer.from('{}'),
    offsetDelta,
    timestampDelta = 0,
    keyLength = -1,
    headerCount = 0,
  } = record;
  const body = Buffer.concat([
    Buffer.of(0),
    varint(timestampDelta),
    varint(offsetDelta),
    varint(keyLength),
    varint(record.valueLength ?? value.length),
    value,
    varint(headerCount),
    record.headers ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([varint(record.length ?? body.length), body]);
}

function varint(value: number): Buffer {
  const bytes = Buffer.alloc(zigzagSize(value));
  writeZigzag(bytes, 0, value);
  return bytes;
}
