/** Formats that begin with the names of the columns: the engine writes them around every piece of a streamed result. */
import type { StreamChunk } from './binding.ts';
import { EngineError } from './error.ts';

/** Where the header of a piece ends. */
type HeaderEnd = (piece: Buffer) => number;

const kinds: ReadonlyArray<readonly [format: RegExp, end: HeaderEnd]> = [
  [/^(TSV|TabSeparated|JSONCompact(Strings)?EachRow)WithNames$/i, (piece) => endOfLines(piece, 1)],
  [/^(TSV|TabSeparated|JSONCompact(Strings)?EachRow)WithNamesAndTypes$/i, (piece) => endOfLines(piece, 2)],
  [/^CSVWithNames$/i, (piece) => endOfRecords(piece, 1)],
  [/^CSVWithNamesAndTypes$/i, (piece) => endOfRecords(piece, 2)],
  [/^RowBinaryWithNames$/i, (piece) => endOfStrings(piece, 1)],
  [/^RowBinaryWithNamesAndTypes$/i, (piece) => endOfStrings(piece, 2)],
];

/** Whether the pieces of a format have a header that {@link withOneHeader} can take away. */
export function hasHeader(format: string): boolean {
  return kinds.some(([pattern]) => pattern.test(format));
}

/**
 * The pieces of a result, of which the first alone has a header.
 * @throws EngineError 49 when the engine writes something else
 */
export async function* withOneHeader(
  chunks: AsyncGenerator<StreamChunk, void, undefined>,
  format: string,
): AsyncGenerator<StreamChunk, void, undefined> {
  const endOf = kinds.find(([pattern]) => pattern.test(format))?.[1];
  let header: Buffer | undefined;
  for await (const chunk of chunks) {
    const piece = Buffer.from(chunk.bytes.buffer, chunk.bytes.byteOffset, chunk.bytes.byteLength);
    if (endOf === undefined) {
      yield chunk;
    } else if (header === undefined) {
      header = Buffer.from(piece.subarray(0, endOf(piece)));
      yield chunk;
    } else if (piece.subarray(0, header.length).equals(header)) {
      yield { ...chunk, bytes: piece.subarray(header.length) };
    } else {
      throw new EngineError(
        49,
        'LOGICAL_ERROR',
        `A piece of a result in ${format} does not begin as the first`,
      );
    }
  }
}

const newline = 0x0a;
const quote = 0x22;

/** These formats have no line break within a name. */
function endOfLines(piece: Buffer, lines: number): number {
  let end = 0;
  for (let line = 0; line < lines; line += 1) end = piece.indexOf(newline, end) + 1;
  return end;
}

/** A name is in quotes, with its own quotes doubled, and may have line breaks within them (RFC 4180). */
function endOfRecords(piece: Buffer, records: number): number {
  let left = records;
  let isQuoted = false;
  for (let at = 0; at < piece.length; at += 1) {
    if (piece[at] === quote) isQuoted = !isQuoted;
    if (piece[at] === newline && !isQuoted) left -= 1;
    if (left === 0) return at + 1;
  }
  return piece.length;
}

/** The number of columns, and a string for each name, and one for each type: numbers are LEB128. */
function endOfStrings(piece: Buffer, perColumn: number): number {
  let at = 0;
  const readNumber = () => {
    let value = 0;
    for (let factor = 1; at < piece.length; factor *= 128) {
      const byte = piece[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    return value;
  };
  const count = readNumber() * perColumn;
  for (let index = 0; index < count; index += 1) {
    const length = readNumber();
    at += length;
  }
  return at;
}
