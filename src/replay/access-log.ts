/**
 * Lines of access logs in the combined format of Apache and nginx, as events.
 *
 * The fields that make up a line of an access log: quoted text, escapes, times.
 */
import { isIP } from 'node:net';
import UAParser from 'ua-parser-js';

/**
 * The event that a line becomes. A field that the log leaves out (`-`) is left out here too; so are `method`
 * and `path` when the request is not HTTP, as when a TLS client talks to a plain port. Times are UTC.
 */
export interface LogEvent {
  event: 'view';
  time: string;
  /** Of several the first, which is the client where proxies add theirs; without a port. May be a name. */
  ip?: string;
  method?: string;
  /** As requested, with the query string. */
  path?: string;
  status?: number;
  /** Bytes of the answer's body. */
  bytes?: number;
  referrer?: string;
  user_agent?: string;
  /** Lower-case name, as `chrome`; absent when unknown. */
  browser?: string;
  /** Lower-case name, as `mac os`; absent when unknown. */
  os?: string;
}

/** A line, read: an event and its time, or why it is none. */
type LogLine =
  | { readonly ok: true; readonly event: LogEvent; readonly timeMs: number }
  | { readonly ok: false; readonly reason: string };

// The user may hold spaces, so the time ends it. Addresses of a proxied client are several, with commas between.
const headPattern = /^(\S+?)(?:, ?[^\s,]+)* (\S+) (.+?) \[([^\]"]+)\] (?=")/;
// What some servers write before the referrer, as the time that an answer took, has no quotes.
const countsPattern = / (\d{3}|-) (\d+|-)(?: [^\s"]+)*(?= |$)/y;
const bracketedPattern = /^\[([^\]]*)\](?::\d+)?$/;
const portPattern = /^([^:]+):\d+$/;
const requestPattern = /^([A-Za-z][A-Za-z_-]*) (\S.*?)(?: HTTP\/\d(?:\.\d)?)?$/s;

/**
 * Reads a line in the combined format, in the common format (without referrer and user agent), or either with
 * the virtual host in front. Unquoted fields before the referrer, and all after the user agent, are ignored.
 */
export function parseLogLine(line: string, nameUserAgent: NameUserAgent): LogLine {
  const head = headPattern.exec(line);
  if (head === null) return unreadable('does not start with: address, identity, user, [time], "request"');
  const [start, first = '', second = '', , timeText = ''] = head;
  const timeMs = parseLogTime(timeText);
  if (timeMs === undefined) return unreadable(`has no time, but [${timeText.slice(0, 40)}]`);

  const request = readQuotedField(line, start.length);
  if (request?.closed !== true) return unreadable('ends in the middle of the request');
  countsPattern.lastIndex = request.end;
  const counts = countsPattern.exec(line);
  if (counts === null) return unreadable('has no status and size after the request');

  const event: LogEvent = {
    event: 'view',
    time: new Date(timeMs).toISOString(),
  };
  const client = withoutPort(second);
  const ip = isBehindHost(first, client) ? client : withoutPort(first);
  if (isGiven(ip)) event.ip = ip;
  addRequest(event, request.text);
  if (counts[1] !== '-') event.status = Number(counts[1]);
  if (counts[2] !== '-') event.bytes = Number(counts[2]);
  addClient(event, line, { start: countsPattern.lastIndex + 1, nameUserAgent });
  return { ok: true, event, timeMs };
}

/** Whether the line starts with `www.example.com:443` and the client's address is the second word. */
function isBehindHost(first: string, second: string): boolean {
  return isIP(second) !== 0 && isIP(first) === 0 && /:\d+$/.test(first);
}

/** `192.0.2.7` of `192.0.2.7:54321`, `2001:db8::5` of `[2001:db8::5]:443`. */
function withoutPort(address: string): string {
  return bracketedPattern.exec(address)?.[1] ?? portPattern.exec(address)?.[1] ?? address;
}

function addRequest(event: LogEvent, request: string): void {
  const match = requestPattern.exec(request);
  if (match?.[1] === undefined || match[2] === undefined) return;
  event.method = match[1];
  event.path = match[2];
}

function addClient(event: LogEvent, line: string, at: { start: number; nameUserAgent: NameUserAgent }): void {
  const referrer = readQuotedField(line, at.start, { isBeforeFields: true });
  if (referrer === undefined) return;
  if (isGiven(referrer.text)) event.referrer = referrer.text;
  const userAgent = readQuotedField(line, referrer.end + 1, { isBeforeFields: true });
  if (userAgent === undefined || !isGiven(userAgent.text)) return;
  event.user_agent = userAgent.text;
  const { browser, os } = at.nameUserAgent(userAgent.text);
  if (browser !== undefined) event.browser = browser;
  if (os !== undefined) event.os = os;
}

function isGiven(text: string): boolean {
  return text !== '-' && text !== '';
}

function unreadable(reason: string): LogLine {
  return { ok: false, reason };
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const timePattern = /^(\d{2})\/([A-Z][a-z]{2})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})$/;

const quote = 0x22;
const backslash = 0x5c;
const space = 0x20;

/** A quoted field. */
interface QuotedField {
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
function readQuotedField(
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
function parseLogTime(text: string): number | undefined {
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
function resolveEscapes(text: string): string {
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

/** What a user agent string tells. Lower-case names, as `mobile safari` and `mac os`; absent when unknown. */
interface ClientNames {
  readonly browser?: string;
  readonly os?: string;
}

/** Names the browser and the operating system of a user agent string. */
type NameUserAgent = (userAgent: string) => ClientNames;

/**
 * Makes a {@link NameUserAgent} that remembers its answers: reading a user agent takes some hundred regular
 * expressions, and a log repeats few of them. It holds at most `maxEntries`, then forgets the least recent.
 */
export function createUserAgentNames(maxEntries = 10_000): NameUserAgent {
  const known = new Map<string, ClientNames>();
  return (userAgent) => {
    const names = known.get(userAgent) ?? readNames(userAgent);
    // A map keeps the order of insertion, so the entry moves to the end and the first is the least recent.
    known.delete(userAgent);
    known.set(userAgent, names);
    if (known.size > maxEntries) known.delete(known.keys().next().value ?? userAgent);
    return names;
  };
}

function readNames(userAgent: string): ClientNames {
  const parser = new UAParser(userAgent);
  const browser = parser.getBrowser().name?.toLowerCase();
  const os = parser.getOS().name?.toLowerCase();
  return { ...(browser === undefined ? {} : { browser }), ...(os === undefined ? {} : { os }) };
}
