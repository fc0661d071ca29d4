/**
 * Builds the body of an insert: each record's own bytes, put into a row, never parsed.
 *
 * Rows are RowBinaryWithDefaults, whose values carry their length: whatever a record holds, it stays within its
 * own row. Against JSONEachRow with the record spliced in, it also takes 10 to 20% less of ClickHouse's CPU.
 * Source: https://clickhouse.com/docs/interfaces/formats/RowBinaryWithDefaults
 */
import { idAmong } from '../buffer/partition-of.ts';
import type { RecordBlock } from '../buffer/record-block.ts';
import { varintBytes, writeVarint } from './row-binary.ts';

const initialBytes = 256 * 1024;
/** Before each value: 0 when it follows, 1 when the column's default takes its place. */
const valueFollows = 0;
const useDefault = 1;
const wordRange = 2 ** 32;
/** Flag and time; flag and offset. */
const numberBytes = 9;

/** Rows of one partition in one growing buffer, with the columns of `insertedColumns` in that order. */
export class RowWriter {
  /** Flags and values of topic, topic id and partition: the same in each row. */
  readonly #place: Buffer;
  #body: Buffer = Buffer.allocUnsafeSlow(initialBytes);
  #length = 0;
  /** End of row `i` in the body. */
  readonly ends: number[] = [];

  constructor({ topic, topicId, partition }: { topic: string; topicId: string; partition: number }) {
    const number = Buffer.alloc(5);
    number[0] = valueFollows;
    number.writeUInt32LE(partition, 1);
    this.#place = Buffer.concat([textValue(topic), textValue(topicId), number]);
  }

  /** Rows written. */
  get rows(): number {
    return this.ends.length;
  }

  /** Bytes written. */
  get length(): number {
    return this.#length;
  }

  /** The rows, valid until the next write. */
  get body(): Buffer {
    return this.#body.subarray(0, this.#length);
  }

  /** Appends record `index` of a block as a row; `id` is the id in its headers. */
  write(block: RecordBlock, index: number, id?: string): void {
    const start = block.starts[index] as number;
    const end = block.ends[index] as number;
    const idValue = id === undefined ? undefined : textValue(id);
    const place = this.#place;
    const length = end - start;
    this.#reserve(2 * numberBytes + place.length + (idValue?.length ?? 1) + 1 + varintBytes + length);
    const body = this.#body;
    let at = writeInt64(body, this.#length, block.receivedAt[index] as number);
    body.set(place, at);
    at = writeInt64(body, at + place.length, block.offsets[index] as number);
    if (idValue === undefined) body[at++] = useDefault;
    else {
      body.set(idValue, at);
      at += idValue.length;
    }
    body[at++] = valueFollows;
    at = writeVarint(body, at, length);
    body.set(block.bytes.subarray(start, end), at);
    this.#length = at + length;
    this.ends.push(this.#length);
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#body.length) return;
    let size = this.#body.length * 2;
    while (size < needed) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    grown.set(this.#body.subarray(0, this.#length));
    this.#body = grown;
  }
}

/**
 * The id of record `index`; undefined when it has none. A header of another producer may hold no text: what is
 * left of it is the same for events that are not, so it counts as none, and so does an empty one.
 */
export function idOf({ headers }: RecordBlock, index: number): string | undefined {
  const id = idAmong(headers?.[index] ?? []);
  return id === undefined || id === '' || id.includes('\ufffd') ? undefined : id;
}

/** The record inside a row of the insert body. */
export interface RecordOfRow {
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** Id from the record's headers, else empty. */
  readonly eventId: string;
  /** The record's value, byte for byte. */
  readonly raw: Buffer;
}

/** Takes a row apart again: a batch keeps no second copy of its records. */
export function readRow(row: Buffer): RecordOfRow {
  let at = 0;
  const int64 = (): number => {
    const value = row.readInt32LE(at + 5) * wordRange + row.readUInt32LE(at + 1);
    at += numberBytes;
    return value;
  };
  const text = (): Buffer => {
    if (row[at++] === useDefault) return Buffer.alloc(0);
    let length = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = row[at++] as number;
      length += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    at += length;
    return row.subarray(at - length, at);
  };
  const receivedAt = int64();
  text();
  text();
  at += 5;
  const offset = int64();
  const eventId = text().toString();
  return { offset, receivedAt, eventId, raw: text() };
}

function textValue(text: string): Buffer {
  const bytes = Buffer.from(text);
  const value = Buffer.allocUnsafe(1 + varintBytes + bytes.length);
  value[0] = valueFollows;
  const at = writeVarint(value, 1, bytes.length);
  value.set(bytes, at);
  return value.subarray(0, at + bytes.length);
}

/** A flag and a 64-bit integer, without the cost of a BigInt. */
function writeInt64(target: Buffer, at: number, value: number): number {
  const high = Math.floor(value / wordRange);
  target[at] = valueFollows;
  target.writeUInt32LE(value - high * wordRange, at + 1);
  target.writeInt32LE(high, at + 5);
  return at + numberBytes;
}
