/** Records of many batches on their way into one block: a batch may hold only a few. */
import type { RecordBlock, RecordHeaders } from '../record-block.ts';

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
