import type { EventSchema } from '../schema/schema.ts';
import { checkId, ownId } from './event-id.ts';
import type { PostedEvent } from './parse-events.ts';
import type { Problem } from './problem.ts';

/** What an event must satisfy. */
export interface EventLimits {
  readonly schema: EventSchema;
  /** Largest event, bytes. */
  readonly maxEventBytes: number;
  /** Deepest nesting; the event itself is level 1. */
  readonly maxEventDepth: number;
}

/** Checks one event; undefined when it may be stored. */
export function validateEvent({ bytes, value }: PostedEvent, limits: EventLimits): Problem | undefined {
  const { schema, maxEventBytes, maxEventDepth } = limits;
  if (bytes.length > maxEventBytes) {
    return {
      code: 'EVENT_TOO_LARGE',
      detail: `the event has ${bytes.length} bytes; the limit is ${maxEventBytes}`,
    };
  }
  if (isDeeperThan(value, maxEventDepth)) {
    return { code: 'TOO_DEEP', detail: `the event is nested deeper than ${maxEventDepth} levels` };
  }
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

/** Checks levels before the schema does, since ajv and ClickHouse recurse. */
function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const key in value) {
    const child = (value as Record<string, unknown>)[key];
    if (typeof child === 'object' && child !== null && isDeeperThan(child, levels - 1)) return true;
  }
  return false;
}
