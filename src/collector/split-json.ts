/**
 * Finds where the elements of a JSON array lie in its bytes, so that each event is stored exactly as posted.
 * Works on text that JSON.parse has accepted already, and relies on it, but for `hasMoreValues`, which comes before.
 */

const quote = 0x22;
const backslash = 0x5c;
const newline = 0x0a;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** Starts and ends of values, in pairs: `[start0, end0, start1, end1, ...]`. */
type Ranges = readonly number[];

/** Whether a byte is whitespace to JSON. */
export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Index of the first byte at or after `at` that is not whitespace. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  let index = at;
  while (isSpace(bytes[index])) index++;
  return index;
}

/**
 * Whether a text holds more than `limit` values, about: counted are commas and opening brackets outside of strings, of which
 * every value but the first of an object needs one. The text need not be JSON. Strings end at a line break at the
 * latest, as in JSON they must: a broken line of NDJSON hides nothing of the next.
 */
export function hasMoreValues(bytes: Uint8Array, limit: number): boolean {
  let values = 0;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (byte === quote) index = endOfString(bytes, index);
    else if (byte === comma || byte === openBrace || byte === openBracket) {
      values++;
      if (values > limit) return true;
    }
  }
  return false;
}

/** Index of the quote, or of the line break, that ends the string that starts at `at`. */
function endOfString(bytes: Uint8Array, at: number): number {
  let index = at + 1;
  while (index < bytes.length) {
    const byte = bytes[index];
    if (byte === quote || byte === newline) return index;
    index += byte === backslash && bytes[index + 1] !== newline ? 2 : 1;
  }
  return index;
}

/** Ranges of the elements of the array that starts at or after `at`. */
export function splitArray(bytes: Uint8Array, at: number): Ranges {
  const ranges: number[] = [];
  let index = skipSpace(bytes, skipSpace(bytes, at) + 1);
  while (bytes[index] !== closeBracket && index < bytes.length) {
    const end = skipValue(bytes, index);
    ranges.push(index, end);
    index = skipSpace(bytes, end);
    if (bytes[index] === comma) index = skipSpace(bytes, index + 1);
  }
  return ranges;
}

/**
 * Index where the value of a property of the object that starts at or after `at` begins; -1 when there is
 * none. Of repeated properties the last counts, as it does to JSON.parse.
 */
export function findProperty(bytes: Buffer, at: number, name: string): number {
  let found = -1;
  let index = skipSpace(bytes, skipSpace(bytes, at) + 1);
  while (bytes[index] !== closeBrace && index < bytes.length) {
    const keyEnd = skipValue(bytes, index);
    const key: unknown = JSON.parse(bytes.toString('utf8', index, keyEnd));
    index = skipSpace(bytes, keyEnd);
    if (bytes[index] === colon) index = skipSpace(bytes, index + 1);
    if (key === name) found = index;
    index = skipSpace(bytes, skipValue(bytes, index));
    if (bytes[index] === comma) index = skipSpace(bytes, index + 1);
  }
  return found;
}

/** Index after the value that starts at `at`. */
function skipValue(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first === quote) return skipString(bytes, at);
  if (first !== openBrace && first !== openBracket) return skipScalar(bytes, at);
  let depth = 0;
  let index = at;
  while (index < bytes.length) {
    const byte = bytes[index];
    if (byte === quote) {
      index = skipString(bytes, index);
      continue;
    }
    if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) depth--;
    index++;
    if (depth === 0) return index;
  }
  return index;
}

function skipString(bytes: Uint8Array, at: number): number {
  let index = at + 1;
  while (index < bytes.length && bytes[index] !== quote) index += bytes[index] === backslash ? 2 : 1;
  return index + 1;
}

function skipScalar(bytes: Uint8Array, at: number): number {
  let index = at;
  while (index < bytes.length) {
    const byte = bytes[index];
    if (byte === comma || byte === closeBrace || byte === closeBracket || isSpace(byte)) break;
    index++;
  }
  return index;
}
