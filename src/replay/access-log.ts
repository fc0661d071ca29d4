/** Lines of access logs in the combined format of Apache and nginx, as events. */
import { isIP } from 'node:net';
import { parseLogTime, readQuotedField } from './log-fields.ts';
import type { NameUserAgent } from './user-agent.ts';

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
export type LogLine =
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
  if (head === null) return unreadable('does not start as: address, identity, user, [time], "request"');
  const [start, first = '', second = '', , timeText = ''] = head;
  const timeMs = parseLogTime(timeText);
  if (timeMs === undefined) return unreadable(`has no time, but [${timeText.slice(0, 40)}]`);

  const request = readQuotedField(line, start.length);
  if (request?.closed !== true) return unreadable('ends within the request');
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
