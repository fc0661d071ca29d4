/** The fields that make up a line of an access log: quoted text, escapes, times. */

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const timePattern = /^(\d{2})\/([A-Z][a-z]{2})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})$/;

const quote = 0x22;
const backslash = 0x5c;
const space = 0x20;

/** A quoted field. */
export interface QuotedField {
  /** Content with its escapes resolved. */
  readonly text: string;
  /** Index after the closing quote, or the length of the line. */
  readonly end: number;
  /** False when the line ends within the field, as when a log was cut. */
  readonly closed: boolean;
}

/** What comes after a field, of which the next one is quoted too, or not: the end, or words up to a field or the end. */
const afterField = /(?: [^\s"]+)*(?=$| ")/y;

/**
 * Reads the quoted field at `start`; undefined when there is none. A quote within the field counts as its end
 * only before a space or the end of the line, since some servers do not escape quotes; with `isBeforeFields` only
 * where words and quoted fields follow.
 */
export function readQuotedField(
  line: string,
  start: number,
  { isBeforeFields = false } = {},
): QuotedField | undefined {
  if (line.charCodeAt(start) !== quote) return undefined;
  const isEnd = (end: number): boolean => {
    if (end === line.length) return true;
    if (!isBeforeFields) return line.charCodeAt(end) === space;
    afterField.lastIndex = end;
    return afterField.test(line);
  };
  for (let at = start + 1; at < line.length; at += 1) {
    const code = line.charCodeAt(at);
    if (code === backslash) at += 1;
    else if (code === quote && isEnd(at + 1)) {
      return { text: resolveEscapes(line.slice(start + 1, at)), end: at + 1, closed: true };
    }
  }
  return { text: resolveEscapes(line.slice(start + 1)), end: line.length, closed: false };
}

/** Milliseconds since 1970 of `17/May/2015:10:05:03 +0000`; undefined when it is no such time. */
export function parseLogTime(text: string): number | undefined {
  const match = timePattern.exec(text);
  if (match === null) return undefined;
  const [, day, monthName = '', year, hour, minute, second, sign, zoneHours, zoneMinutes] = match;
  const month = months.indexOf(monthName);
  const inRange =
    month >= 0 &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) <= 60 &&
    Number(zoneMinutes) < 60;
  if (!inRange) return undefined;
  const dayMs = Date.UTC(Number(year), month, Number(day));
  // Date.UTC turns 31 February into 3 March.
  if (new Date(dayMs).getUTCDate() !== Number(day)) return undefined;
  const zone = (Number(zoneHours) * 60 + Number(zoneMinutes)) * (sign === '-' ? -1 : 1);
  return dayMs + ((Number(hour) * 60 + Number(minute) - zone) * 60 + Number(second)) * 1000;
}

/** What Apache writes for control characters; nginx writes `\xHH` for everything. */
const controls: Readonly<Record<string, string>> = {
  b: '\b',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '"': '"',
  '\\': '\\',
};

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Resolves `\"`, `\\`, `\n` and runs of `\xHH`, which are bytes. What cannot be resolved stays as written. */
export function resolveEscapes(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/(?:\\x[0-9A-Fa-f]{2})+|\\(.)/gs, (written: string, single: string | undefined) => {
    if (single !== undefined) return controls[single] ?? written;
    try {
      return utf8.decode(Buffer.from(written.replaceAll('\\x', ''), 'hex'));
    } catch {
      // Bytes of an old single-byte encoding, and which one is not known.
      return written;
    }
  });
}
