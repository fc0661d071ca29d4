/** Reads the record batches of a fetch into blocks, column by column. */
import { crc32c } from '@platformatic/kafka';
import type { ReadResult } from '../buffer.ts';
import type { RecordBlock, RecordHeaders } from '../record-block.ts';
import { decompressRecords } from './compression.ts';
import { batchAttributes, batchLayout, currentMagic, lengthEnd } from './record-batch.ts';
import { VarintReader } from './varint.ts';

/** A transaction that was rolled back: what its producer wrote from `firstOffset` on is not to be read. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

/**
 * Record batches as one fetch returned them. They are decoded as they are taken, so that one large fetch of
 * well compressed records does not become one huge piece of memory.
 */
export class FetchedBatches {
  readonly #bytes: Buffer;
  /** Rolled back transactions whose begin was not reached yet, by first offset. */
  readonly #aborted: AbortedTransaction[];
  readonly #abortedProducers = new Set<bigint>();
  #position = 0;

  constructor(bytes: Buffer, aborted: readonly AbortedTransaction[] = []) {
    this.#bytes = bytes;
    this.#aborted = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Whether no whole batch is left. A batch that the fetch cut off at its end does not count. */
  get isEmpty(): boolean {
    const { length } = this.#bytes;
    if (this.#position + batchLayout.records > length) return true;
    return this.#position + lengthEnd + this.#bytes.readInt32BE(this.#position + batchLayout.length) > length;
  }

  /**
   * Decodes batches until there are `maxBytes` of values, at least one if there is any. Records before
   * `from` are left out, as are transaction markers and rolled back records; `next` is past all of them.
   * A record without a value (null) comes as an empty value, so that its offset is accounted for.
   * @throws Error when the bytes are damaged or compressed with an unknown codec
   */
  take(from: number, maxBytes: number): ReadResult {
    const blocks: RecordBlock[] = [];
    let next = from;
    let taken = 0;
    while (taken < maxBytes && !this.isEmpty) {
      const end = this.#position + lengthEnd + this.#bytes.readInt32BE(this.#position + batchLayout.length);
      const batch = this.#bytes.subarray(this.#position, end);
      this.#position = end;
      const baseOffset = Number(batch.readBigInt64BE(batchLayout.baseOffset));
      const nextOffset = baseOffset + batch.readInt32BE(batchLayout.lastOffsetDelta) + 1;
      next = Math.max(next, nextOffset);
      verifyBatch(batch, baseOffset);
      if (this.#isSkipped(batch, baseOffset) || nextOffset <= from) continue;
      const block = decodeBatch(batch, baseOffset, from);
      if (block.count === 0) continue;
      blocks.push(block);
      taken += block.bytes.length;
    }
    return { blocks, next };
  }

  /** Markers hold no events, and neither do transactions that were rolled back. */
  #isSkipped(batch: Buffer, baseOffset: number): boolean {
    const attributes = batch.readInt16BE(batchLayout.attributes);
    if ((attributes & batchAttributes.transactional) === 0)
      return (attributes & batchAttributes.control) !== 0;
    for (
      let first = this.#aborted[0];
      first !== undefined && first.firstOffset <= baseOffset;
      first = this.#aborted[0]
    ) {
      this.#abortedProducers.add(first.producerId);
      this.#aborted.shift();
    }
    const producerId = batch.readBigInt64BE(batchLayout.producerId);
    if ((attributes & batchAttributes.control) === 0) return this.#abortedProducers.has(producerId);
    // Either marker ends the producer's transaction; only a rolled back one is in the set.
    this.#abortedProducers.delete(producerId);
    return true;
  }
}

/** Timestamp of the first record of the first batch, milliseconds since the epoch; undefined when there is none. */
export function firstTimestamp(bytes: Buffer): number | undefined {
  if (new FetchedBatches(bytes).isEmpty) return undefined;
  const appendTime = (bytes.readInt16BE(batchLayout.attributes) & batchAttributes.logAppendTime) !== 0;
  return Number(bytes.readBigInt64BE(appendTime ? batchLayout.maxTimestamp : batchLayout.baseTimestamp));
}

function verifyBatch(batch: Buffer, baseOffset: number): void {
  const magic = batch.readInt8(batchLayout.magic);
  if (magic !== currentMagic) {
    throw new Error(
      `records at offset ${baseOffset} have message format ${magic}, which only Kafka before 0.11 wrote`,
    );
  }
  const crc = crc32c(batch.subarray(batchLayout.attributes)) >>> 0;
  if (crc !== batch.readUInt32BE(batchLayout.crc)) {
    throw new Error(`records at offset ${baseOffset} are damaged: their checksum does not match`);
  }
}

function decodeBatch(batch: Buffer, baseOffset: number, from: number): RecordBlock {
  const attributes = batch.readInt16BE(batchLayout.attributes);
  const total = batch.readInt32BE(batchLayout.count);
  const bytes = decompressRecords(
    attributes & batchAttributes.compression,
    batch.subarray(batchLayout.records),
  );
  const appendTime = (attributes & batchAttributes.logAppendTime) !== 0;
  const maxTimestamp = Number(batch.readBigInt64BE(batchLayout.maxTimestamp));
  const baseTimestamp = appendTime ? maxTimestamp : Number(batch.readBigInt64BE(batchLayout.baseTimestamp));

  const starts = new Int32Array(total);
  const ends = new Int32Array(total);
  const offsets = new Float64Array(total);
  const receivedAt = new Float64Array(total);
  let headers: (RecordHeaders | undefined)[] | undefined;
  let count = 0;
  const reader = new VarintReader(bytes);
  for (let i = 0; i < total; i++) {
    const length = reader.read();
    const recordEnd = reader.position + length;
    reader.position++; // attributes, unused
    const timestampDelta = reader.read();
    const offset = baseOffset + reader.read();
    const keyLength = reader.read();
    if (keyLength > 0) reader.position += keyLength;
    const valueLength = reader.read();
    const start = reader.position;
    if (valueLength > 0) reader.position += valueLength;
    if (offset >= from) {
      starts[count] = start;
      ends[count] = reader.position;
      offsets[count] = offset;
      receivedAt[count] = appendTime ? baseTimestamp : baseTimestamp + timestampDelta;
      const headerCount = reader.read();
      if (headerCount > 0) {
        headers ??= [];
        headers[count] = readHeaders(reader, headerCount);
      }
      count++;
    }
    if (recordEnd > bytes.length || reader.position > recordEnd) {
      throw new Error(`record ${offset} is damaged: it does not end where it says`);
    }
    reader.position = recordEnd;
  }
  if (headers !== undefined) headers.length = count;
  return {
    count,
    bytes,
    starts: starts.subarray(0, count),
    ends: ends.subarray(0, count),
    offsets: offsets.subarray(0, count),
    receivedAt: receivedAt.subarray(0, count),
    ...(headers === undefined ? {} : { headers }),
  };
}

function readHeaders(reader: VarintReader, count: number): RecordHeaders {
  const headers: [string, string][] = [];
  for (let i = 0; i < count; i++) headers.push([readText(reader), readText(reader)]);
  return headers;
}

function readText(reader: VarintReader): string {
  const length = reader.read();
  if (length <= 0) return '';
  const start = reader.position;
  reader.position += length;
  const { bytes } = reader;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString();
}
