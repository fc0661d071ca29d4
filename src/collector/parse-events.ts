/** Turns a body into events: parsed for the checks, and the bytes of each as they were posted. */
import { isUtf8 } from 'node:buffer';
import { messageOf } from '../errors.ts';
import type { Problem, Rejection } from './problem.ts';
import { findProperty, hasMoreValues, isSpace, skipSpace, splitArray } from './split-json.ts';

const newline = 0x0a;
const openBrace = 0x7b;
const openBracket = 0x5b;
/** A body with more lines that are no JSON is no NDJSON: each of them costs as much as an event. */
const mostUnreadableLines = 1_000;

/** What the content type says about the body. `text` is what sendBeacon sends: any of the others; `form` what curl says unasked. */
export type BodyType = 'json' | 'ndjson' | 'text' | 'form';

/** What bounds the events of a body. */
export interface ParseLimits {
  /** Most events. */
  readonly maxBatchEvents: number;
  /** Most values: properties, and elements of arrays, of all events together. Small ones cost more than their bytes. */
  readonly maxBodyValues: number;
}

/** An event of a body. */
export interface PostedEvent {
  /** Its own bytes: a view on the body, valid as long as the body is. */
  readonly bytes: Buffer;
  /** What they say. */
  readonly value: unknown;
  /** Position in the request, from 0. */
  readonly index: number;
  /** Whether it, or another event of its body, may have an escape `\u` or a dot. */
  readonly hasEscapes: boolean;
  readonly hasDots: boolean;
}

/** The events of a body. */
export interface PostedEvents {
  /** Whether the body is one event by itself, not a batch that may hold one. */
  readonly isSingle: boolean;
  readonly events: readonly PostedEvent[];
  /** NDJSON lines that cannot be read. */
  readonly rejected: readonly Rejection[];
}

/** Parses a body within its limits. */
export function parseEvents(posted: Buffer, type: BodyType, limits: ParseLimits): PostedEvents | Problem {
  // A byte order mark may be ignored (RFC 8259, section 8.1).
  const body = posted[0] === 0xef && posted[1] === 0xbb && posted[2] === 0xbf ? posted.subarray(3) : posted;
  const { start, end } = trim(body, 0, body.length);
  if (start === end) return { code: 'EMPTY_BODY', detail: 'the body is empty' };
  const { maxBatchEvents, maxBodyValues } = limits;
  // A value takes a byte at least: only large bodies are counted, before anything is made of them.
  if (end - start > maxBodyValues && hasMoreValues(body, maxBodyValues)) return tooManyValues(maxBodyValues);
  const isArray = body[start] === openBracket;
  if (type === 'form' && !isArray && body[start] !== openBrace) return notJson();
  if (type === 'ndjson') return isArray ? arrayAsLines() : parseLines(body, maxBatchEvents);

  const text = readText(body, start, end);
  const value = typeof text === 'string' ? parseJson(text) : text;
  if (value instanceof Error) {
    if (isLines(type) && !isArray && body.indexOf(newline, start) !== -1)
      return parseLines(body, maxBatchEvents);
    return { code: 'INVALID_JSON', detail: messageOf(value) };
  }
  const batch = batchOf(value);
  if (batch === undefined) {
    const event = eventOf(body.subarray(start, end), value, 0, text as string);
    return { isSingle: true, events: [event], rejected: [] };
  }
  if (batch.length === 0) return { code: 'EMPTY_BODY', detail: 'the batch is empty' };
  if (batch.length > maxBatchEvents) return tooManyEvents(batch.length, maxBatchEvents);
  const ranges = splitArray(body, Array.isArray(value) ? start : findProperty(body, start, 'batch'));
  const hasEscapes = mayHaveEscapes(text as string);
  const hasDots = (text as string).includes('.');
  const events = batch.map((element, index) => ({
    bytes: body.subarray(ranges[2 * index], ranges[2 * index + 1]),
    value: element,
    index,
    hasEscapes,
    hasDots,
  }));
  return { isSingle: false, events, rejected: [] };
}

/** An array is a batch, and so is an object with an array `batch`, unless it is itself an event. */
function batchOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (typeof value !== 'object' || value === null || !('batch' in value) || 'event' in value)
    return undefined;
  return Array.isArray(value.batch) ? value.batch : undefined;
}

function parseLines(body: Buffer, maxEvents: number): PostedEvents | Problem {
  const { stackTraceLimit } = Error;
  // Of an error for a line only the message is wanted; its stack costs more than all the rest of it.
  Error.stackTraceLimit = 0;
  try {
    return readLines(body, maxEvents);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function readLines(body: Buffer, maxEvents: number): PostedEvents | Problem {
  const events: PostedEvent[] = [];
  const rejected: Rejection[] = [];
  let index = 0;
  // Blank lines are passed over at once, however many there are.
  for (let from = skipSpace(body, 0); from < body.length; from = skipSpace(body, from)) {
    const found = body.indexOf(newline, from);
    const { start, end } = trim(body, from, found === -1 ? body.length : found);
    from = found === -1 ? body.length : found + 1;
    if (index >= maxEvents) return tooManyEvents(index + 1, maxEvents);
    const text = readText(body, start, end);
    const value = typeof text === 'string' ? parseJson(text) : text;
    if (!(value instanceof Error))
      events.push(eventOf(body.subarray(start, end), value, index, text as string));
    else if (rejected.length < mostUnreadableLines) {
      rejected.push({ index, code: 'INVALID_JSON', detail: messageOf(value) });
    } else return tooManyUnreadable(messageOf(value));
    index++;
  }
  return { isSingle: false, events, rejected };
}

/** Decodes UTF-8; an Error when it is none: ClickHouse and every consumer of the topic expect JSON's encoding. */
function readText(body: Buffer, start: number, end: number): string | Error {
  const text = body.toString('utf8', start, end);
  // The decoder puts U+FFFD where bytes are wrong. A text of one-byte characters cannot hold it, and V8 knows.
  if (text.includes('\ufffd') && !isUtf8(body.subarray(start, end))) {
    const isGzip = body[start] === 0x1f && body[start + 1] === 0x8b;
    return new Error(
      isGzip ? 'the body looks like gzip: send Content-Encoding: gzip' : 'the text is not valid UTF-8',
    );
  }
  return text;
}

function eventOf(bytes: Buffer, value: unknown, index: number, text: string): PostedEvent {
  return { bytes, value, index, hasEscapes: mayHaveEscapes(text), hasDots: text.includes('.') };
}

function mayHaveEscapes(text: string): boolean {
  return text.includes('\\u');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error;
  }
}

function isLines(type: BodyType): boolean {
  return type === 'text' || type === 'form';
}

function notJson(): Problem {
  const detail =
    'the body is a form: send JSON with the content type application/json, application/x-ndjson or text/plain';
  return { code: 'UNSUPPORTED_TYPE', detail };
}

/** As lines, all but the last element of an array would be refused, for a reason that misleads. */
function arrayAsLines(): Problem {
  const detail =
    'the body begins with [ like a JSON array, but its content type is NDJSON: send it as application/json';
  return { code: 'INVALID_JSON', detail };
}

function trim(body: Buffer, from: number, to: number): { start: number; end: number } {
  let start = from;
  let end = to;
  while (start < end && isSpace(body[start])) start++;
  while (end > start && isSpace(body[end - 1])) end--;
  return { start, end };
}

function tooManyEvents(count: number, maxEvents: number): Problem {
  return {
    code: 'TOO_MANY_EVENTS',
    detail: `the request holds at least ${count} events; the limit is ${maxEvents}`,
  };
}

function tooManyValues(maxValues: number): Problem {
  const detail = `the request holds more than ${maxValues} properties and array elements; send fewer events at a time`;
  return { code: 'TOO_MANY_VALUES', detail };
}

function tooManyUnreadable(reason: string): Problem {
  const detail = `more than ${mostUnreadableLines} lines are not valid JSON, so no event of the request was stored; the last such line: ${reason}`;
  return { code: 'INVALID_JSON', detail };
}
