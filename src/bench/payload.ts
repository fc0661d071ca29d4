/** What a load run posts: bodies that are made before it starts, so that sending them costs little. */
import { readFileSync, statSync } from 'node:fs';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { createMix } from './payload-mix.ts';

/** Bodies of posts. */
export interface Payload {
  /** `classic`, `mix`, or the file. */
  readonly name: string;
  readonly contentType: 'application/json' | 'application/x-ndjson';
  /** Events in each body, 1 to 20,000. */
  readonly eventsPerPost: number;
  /** Mean size of an event, bytes. */
  readonly bytesPerEvent: number;
  /** Bodies in the order in which they are posted, again and again; at least one. */
  readonly bodies: readonly Buffer[];
}

/** What the first collector was measured with. */
export const classicEvent = '{"event":"view","os":"linux","browser":"chrome"}';

const maxEventsPerPost = 20_000;
const maxFileEvents = 100_000;
const maxFileBytes = 64 * 1024 * 1024;

/**
 * Makes the bodies: from `classic`, one small event; from `mix`, some hundreds of different ones; or from a file of
 * events, one a line. One event a post is sent as application/json, several are sent as NDJSON. When the events of a
 * file do not fill the last body, it is filled up from the first ones.
 * @throws OperatorError exit 2 for a file that cannot be read, is too long, or has a line that is no JSON object
 */
export function createPayload(name: string, eventsPerPost = 1): Payload {
  if (!Number.isInteger(eventsPerPost) || eventsPerPost < 1 || eventsPerPost > maxEventsPerPost)
    throw fault(`a post takes 1 to ${maxEventsPerPost} events, not ${eventsPerPost}`);
  const events = readEvents(name, eventsPerPost);
  const bytes = events.reduce((sum, event) => sum + Buffer.byteLength(event), 0);
  return {
    name,
    contentType: eventsPerPost === 1 ? 'application/json' : 'application/x-ndjson',
    eventsPerPost,
    bytesPerEvent: bytes / events.length,
    bodies: Array.from({ length: Math.ceil(events.length / eventsPerPost) }, (_, i) =>
      createBody(events, i * eventsPerPost, eventsPerPost),
    ),
  };
}

function readEvents(name: string, eventsPerPost: number): readonly string[] {
  if (name === 'classic') return [classicEvent];
  // Enough bodies to differ, and few enough to be held.
  if (name === 'mix') return createMix(eventsPerPost * Math.min(500, Math.ceil(20_000 / eventsPerPost)));
  return readFile(name);
}

function createBody(events: readonly string[], first: number, count: number): Buffer {
  if (count === 1) return Buffer.from(events[first] as string);
  const lines = Array.from({ length: count }, (_, i) => events[(first + i) % events.length]);
  return Buffer.from(`${lines.join('\n')}\n`);
}

function readFile(file: string): string[] {
  const lines = readText(file).split('\n');
  const events: string[] = [];
  for (const [i, line] of lines.entries()) {
    const event = line.trim();
    if (event === '') continue;
    if (!isObject(event)) throw fault(`line ${i + 1} of ${file} is no JSON object`);
    events.push(event);
  }
  if (events.length === 0) throw fault(`${file} holds no event: give one a line`);
  if (events.length > maxFileEvents) throw tooLong(file);
  return events;
}

function readText(file: string): string {
  try {
    if (statSync(file).size > maxFileBytes) throw tooLong(file);
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw fault(`cannot read ${file}: ${messageOf(error)}. Give classic, mix, or a file of events`);
  }
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function tooLong(file: string): OperatorError {
  return fault(
    `${file} has more than ${maxFileEvents} events or ${maxFileBytes / 1024 ** 2} MiB: give a part of it`,
  );
}

function fault(message: string): OperatorError {
  return new OperatorError(message, exitCodes.usage);
}
