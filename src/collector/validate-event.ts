import type { EventSchema } from '../schema/schema.ts';
import { checkShape, type ShapeLimits } from './admission.ts';
import { checkId, ownId } from './event-id.ts';
import type { PostedEvent } from './parse-events.ts';
import type { Problem } from './problem.ts';

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
