/** A line that did not become a row, and why. */
export interface LineFault {
  readonly line: number;
  /** The collector's error code, or UNREADABLE when the line was not sent. */
  readonly code: string;
  readonly detail: string;
}

/** Events for one request, and the lines of the file that they come from. */
export interface Batch {
  /** Last line before the batch: everything after it waits for this batch and later ones. */
  readonly afterLine: number;
  readonly lastLine: number;
  /** Position in the file after the last line. */
  readonly end: number;
  /** Line number of each event. Empty: there is nothing to send. */
  readonly lines: readonly number[];
  /** The events, with a line feed between them. */
  readonly body: Buffer;
  /** When the last event is due, milliseconds after the start. */
  readonly dueMs: number;
  /** Lines within that are no events; `faults` holds the first few. */
  readonly unreadable: number;
  readonly faults: readonly LineFault[];
}

/** When a batch is full. */
export interface BatchLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Longest time from the first due event to the last, milliseconds. */
  readonly windowMs: number;
}

/** Most faults that are kept for showing, of a batch and of a run. */
export const maxFaultsShown = 10;

const lineFeed = Buffer.from('\n');

/** Collects events into batches. */
export class BatchBuilder {
  readonly #limits: BatchLimits;
  #afterLine = 0;
  #lastLine = 0;
  #end = 0;
  #lines: number[] = [];
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #firstDueMs = 0;
  #dueMs = 0;
  #unreadable = 0;
  #faults: LineFault[] = [];

  constructor(limits: BatchLimits) {
    this.#limits = limits;
  }

  /** Number of events collected. */
  get count(): number {
    return this.#lines.length;
  }

  /** Whether any line was taken since the last batch. */
  get hasLines(): boolean {
    return this.#lastLine > this.#afterLine;
  }

  /** Whether no further event can be added. */
  get isFull(): boolean {
    return this.count >= this.#limits.maxEvents || this.#bytes >= this.#limits.maxBytes;
  }

  /** Whether an event can be added; the first one always can. */
  fits(bytes: number, dueMs: number): boolean {
    if (this.count === 0) return true;
    const { maxBytes, windowMs } = this.#limits;
    return this.#bytes + bytes < maxBytes && dueMs - this.#firstDueMs <= windowMs;
  }

  /** Adds the event of a line. */
  add(line: Line, bytes: Uint8Array, dueMs: number): void {
    if (this.count === 0) this.#firstDueMs = dueMs;
    else this.#parts.push(lineFeed);
    this.#parts.push(bytes);
    this.#lines.push(line.number);
    this.#bytes += bytes.length + 1;
    this.#dueMs = dueMs;
    this.pass(line);
  }

  /** Takes a line that is no event. */
  addFault(line: Line, detail: string): void {
    this.#unreadable += 1;
    if (this.#faults.length < maxFaultsShown) {
      this.#faults.push({ line: line.number, code: 'UNREADABLE', detail });
    }
    this.pass(line);
  }

  /** Takes a line that has no meaning: a blank or skipped one. */
  pass(line: Line): void {
    this.#lastLine = line.number;
    this.#end = line.end;
  }

  /** Gives what was collected and starts anew. */
  seal(): Batch {
    const batch: Batch = {
      afterLine: this.#afterLine,
      lastLine: this.#lastLine,
      end: this.#end,
      lines: this.#lines,
      body: Buffer.concat(this.#parts),
      dueMs: this.#dueMs,
      unreadable: this.#unreadable,
      faults: this.#faults,
    };
    this.#afterLine = this.#lastLine;
    this.#lines = [];
    this.#parts = [];
    this.#bytes = 0;
    this.#unreadable = 0;
    this.#faults = [];
    return batch;
  }
}

/** A line of the file. */
export interface Line {
  /** From 1. */
  readonly number: number;
  /** Its bytes without the line end; empty when it is too long. */
  readonly bytes: Buffer;
  /** Position in the (unpacked) file after its line end. */
  readonly end: number;
  readonly isTooLong: boolean;
}

/** Cuts a stream into lines. */
interface LineSplitter {
  /** Takes the next bytes, gives the lines that they complete. */
  push(chunk: Buffer): Line[];
  /** Gives the last line where the file does not end with a line end. */
  finish(): Line[];
}

const lineEnd = 0x0a;

const carriageReturn = 0x0d;

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Makes a splitter. Of a line of more than `maxBytes` it keeps nothing, so that memory stays bounded. */
export function createLineSplitter(maxBytes: number): LineSplitter {
  let parts: Buffer[] = [];
  let size = 0;
  let number = 0;
  let position = 0;

  function keep(part: Buffer): void {
    size += part.length;
    if (size <= maxBytes) parts.push(part);
    else parts = [];
  }

  function complete(): Line {
    number += 1;
    const isTooLong = size > maxBytes;
    const [first] = parts;
    const bytes = parts.length === 1 && first !== undefined ? first : Buffer.concat(parts);
    parts = [];
    size = 0;
    return { number, bytes: trimLine(bytes, number === 1), end: position, isTooLong };
  }

  return {
    push(chunk) {
      const lines: Line[] = [];
      const base = position;
      let start = 0;
      for (let end = chunk.indexOf(lineEnd); end !== -1; end = chunk.indexOf(lineEnd, start)) {
        keep(chunk.subarray(start, end));
        start = end + 1;
        position = base + start;
        lines.push(complete());
      }
      if (start < chunk.length) keep(chunk.subarray(start));
      position = base + chunk.length;
      return lines;
    },
    finish: () => (size === 0 ? [] : [complete()]),
  };
}

/** Without the carriage return of CRLF, and without the mark that some editors put before the first line. */
function trimLine(line: Buffer, isFirst: boolean): Buffer {
  const start = isFirst && line.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
  const end = line.at(-1) === carriageReturn ? line.length - 1 : line.length;
  return start === 0 && end === line.length ? line : line.subarray(start, end);
}
