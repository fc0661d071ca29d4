/**
 * What ties a post to other systems: the id that a proxy gave it, and the trace that it is part of.
 *
 * The span of a post: `send <topic>`, from its arrival to its answer.
 */
import type { RecordHeaders } from '../buffer/records.ts';
import { nowMs, type Tracer } from '../tracing/span.ts';
import {
  formatTraceparent,
  newContext,
  parseTraceparent,
  type TraceContext,
  traceparentHeader,
  tracestateHeader,
} from '../tracing/trace-context.ts';
import { readRequestId } from './failure-log.ts';
import type { HttpRequest } from './http-app.ts';

/** What is known of one post. */
export interface PostTrace {
  readonly requestId: string | undefined;
  readonly span: PostSpan | undefined;
}

/** Reads it from the headers of a post, while they can be read. */
export type TraceReader = (req: HttpRequest) => PostTrace | undefined;

/** What of it is wanted. */
interface TraceOptions {
  readonly tracer?: Tracer | undefined;
  /** What the topic of the events is called. */
  readonly topic: string;
  /** Whether each post keeps the id that it came with. */
  readonly keepRequestIds: boolean;
}

/** Makes the reader; undefined when there is nothing to read, so that posts cost what they did without it. */
export function createTraceReader({ tracer, topic, keepRequestIds }: TraceOptions): TraceReader | undefined {
  if (tracer === undefined && !keepRequestIds) return undefined;
  const tracing = tracer && { tracer, topic };
  return (req) => {
    const span = tracing && beginPostSpan(tracing, (name) => req.getHeader(name));
    const requestId = keepRequestIds || span !== undefined ? readRequestId(req) : undefined;
    return span === undefined && requestId === undefined ? undefined : { span, requestId };
  };
}

/** Longer ones may be dropped: https://www.w3.org/TR/trace-context/#tracestate-limits */
const longestState = 512;

/** Where spans of posts go, and what the topic of their events is called. */
interface PostTracing {
  readonly tracer: Tracer;
  readonly topic: string;
}

/** How a post ended. */
interface PostEnd {
  readonly status: number;
  /** Events that were stored. */
  readonly events: number;
  /** Code of the problem that it was answered with. */
  readonly code?: string | undefined;
}

/** A post whose trace is recorded. */
class PostSpan {
  /** Headers for the records of its events. */
  readonly headers: RecordHeaders;
  readonly #tracing: PostTracing;
  readonly #context: TraceContext;
  readonly #parent: TraceContext | undefined;
  readonly #state: string | undefined;
  readonly #startMs = nowMs();

  constructor(tracing: PostTracing, parent: TraceContext | undefined, state: string | undefined) {
    this.#tracing = tracing;
    this.#parent = parent;
    this.#state = state;
    this.#context = newContext(parent);
    const traceparent = [traceparentHeader, formatTraceparent(this.#context)] as const;
    this.headers = state === undefined ? [traceparent] : [traceparent, [tracestateHeader, state]];
  }

  get traceId(): string {
    return this.#context.traceId;
  }

  /** Ends it. */
  end({ status, events, code }: PostEnd): void {
    const { tracer, topic } = this.#tracing;
    tracer.record({
      context: this.#context,
      parent: this.#parent,
      state: this.#state,
      name: `send ${topic}`,
      kind: 'producer',
      startMs: this.#startMs,
      endMs: nowMs(),
      attributes: {
        'messaging.system': tracer.system,
        'messaging.operation.name': 'send',
        'messaging.operation.type': 'send',
        'messaging.destination.name': topic,
        'messaging.batch.message_count': events,
        'http.response.status_code': status,
        'error.type': code,
      },
      // As for any server: what the client did wrong is no error of ours.
      error: status >= 500 ? (code ?? String(status)) : undefined,
    });
  }
}

/**
 * The span of a post with these headers; undefined when it is not recorded. Whoever began the trace decides that;
 * where there is none, the share of the tracer does.
 */
function beginPostSpan(tracing: PostTracing, header: (name: string) => string): PostSpan | undefined {
  const traceparent = header(traceparentHeader);
  const parent = traceparent === '' ? undefined : parseTraceparent(traceparent);
  if (!(parent?.isSampled ?? tracing.tracer.isSampled())) return undefined;
  const state = parent === undefined ? '' : header(tracestateHeader);
  return new PostSpan(tracing, parent, state === '' || state.length > longestState ? undefined : state);
}
