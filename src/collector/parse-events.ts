/** Turns a body into events: parsed for the checks, and the bytes of each as they were posted. */
import { isUtf8 } from 'node:buffer';
import { messageOf } from '../errors.ts';
import type { Problem, Rejection } from './problem.ts';
import { findProperty, isSpace, splitArray } from './split-json.ts';

const newline = 0x0a;

/** What the content type says about the body. `text` is what sendBeacon sends: any of the others. */
export type BodyType = 'json' | 'ndjson' | 'text';

/** An event of a body. */
export interface PostedEvent {
  /** Its own bytes: a view on the body, valid as long as the body is. */
  readonly bytes: Buffer;
  /** What they say. */
  readonly value: unknown;
  /** Position in the request, from 0. */
  readonly index: number;
}

/** The events of a body. */
export interface PostedEvents {
  /** Whether the body is one event by itself, not a batch that may hold one. */
  readonly isSingle: boolean;
  readonly events: readonly PostedEvent[];
  /** NDJSON lines that cannot be read. */
  readonly rejected: readonly Rejection[];
}

/** Parses a body of at most `maxEvents` events. */
export function parseEvents(body: Buffer, type: BodyType, maxEvents: number): PostedEvents | Problem {
  const { start, end } = trim(body, 0, body.length);
  if (start === end) return { code: 'EMPTY_BODY', detail: 'the body is empty' };
  if (type === 'ndjson') return parseLines(body, maxEvents);

  const text = readText(body, start, end);
  const value = typeof text === 'string' ? parseJson(text) : text;
  if (value instanceof Error) {
    if (type === 'text' && body.indexOf(newline, start) !== -1) return parseLines(body, maxEvents);
    return { code: 'INVALID_JSON', detail: messageOf(value) };
  }
  const batch = batchOf(value);
  if (batch === undefined) {
    return { isSingle: true, events: [{ bytes: body.subarray(start, end), value, index: 0 }], rejected: [] };
  }
  if (batch.length === 0) return { code: 'EMPTY_BODY', detail: 'the batch is empty' };
  if (batch.length > maxEvents) return tooMany(batch.length, maxEvents);
  const ranges = splitArray(body, Array.isArray(value) ? start : findProperty(body, start, 'batch'));
  const events = batch.map((element, index) => ({
    bytes: body.subarray(ranges[2 * index], ranges[2 * index + 1]),
    value: element,
    index,
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
  const events: PostedEvent[] = [];
  const rejected: Rejection[] = [];
  let index = 0;
  for (let from = 0; from < body.length; ) {
    const found = body.indexOf(newline, from);
    const { start, end } = trim(body, from, found === -1 ? body.length : found);
    from = found === -1 ? body.length : found + 1;
    if (start === end) continue;
    if (index >= maxEvents) return tooMany(index + 1, maxEvents);
    const text = readText(body, start, end);
    const value = typeof text === 'string' ? parseJson(text) : text;
    if (value instanceof Error) rejected.push({ index, code: 'INVALID_JSON', detail: messageOf(value) });
    else events.push({ bytes: body.subarray(start, end), value, index });
    index++;
  }
  return { isSingle: false, events, rejected };
}

/** Decodes UTF-8; an Error when it is none: ClickHouse and every consumer of the topic expect JSON's encoding. */
function readText(body: Buffer, start: number, end: number): string | Error {
  const text = body.toString('utf8', start, end);
  // The decoder puts U+FFFD where bytes are wrong. A text of one-byte characters cannot hold it, and V8 knows.
  if (text.includes('\ufffd') && !isUtf8(body.subarray(start, end)))
    return new Error('the text is not valid UTF-8');
  return text;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error;
  }
}

function trim(body: Buffer, from: number, to: number): { start: number; end: number } {
  let start = from;
  let end = to;
  while (start < end && isSpace(body[start])) start++;
  while (end > start && isSpace(body[end - 1])) end--;
  return { start, end };
}

function tooMany(count: number, maxEvents: number): Problem {
  return {
    code: 'TOO_MANY_EVENTS',
    detail: `the request holds ${count} events or more; the limit is ${maxEvents}`,
  };
}
