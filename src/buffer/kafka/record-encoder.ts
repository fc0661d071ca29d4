/** Writes an EventBatch as a Kafka RecordBatch, with no object for each record. */
import { crc32c } from '@platformatic/kafka';
import { compressSync } from 'snappy';
import { copyShort, type EventBatch, type RecordHeaders } from '../records.ts';
import { batchLayout, codecs, currentMagic, lengthEnd, writeZigzag, zigzagSize } from './record-batch.ts';

/** Codec for the batches written: snappy (a raw block, as librdkafka writes it) or none. */
export type Compression = 'snappy' | 'none';

/** Numbers that let the broker tell a repeated batch from a new one. */
export interface ProducerStamp {
  /** Producer id, given out by the broker. */
  readonly id: bigint;
  readonly epoch: number;
  /** Sequence number of the first record in its partition. */
  readonly sequence: number;
}

/** Largest memory kept between batches; a burst gives back what it took. */
const maxKeptBytes = 4 * 1024 * 1024;
/** Beside value and headers a record takes at most this: six varints, attributes, key. */
const maxRecordOverhead = 40;

/** Encodes batches one after another, reusing its scratch memory. */
export class RecordEncoder {
  readonly #compression: Compression;
  #scratch = Buffer.allocUnsafeSlow(64 * 1024);
  #view = new DataView(this.#scratch.buffer);

  constructor(compression: Compression) {
    this.#compression = compression;
  }

  /**
   * Encodes the batch into new memory with `headroom` free bytes in front. Without a valid checksum until
   * {@link stampProducer} has been called on what follows the headroom.
   */
  encode(batch: EventBatch, headroom: number): Buffer {
    const baseTimestamp = batch.receivedAt[0] ?? 0;
    const plain = this.#encodeRecords(batch, baseTimestamp);
    const isCompressed = this.#compression === 'snappy';
    const records = isCompressed ? compressSync(plain) : plain;

    const request = Buffer.allocUnsafeSlow(headroom + batchLayout.records + records.length);
    request.set(records, headroom + batchLayout.records);
    const head = request.subarray(headroom);
    let maxTimestamp = baseTimestamp;
    for (let i = 1; i < batch.count; i++) maxTimestamp = Math.max(maxTimestamp, batch.receivedAt[i] ?? 0);
    head.writeBigInt64BE(0n, batchLayout.baseOffset);
    head.writeInt32BE(head.length - lengthEnd, batchLayout.length);
    head.writeInt32BE(-1, batchLayout.leaderEpoch);
    head.writeInt8(currentMagic, batchLayout.magic);
    head.writeInt16BE(isCompressed ? codecs.snappy : codecs.none, batchLayout.attributes);
    head.writeInt32BE(batch.count - 1, batchLayout.lastOffsetDelta);
    head.writeBigInt64BE(BigInt(baseTimestamp), batchLayout.baseTimestamp);
    head.writeBigInt64BE(BigInt(maxTimestamp), batchLayout.maxTimestamp);
    head.writeInt32BE(batch.count, batchLayout.count);
    if (this.#scratch.length > maxKeptBytes) this.#allocateScratch(64 * 1024);
    return request;
  }

  #encodeRecords(batch: EventBatch, baseTimestamp: number): Buffer {
    let needed = batch.byteLength + batch.count * maxRecordOverhead;
    for (const headers of batch.headers.values()) needed += headersSize(headers);
    if (needed > this.#scratch.length) this.#allocateScratch(Math.max(needed, this.#scratch.length * 2));

    const target = this.#scratch;
    const view = this.#view;
    const source = batch.bytes;
    const sourceView = new DataView(source.buffer, source.byteOffset, source.byteLength);
    const hasHeaders = batch.headers.size > 0;
    let position = 0;
    let start = 0;
    for (let i = 0; i < batch.count; i++) {
      const end = batch.ends[i] ?? start;
      const length = end - start;
      const headers = hasHeaders ? batch.headers.get(i) : undefined;
      const delta = (batch.receivedAt[i] ?? 0) - baseTimestamp;
      const headerBytes = headers === undefined ? 1 : headersSize(headers);
      const body = 2 + zigzagSize(delta) + zigzagSize(i) + zigzagSize(length) + length + headerBytes;
      position = writeZigzag(target, position, body);
      target[position++] = 0; // attributes
      position = writeZigzag(target, position, delta);
      position = writeZigzag(target, position, i);
      target[position++] = 1; // no key: -1 as a varint
      position = writeZigzag(target, position, length);
      if (length < 128) copyShort(sourceView, start, end, view, position);
      else target.set(source.subarray(start, end), position);
      position += length;
      if (headers === undefined) target[position++] = 0;
      else position = writeHeaders(target, position, headers);
      start = end;
    }
    return target.subarray(0, position);
  }

  #allocateScratch(bytes: number): void {
    this.#scratch = Buffer.allocUnsafeSlow(bytes);
    this.#view = new DataView(this.#scratch.buffer);
  }
}

/** Writes the producer's numbers into an encoded batch, and the checksum, which covers them. */
export function stampProducer(encoded: Buffer, stamp: ProducerStamp): void {
  encoded.writeBigInt64BE(stamp.id, batchLayout.producerId);
  encoded.writeInt16BE(stamp.epoch, batchLayout.producerEpoch);
  encoded.writeInt32BE(stamp.sequence, batchLayout.baseSequence);
  encoded.writeUInt32BE(crc32c(encoded.subarray(batchLayout.attributes)) >>> 0, batchLayout.crc);
}

function headersSize(headers: RecordHeaders): number {
  let size = zigzagSize(headers.length);
  for (const [key, value] of headers) {
    const keyBytes = Buffer.byteLength(key);
    const valueBytes = Buffer.byteLength(value);
    size += zigzagSize(keyBytes) + keyBytes + zigzagSize(valueBytes) + valueBytes;
  }
  return size;
}

function writeHeaders(target: Buffer, at: number, headers: RecordHeaders): number {
  let position = writeZigzag(target, at, headers.length);
  for (const header of headers) {
    for (const text of header) {
      position = writeZigzag(target, position, Buffer.byteLength(text));
      position += target.write(text, position);
    }
  }
  return position;
}
