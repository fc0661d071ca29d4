/**
 * Reads the records of one record batch into columns. Nothing that the batch says of itself is believed.
 *
 * Records of many batches on their way into one block: a batch may hold only a few.
 */
import type { RecordBlock, RecordHeaders } from '../records.ts';
import { decompressRecords } from './compression.ts';
import {
  batchAttributes,
  batchLayout,
  damaged,
  readInt64,
  UnreadableBatchError,
  ZigzagReader,
} from './record-batch.ts';

/** A record takes at least as many bytes: each of its fields is one. */
const smallestRecord = 7;
/** Most headers of a batch: each is an object of some 60 bytes here, and two bytes there. */
const maxHeaders = 1_000_000;

/** With the difference that a record adds to it, milliseconds that still fit 64 bits, as ClickHouse has them. */
const latestTime = 2 ** 52;

/** Which records of a batch are wanted, and where it says that they are. */
export interface BatchRange {
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** Records before this offset are left out. */
  readonly from: number;
}

/**
 * Appends the records at or after `from`.
 * @throws UnreadableBatchError when the batch cannot be read; what was appended by then is to be taken back
 * @throws NotReadableHereError when another installation can read it
 */
export function appendRecords(batch: Buffer, range: BatchRange, columns: RecordColumns): void {
  const { baseOffset, lastOffset, from } = range;
  const attributes = batch.readInt16BE(batchLayout.attributes);
  const total = batch.readInt32BE(batchLayout.count);
  const appendTime = (attributes & batchAttributes.logAppendTime) !== 0;
  const timestamp = readInt64(batch, appendTime ? batchLayout.maxTimestamp : batchLayout.baseTimestamp);
  const baseTimestamp = Math.min(Math.max(timestamp, -latestTime), latestTime);
  const begin = columns.length;
  decompressRecords(attributes & batchAttributes.compression, batch.subarray(batchLayout.records), columns);
  const end = columns.length;
  if (total < 0 || total > (end - begin) / smallestRecord) throw miscounted();
  columns.reserveRecords(total);
  const { starts, ends, offsets, receivedAt } = columns;
  // Memory goes on behind the records; what is read there is not kept, since no record may end there.
  const reader = new ZigzagReader(columns.reserve(0), begin);
  let headersLeft = maxHeaders;
  let before = baseOffset - 1;
  for (let i = 0; i < total; i++) {
    const length = reader.read();
    const recordEnd = reader.position + length;
    if (recordEnd > end) throw damaged('a record does not end where it says');
    reader.position++; // attributes, unused
    const timestampDelta = reader.read();
    const offset = baseOffset + reader.read();
    const keyLength = reader.read();
    if (keyLength > 0) reader.position += keyLength;
    const valueLength = reader.read();
    const start = reader.position;
    if (valueLength > 0) reader.position += valueLength;
    if (offset <= before || offset > lastOffset) throw damaged('a record has an offset out of order');
    before = offset;
    if (offset >= from) {
      const { count } = columns;
      starts[count] = start;
      ends[count] = reader.position;
      offsets[count] = offset;
      receivedAt[count] = appendTime ? baseTimestamp : baseTimestamp + timestampDelta;
      const headerCount = reader.read();
      if (headerCount > 0) {
        headersLeft -= headerCount;
        if (headersLeft < 0)
          throw new UnreadableBatchError('BATCH_TOO_LARGE', `it has more than ${maxHeaders} headers`);
        columns.setHeaders(readHeaders(reader, headerCount));
      }
      columns.count++;
    }
    if (reader.position > recordEnd) throw damaged('a record does not end where it says');
    reader.position = recordEnd;
  }
  if (reader.position !== end) throw miscounted();
}

function miscounted(): UnreadableBatchError {
  return damaged('it does not hold as many records as it says');
}

function readHeaders(reader: ZigzagReader, count: number): RecordHeaders {
  const headers: [string, string][] = [];
  for (let i = 0; i < count; i++) headers.push([readText(reader), readText(reader)]);
  return headers;
}

function readText(reader: ZigzagReader): string {
  const length = reader.read();
  if (length <= 0) return '';
  const start = reader.position;
  reader.position += length;
  const { bytes } = reader;
  if (reader.position > bytes.length) throw damaged('a header does not end where it says');
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString();
}

const initialBytes = 64 * 1024;
const initialRecords = 512;

/** Growing memory for records and what belongs to them. */
export class RecordColumns {
  #bytes: Uint8Array = Buffer.allocUnsafeSlow(initialBytes);
  /** Bytes used of the memory. */
  length = 0;
  /** Number of records. */
  count = 0;
  starts = new Int32Array(initialRecords);
  ends = new Int32Array(initialRecords);
  offsets = new Float64Array(initialRecords);
  receivedAt = new Float64Array(initialRecords);
  #headers: (RecordHeaders | undefined)[] | undefined;
  #unreadable: (string | undefined)[] | undefined;

  /** The memory, with room for so many bytes more. */
  reserve(bytes: number): Uint8Array {
    const needed = this.length + bytes;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
    }
    return this.#bytes;
  }

  /** Makes room for so many records more. */
  reserveRecords(count: number): void {
    const needed = this.count + count;
    if (needed <= this.starts.length) return;
    const capacity = Math.max(needed, 2 * this.starts.length);
    this.starts = grown(this.starts, new Int32Array(capacity));
    this.ends = grown(this.ends, new Int32Array(capacity));
    this.offsets = grown(this.offsets, new Float64Array(capacity));
    this.receivedAt = grown(this.receivedAt, new Float64Array(capacity));
  }

  /** Sets the headers of the record that comes next. */
  setHeaders(headers: RecordHeaders): void {
    this.#headers ??= [];
    this.#headers[this.count] = headers;
  }

  /** Appends what stands in for a record that cannot be read. */
  addUnreadable(
    offset: number,
    receivedAt: number,
    { value, reason }: { value: Uint8Array; reason: string },
  ): void {
    this.reserve(value.length).set(value, this.length);
    this.reserveRecords(1);
    const { count } = this;
    this.starts[count] = this.length;
    this.length += value.length;
    this.ends[count] = this.length;
    this.offsets[count] = offset;
    this.receivedAt[count] = receivedAt;
    this.#unreadable ??= [];
    this.#unreadable[count] = reason;
    this.count++;
  }

  /** Takes back everything behind these lengths. */
  truncate(length: number, count: number): void {
    this.length = length;
    this.count = count;
    if (this.#headers !== undefined && this.#headers.length > count) this.#headers.length = count;
  }

  /** All records. */
  build(): RecordBlock {
    const { count } = this;
    if (this.#headers !== undefined) this.#headers.length = count;
    return {
      count,
      bytes: this.#bytes.subarray(0, this.length),
      starts: this.starts.subarray(0, count),
      ends: this.ends.subarray(0, count),
      offsets: this.offsets.subarray(0, count),
      receivedAt: this.receivedAt.subarray(0, count),
      ...(this.#headers === undefined ? {} : { headers: this.#headers }),
      ...(this.#unreadable === undefined ? {} : { unreadable: this.#unreadable }),
    };
  }
}

function grown<T extends Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
