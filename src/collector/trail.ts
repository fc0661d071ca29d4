/** What ties a post to other systems: the id that a proxy gave it, and the trace that it is part of. */

import type { Tracer } from '../tracing/span.ts';
import { readRequestId } from './failure-log.ts';
import type { HttpRequest } from './http-app.ts';
import { beginPostSpan, type PostSpan } from './post-span.ts';

/** What is known of one post. */
export interface Trail {
  readonly requestId: string | undefined;
  readonly span: PostSpan | undefined;
}

/** Reads it from the headers of a post, while they can be read. */
export type TrailReader = (req: HttpRequest) => Trail | undefined;

/** What of it is wanted. */
export interface TrailOptions {
  readonly tracer?: Tracer | undefined;
  /** What the topic of the events is called. */
  readonly topic: string;
  /** Whether each post keeps the id that it came with. */
  readonly keepRequestIds: boolean;
}

/** Makes the reader; undefined when there is nothing to read, so that posts cost what they did without it. */
export function createTrailReader({ tracer, topic, keepRequestIds }: TrailOptions): TrailReader | undefined {
  if (tracer === undefined && !keepRequestIds) return undefined;
  const tracing = tracer && { tracer, topic };
  return (req) => {
    const span = tracing && beginPostSpan(tracing, (name) => req.getHeader(name));
    const requestId = keepRequestIds || span !== undefined ? readRequestId(req) : undefined;
    return span === undefined && requestId === undefined ? undefined : { span, requestId };
  };
}
