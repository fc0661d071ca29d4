/**
 * What ClickHouse cannot hold although it is JSON and fits the schema. An event that is acknowledged must become a row, so
 * such an event is refused. It is looked for in two steps: a quick one, which ordinary events pass, and a careful one
 * over the text of those that do not (find-fault.ts).
 *
 * - A number beyond 64 bits, or beyond a double.
 * - A key twice in an object: parsers keep different ones of the two, so what is validated would not be what is stored.
 * - A path twice: to ClickHouse `{"a.b":1}` and `{"a":{"b":1}}` are the same.
 * - Half a surrogate pair in a key. In a value it is stored as U+FFFD.
 */
import type { EventSchema } from '../schema/schema.ts';
import { findFault } from './find-fault.ts';
import type { PostedEvent } from './parse-events.ts';
import { checkId, ownId } from './post-headers.ts';
import type { Problem } from './problem.ts';

/** What bounds the shape of an event. */
interface ShapeLimits {
  /** Deepest nesting; the event itself is level 1. */
  readonly maxEventDepth: number;
  /** Most keys, those of nested objects and of objects in arrays included. */
  readonly maxEventKeys: number;
}

/** From here on, a number may be beyond 64 bits: 2^63 is what a double makes of the largest Int64 as well. */
const suspiciousNumber = 2 ** 63;
/** Keys of what is nested too deeply: whatever is added stays below zero. */
const tooDeep = -(2 ** 40);
/** Characters of a key whose dots need not be counted: each dot is a level of nesting. */
const plainKey = 32;
const quote = 0x22;
const colon = 0x3a;
const space = 0x20;

/** Whether {@link countKeys} has met something suspicious, and whether keys can be so. */
let isSuspect = false;
let haveKeysEscapes = false;
let haveKeysDots = false;
/** Bytes of the shortest text that says what {@link countKeys} has seen; NaN where that is not known. */
let shortest = 0;

/**
 * Checks the shape of an event, and that ClickHouse can hold it; undefined when both are so.
 * Depth comes first, since ajv and ClickHouse recurse.
 */
function checkShape(
  event: PostedEvent,
  limits: ShapeLimits & { readonly schema: Pick<EventSchema, 'signed'> },
): Problem | undefined {
  const { bytes, value } = event;
  if (typeof value !== 'object' || value === null) return undefined;
  isSuspect = false;
  haveKeysEscapes = event.hasEscapes;
  haveKeysDots = event.hasDots;
  shortest = 0;
  const keys = countKeys(value, limits.maxEventDepth);
  if (keys < 0) {
    const detail = `the event is nested deeper than ${limits.maxEventDepth} levels`;
    return { code: 'TOO_DEEP', detail };
  }
  if (keys > limits.maxEventKeys) {
    const detail = `the event has ${keys} keys, counting those of nested objects; the limit is ${limits.maxEventKeys}`;
    return { code: 'TOO_MANY_KEYS', detail };
  }
  // A key that is there twice makes a text longer than it has to be: most texts are not, and need not be looked at.
  const isPlain = shortest === bytes.length || countColons(bytes) === keys;
  return isSuspect || !isPlain
    ? findFault(bytes, keys, { isSuspect, signed: limits.schema.signed })
    : undefined;
}

let wordsOf: ArrayBufferLike | undefined;
let words: Uint32Array = new Uint32Array();
/** The colon, four times. */
const colons = 0x3a3a3a3a;
const lowBits = 0x7f7f7f7f;

/**
 * Colons behind a quote or a space: as many as keys, unless a key is there twice, or a text has such colons, too. Four
 * bytes at a time, since most have no colon.
 */
function countColons(bytes: Buffer): number {
  const { buffer, byteOffset, length } = bytes;
  if (buffer !== wordsOf) {
    wordsOf = buffer;
    words = new Uint32Array(buffer, 0, buffer.byteLength >>> 2);
  }
  let count = 0;
  let i = 0;
  const aligned = Math.min(length, (4 - (byteOffset & 3)) & 3);
  for (; i < aligned; i++) if (isKeyEnd(bytes, i)) count++;
  for (let word = (byteOffset + i) >>> 2; i + 4 <= length; word++, i += 4) {
    const differs = (words[word] as number) ^ colons;
    // A byte that is a colon differs in no bit.
    if ((((differs & lowBits) + lowBits) | differs | lowBits) === -1) continue;
    for (let byte = i; byte < i + 4; byte++) if (isKeyEnd(bytes, byte)) count++;
  }
  for (; i < length; i++) if (isKeyEnd(bytes, i)) count++;
  return count;
}

function isKeyEnd(bytes: Buffer, at: number): boolean {
  const before = bytes[at - 1] as number;
  return bytes[at] === colon && (before === quote || before <= space);
}

/** Keys of a value, those within included; below zero when it is nested too deeply. */
function countKeys(value: object, levels: number): number {
  if (levels === 0) return tooDeep;
  let keys = 0;
  if (Array.isArray(value)) {
    // Brackets, and commas between.
    shortest += value.length === 0 ? 2 : value.length + 1;
    for (let i = 0; i < value.length; i++) keys += countWithin(value[i], levels);
    return keys;
  }
  let own = 0;
  for (const key in value) {
    own++;
    if (key.length > plainKey && haveKeysDots && dotsIn(key) > levels) return tooDeep;
    // Quotes, colon, and the comma or the bracket behind.
    shortest += key.length + 4;
    keys += countWithin((value as Record<string, unknown>)[key], levels);
  }
  shortest += own === 0 ? 2 : 1;
  // Without keys in what is within there is no second way to a path.
  if ((haveKeysDots && keys > 0) || haveKeysEscapes) suspectKeys(value);
  return keys + own;
}

function countWithin(value: unknown, levels: number): number {
  if (typeof value === 'string') {
    shortest += value.length + 2;
    return 0;
  }
  if (typeof value === 'number') {
    if (value >= suspiciousNumber || value <= -suspiciousNumber) isSuspect = true;
    shortest += shortestNumber(value);
    return 0;
  }
  if (typeof value === 'object' && value !== null) return countKeys(value, levels - 1);
  shortest += value === false ? 5 : 4;
  return 0;
}

/** Digits of a whole number. Unknown where an exponent may be shorter: of fractions, and with three zeros at the end. */
function shortestNumber(value: number): number {
  if (value >= 0 && value < 10) return Number.isInteger(value) ? 1 : Number.NaN;
  if (!Number.isSafeInteger(value) || value % 1_000 === 0) return Number.NaN;
  let digits = value < 0 ? 2 : 1;
  for (let rest = Math.abs(value); rest >= 10; rest /= 10) digits++;
  return digits;
}

function dotsIn(key: string): number {
  let dots = 0;
  for (let dot = key.indexOf('.'); dot !== -1; dot = key.indexOf('.', dot + 1)) dots++;
  return dots;
}

function suspectKeys(object: object): void {
  for (const key in object)
    if (isPathTwice(object, key) || (haveKeysEscapes && /[\ud800-\udfff]/.test(key))) isSuspect = true;
}

/** Two ways to one path part at an object where the key of one is the beginning of the other's, up to a dot. */
function isPathTwice(object: object, key: string): boolean {
  for (let dot = key.indexOf('.'); dot !== -1; dot = key.indexOf('.', dot + 1)) {
    const other = (object as Record<string, unknown>)[key.slice(0, dot)];
    if (typeof other === 'object' && other !== null) return true;
  }
  return false;
}

/** What an event must satisfy. */
export interface EventLimits extends ShapeLimits {
  readonly schema: EventSchema;
  /** Largest event, bytes. */
  readonly maxEventBytes: number;
}

/** Checks one event; undefined when it may be stored. */
export function validateEvent(event: PostedEvent, limits: EventLimits): Problem | undefined {
  const { bytes, value } = event;
  const { schema, maxEventBytes } = limits;
  if (bytes.length > maxEventBytes) {
    return {
      code: 'EVENT_TOO_LARGE',
      detail: `the event has ${bytes.length} bytes; the limit is ${maxEventBytes}`,
    };
  }
  const fault = checkShape(event, limits);
  if (fault !== undefined) return fault;
  const mismatch = schema.validate(value);
  if (mismatch === undefined) {
    const id = schema.hasId ? ownId(value) : undefined;
    return id === undefined ? undefined : checkId(id);
  }
  return {
    code: 'INVALID_EVENT',
    detail: `${mismatch.path === '' ? 'the event' : mismatch.path} ${mismatch.reason}`,
  };
}
