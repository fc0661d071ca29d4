/** Builds the body of an insert: each record's own bytes, spliced into a row, never parsed. */
import type { RecordBlock } from '../buffer/record-block.ts';

const initialBytes = 256 * 1024;
/** More than the fixed part of a row can take, beside the topic's name. */
const rowOverhead = 128;

/** Rows of one partition in JSONEachRow, in one growing buffer. */
export class RowWriter {
  readonly #afterTime: string;
  #body: Buffer = Buffer.allocUnsafeSlow(initialBytes);
  #length = 0;
  /** End of row `i` in the body. */
  readonly ends: number[] = [];

  constructor(topic: string, partition: number) {
    this.#afterTime = `,"topic":${JSON.stringify(topic)},"partition":${partition},"offset":`;
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

  /** Appends record `index` of a block as a row. */
  write(block: RecordBlock, index: number): void {
    const start = block.starts[index] as number;
    const end = block.ends[index] as number;
    const head = `{"received_at":${block.receivedAt[index]}${this.#afterTime}${block.offsets[index]},"data":`;
    this.#reserve(end - start + 3 * head.length + rowOverhead);
    const body = this.#body;
    let at = this.#length + body.write(head, this.#length, 'utf8');
    body.set(block.bytes.subarray(start, end), at);
    at += end - start;
    body[at++] = 0x7d; // }
    body[at++] = 0x0a; // newline
    this.#length = at;
    this.ends.push(at);
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
