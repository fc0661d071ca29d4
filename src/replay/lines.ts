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
export interface LineSplitter {
  /** Takes the next bytes, gives the lines that they complete. */
  push(chunk: Buffer): Line[];
  /** Gives the last line where the file does not end with a line end. */
  finish(): Line[];
}

const lineFeed = 0x0a;
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
      for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
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
