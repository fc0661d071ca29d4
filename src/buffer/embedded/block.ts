/**
 * Layout of a stored block, little-endian:
 *
 * | at | bytes | what |
 * |---|---|---|
 * | 0 | 1 | version, 1 |
 * | 1 | 3 | zero |
 * | 4 | 4 | CRC-32 of everything after it |
 * | 8 | 8 | receive time of the first record, a double: milliseconds since the epoch |
 * | 16 | 4 | count |
 * | 20 | 4 | bytes of headers, 0 when no record has any |
 * | 24 | 4 (count + 1) | where values start and end, from 0 |
 * | … | 4 count | receive times, signed milliseconds from the first |
 * | … | | headers, JSON: `[[record, [[key, value], …]], …]` |
 * | … | | values, one after another |
 *
 * Columns are 4-byte aligned, so that a reader uses them in place, as typed arrays.
 */
import { crc32 } from 'node:zlib';
import { exitCodes, OperatorError } from '../../errors.ts';
import type { EventBatch, RecordBlock, RecordHeaders } from '../records.ts';

const version = 1;
const columnsAt = 24;
const crcFrom = 8;
/** Receive times are stored as signed 32-bit distances: 24 days. */
const maxTimeDistance = 2 ** 31 - 1;

/** Target size of a block: what one read takes from the disk at least, and the grain of retention. */
const maxBlockBytes = 1024 * 1024;

/** A block on its way into the log. */
export interface EncodedBlock {
  readonly value: Buffer;
  readonly count: number;
  /** Receive time of the newest record, milliseconds since the epoch. */
  readonly newestMs: number;
}

/**
 * Encodes a batch as one or more blocks of up to about `maxBytes` of values; a larger single event gets a
 * block of its own. Copies everything: the batch may change afterwards.
 */
export function encodeBlocks(batch: EventBatch, maxBytes: number = maxBlockBytes): EncodedBlock[] {
  const blocks: EncodedBlock[] = [];
  for (let from = 0; from < batch.count; ) {
    const to = findBlockEnd(batch, from, maxBytes);
    blocks.push(encodeBlock(batch, from, to));
    from = to;
  }
  return blocks;
}

/** Index after the last event that fits in a block which starts with event `from`. */
function findBlockEnd(batch: EventBatch, from: number, maxBytes: number): number {
  const limit = startOf(batch, from) + maxBytes;
  const firstMs = at(batch.receivedAt, from);
  let to = from + 1;
  while (
    to < batch.count &&
    at(batch.ends, to) <= limit &&
    Math.abs(at(batch.receivedAt, to) - firstMs) <= maxTimeDistance
  ) {
    to++;
  }
  return to;
}

function encodeBlock(batch: EventBatch, from: number, to: number): EncodedBlock {
  const count = to - from;
  const headers = encodeHeaders(batch, from, to);
  const firstByte = startOf(batch, from);
  const valueBytes = at(batch.ends, to - 1) - firstByte;
  const headersAt = columnsAt + 8 * count + 4;
  const valuesAt = headersAt + headers.length;
  const value = Buffer.allocUnsafe(valuesAt + valueBytes);
  const firstMs = at(batch.receivedAt, from);
  let newestMs = firstMs;
  value.writeUInt32LE(version, 0);
  value.writeDoubleLE(firstMs, 8);
  value.writeUInt32LE(count, 16);
  value.writeUInt32LE(headers.length, 20);
  const columns = new DataView(value.buffer, value.byteOffset + columnsAt, 8 * count + 4);
  const timesAt = 4 * count + 4;
  columns.setUint32(0, 0, true);
  for (let i = 0; i < count; i++) {
    const receivedAt = at(batch.receivedAt, from + i);
    if (receivedAt > newestMs) newestMs = receivedAt;
    columns.setUint32(4 * i + 4, at(batch.ends, from + i) - firstByte, true);
    columns.setInt32(timesAt + 4 * i, receivedAt - firstMs, true);
  }
  value.set(headers, headersAt);
  value.set(batch.bytes.subarray(firstByte, firstByte + valueBytes), valuesAt);
  value.writeUInt32LE(crc32(value.subarray(crcFrom)), 4);
  return { value, count, newestMs };
}

/**
 * Decodes a block whose first record has offset `base`; the result refers to `value` and copies no record.
 * `skip` leaves out that many records at the start, and is below the count.
 * @param where names the block in errors: topic and partition
 * @throws OperatorError when version or checksum are wrong: the log is damaged
 */
export function decodeBlock(
  stored: Uint8Array,
  block: { base: number; skip: number; where: string },
): RecordBlock {
  const { base, skip, where } = block;
  // Typed arrays need aligned memory; what LMDB hands out nearly always is.
  const value = stored.byteOffset % 4 === 0 ? stored : new Uint8Array(stored);
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  checkBlock(value, view, `${where} at offset ${base}`);
  const count = view.getUint32(16, true);
  const headerBytes = view.getUint32(20, true);
  const bounds = new Uint32Array(value.buffer, value.byteOffset + columnsAt, count + 1);
  const times = new Int32Array(value.buffer, value.byteOffset + columnsAt + 4 * count + 4, count);
  const headersAt = columnsAt + 8 * count + 4;
  const firstMs = view.getFloat64(8, true);
  const offsets = new Float64Array(count - skip);
  const receivedAt = new Float64Array(count - skip);
  for (let i = skip; i < count; i++) {
    offsets[i - skip] = base + i;
    receivedAt[i - skip] = firstMs + (times[i] as number);
  }
  return {
    count: count - skip,
    bytes: value.subarray(headersAt + headerBytes),
    starts: bounds.subarray(skip, count),
    ends: bounds.subarray(skip + 1),
    offsets,
    receivedAt,
    ...(headerBytes > 0 && {
      headers: decodeHeaders(value.subarray(headersAt, headersAt + headerBytes), count).slice(skip),
    }),
  };
}

function checkBlock(value: Uint8Array, view: DataView, name: string): void {
  if (value.length < columnsAt) throw damaged(name, 'it is cut short');
  if (value[0] !== version) {
    throw damaged(name, `its format is version ${value[0]}, and this release reads version ${version}`);
  }
  if (crc32(value.subarray(crcFrom)) !== view.getUint32(4, true))
    throw damaged(name, 'its checksum is wrong');
}

function damaged(name: string, reason: string): OperatorError {
  return new OperatorError(
    `The block of ${name} in the embedded log cannot be read: ${reason}. Nothing was skipped. Check the disk; restore the log from a copy, or move it away to start an empty one.`,
    exitCodes.failure,
  );
}

function encodeHeaders(batch: EventBatch, from: number, to: number): Uint8Array {
  if (batch.headers.size === 0) return new Uint8Array(0);
  const list: [number, RecordHeaders][] = [];
  for (let i = from; i < to; i++) {
    const headers = batch.headers.get(i);
    if (headers !== undefined) list.push([i - from, headers]);
  }
  return list.length === 0 ? new Uint8Array(0) : Buffer.from(JSON.stringify(list));
}

function decodeHeaders(bytes: Uint8Array, count: number): (RecordHeaders | undefined)[] {
  const headers = new Array<RecordHeaders | undefined>(count).fill(undefined);
  // The checksum vouches for the shape: only `encodeHeaders` writes it.
  const list = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()) as [
    number,
    RecordHeaders,
  ][];
  for (const [index, pairs] of list) headers[index] = pairs;
  return headers;
}

function startOf(batch: EventBatch, index: number): number {
  return index === 0 ? 0 : at(batch.ends, index - 1);
}

function at(column: readonly number[], index: number): number {
  return column[index] as number;
}
