/** Reads the record batches of a fetch into blocks, column by column. */
import { crc32c } from '@platformatic/kafka';
import type { ReadResult } from '../buffer.ts';
import type { RecordHeaders } from '../record-block.ts';
import { decompressRecords } from './compression.ts';
import { batchAttributes, batchLayout, currentMagic, lengthEnd } from './record-batch.ts';
import { RecordColumns } from './record-columns.ts';
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
   * Decodes batches into one block until it holds `maxBytes`, at least one batch if there is any. Records before
   * `from` are left out, as are transaction markers and rolled back records; `next` is past all of them.
   * A record without a value (null) comes as an empty value, so that its offset is accounted for.
   * @throws Error when the bytes are damaged or compressed with an unknown codec
   */
  take(from: number, maxBytes: number): ReadResult {
    const columns = new RecordColumns();
    let next = from;
    while (columns.length < maxBytes && !this.isEmpty) {
      const end = this.#position + lengthEnd + this.#bytes.readInt32BE(this.#position + batchLayout.length);
      const batch = this.#bytes.subarray(this.#position, end);
      this.#position = end;
      const baseOffset = readInt64(batch, batchLayout.baseOffset);
      const nextOffset = baseOffset + batch.readInt32BE(batchLayout.lastOffsetDelta) + 1;
      next = Math.max(next, nextOffset);
      verifyBatch(batch, baseOffset);
      if (this.#isSkipped(batch, baseOffset) || nextOffset <= from) continue;
      decodeBatch(batch, { baseOffset, from }, columns);
    }
    return { blocks: columns.count === 0 ? [] : [columns.build()], next };
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
  return readInt64(bytes, appendTime ? batchLayout.maxTimestamp : batchLayout.baseTimestamp);
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

/** Appends the records at or after `from`. */
function decodeBatch(
  batch: Buffer,
  { baseOffset, from }: { baseOffset: number; from: number },
  columns: RecordColumns,
): void {
  const attributes = batch.readInt16BE(batchLayout.attributes);
  const total = batch.readInt32BE(batchLayout.count);
  const appendTime = (attributes & batchAttributes.logAppendTime) !== 0;
  const baseTimestamp = readInt64(batch, appendTime ? batchLayout.maxTimestamp : batchLayout.baseTimestamp);
  const begin = columns.length;
  decompressRecords(attributes & batchAttributes.compression, batch.subarray(batchLayout.records), columns);
  const end = columns.length;
  columns.reserveRecords(total);
  const { starts, ends, offsets, receivedAt } = columns;
  const reader = new VarintReader(columns.reserve(0), begin);
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
      const { count } = columns;
      starts[count] = start;
      ends[count] = reader.position;
      offsets[count] = offset;
      receivedAt[count] = appendTime ? baseTimestamp : baseTimestamp + timestampDelta;
      const headerCount = reader.read();
      if (headerCount > 0) columns.setHeaders(readHeaders(reader, headerCount));
      columns.count++;
    }
    if (recordEnd > end || reader.position > recordEnd) {
      throw new Error(`record ${offset} is damaged: it does not end where it says`);
    }
    reader.position = recordEnd;
  }
}

/** A 64-bit integer of less than 53, without the cost of a BigInt. */
function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
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
