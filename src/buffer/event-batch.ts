import type { RecordHeaders } from './record-block.ts';

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
