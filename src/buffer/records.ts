/**
 * Records on their way into a partition and out of it: many in one buffer, without an object for each.
 *
 * Variable-length integers as Kafka records use them: zig-zag, seven bits a byte, least significant first. Numbers,
 * not bigints: what they carry (lengths, deltas of offsets and milliseconds) fits 53 bits.
 *
 * Where an event with an id goes: the one rule, for everything that writes to a buffer.
 *
 * The few pieces of ClickHouse's RowBinary that the streamer writes; those of Native are the same.
 */
import { crc32 } from 'node:zlib';

const initialBytes = 64 * 1024;

/**
 * Events on their way into a partition: values one after another in a single growing buffer, so that adding
 * an event is one copy and no object. Reused by `clear` once its append has settled.
 */
export class EventBatch {
  /** Values, one after another; only the first `byteLength` bytes count. */
  bytes: Buffer = Buffer.allocUnsafeSlow(initialBytes);
  /** Bytes used of `bytes`. */
  byteLength = 0;
  /** Number of events. */
  count = 0;
  /**
   * Whether events may be added although the batch was given to a writer, which has to wait before it can store
   * anything. The writer says so, and takes it back before it looks at the events.
   */
  isOpen = false;
  /** End of value `i` in `bytes`; it starts where the one before ends. */
  readonly ends: number[] = [];
  /** Receive time of event `i`, milliseconds since the epoch. */
  readonly receivedAt: number[] = [];
  /** Headers by event index; events without any are absent. */
  readonly headers = new Map<number, RecordHeaders>();

  /** Copies one event in. `value` may be a view on memory that is reused after the call. */
  add(value: Uint8Array, receivedAt: number, headers?: RecordHeaders): void {
    const end = this.byteLength + value.length;
    if (end > this.bytes.length) this.#grow(end);
    this.bytes.set(value, this.byteLength);
    this.byteLength = end;
    if (headers !== undefined) this.headers.set(this.count, headers);
    this.ends[this.count] = end;
    this.receivedAt[this.count] = receivedAt;
    this.count++;
  }

  /** Empties the batch and keeps its memory, unless a burst made it large: then it shrinks. */
  clear(maxKeptBytes = 1024 * 1024): void {
    if (this.bytes.length > maxKeptBytes) this.bytes = Buffer.allocUnsafeSlow(initialBytes);
    this.byteLength = 0;
    this.count = 0;
    this.isOpen = false;
    this.ends.length = 0;
    this.receivedAt.length = 0;
    this.headers.clear();
  }

  #grow(atLeast: number): void {
    let size = this.bytes.length * 2;
    while (size < atLeast) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    grown.set(this.bytes.subarray(0, this.byteLength));
    this.bytes = grown;
  }
}

/**
 * Header that carries the id of an event by which repeats are found: the client's, or one made from its
 * Idempotency-Key. Absent from events without any.
 */
export const idHeader = 'id';

/** Headers of one record, in order. Empty for the plain event. */
export type RecordHeaders = readonly (readonly [key: string, value: string])[];

/**
 * Consecutive records of a partition, stored column by column: reading a million records must not make a
 * million objects. Record `i` is `bytes[starts[i] .. ends[i])`.
 */
export interface RecordBlock {
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly starts: ArrayLike<number>;
  readonly ends: ArrayLike<number>;
  /** Offsets, ascending. */
  readonly offsets: ArrayLike<number>;
  /** Record timestamps: when the event was received, milliseconds since the epoch. */
  readonly receivedAt: ArrayLike<number>;
  /** Headers of record `i`; undefined when no record of the block has any. */
  readonly headers?: readonly (RecordHeaders | undefined)[];
  /**
   * Why record `i` cannot be read, beginning with a code as BATCH_TOO_LARGE: its value is no event then, but what could
   * be kept of it. Undefined when all records can be read.
   */
  readonly unreadable?: readonly (string | undefined)[];
}

/**
 * Partition of the event with this id, so that all repeats of it meet in one: crc32 of its UTF-8, modulo the
 * number of partitions, which must not be 0. Another number of partitions gives other places.
 */
export function partitionOf(id: string, partitions: number): number {
  return crc32(id) % partitions;
}

/** The id among the headers of a record; undefined when it has none. */
export function idAmong(headers: RecordHeaders): string | undefined {
  for (const [key, value] of headers) if (key === idHeader) return value;
  return undefined;
}

/**
 * Copies `source[start .. end)` to `at` in `target`, four bytes at a time: of short pieces, half the cost of
 * `set(subarray)`, which makes an object. Forwards: within one memory, a piece may run into its own copy when that
 * begins at least four bytes behind it.
 */
export function copyShort(source: DataView, start: number, end: number, target: DataView, at: number): void {
  let from = start;
  let to = at;
  for (const lastWord = end - 3; from < lastWord; from += 4, to += 4) {
    target.setUint32(to, source.getUint32(from, true), true);
  }
  for (; from < end; from++, to++) target.setUint8(to, source.getUint8(from));
}

/** A view for {@link copyShort}. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Most bytes of a varint below 2^35. */
export const varintBytes = 5;

/** Writes `value`, a safe integer of 0 or more, seven bits a byte, lowest first; returns the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let position = at;
  while (rest >= 0x80) {
    target[position++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[position++] = rest;
  return position;
}

/** Bytes that headers take beside the value of a record, about. */
export function headersBytes(headers: RecordHeaders): number {
  let bytes = 0;
  for (const [key, value] of headers) bytes += key.length + Buffer.byteLength(value) + 4;
  return bytes;
}
