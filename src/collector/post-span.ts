/** The span of a post: `send <topic>`, from its arrival to its answer. */
import type { RecordHeaders } from '../buffer/record-block.ts';
import { nowMs, type Tracer } from '../tracing/span.ts';
import {
  formatTraceparent,
  newContext,
  parseTraceparent,
  type TraceContext,
  traceparentHeader,
  tracestateHeader,
} from '../tracing/trace-context.ts';

/** Longer ones may be dropped: https://www.w3.org/TR/trace-context/#tracestate-limits */
const longestState = 512;

/** Where spans of posts go, and what the topic of their events is called. */
export interface PostTracing {
  readonly tracer: Tracer;
  readonly topic: string;
}

/** How a post ended. */
export interface PostEnd {
  readonly status: number;
  /** Events that were stored. */
  readonly events: number;
  /** Code of the problem that it was answered with. */
  readonly code?: string | undefined;
}

/** A post whose trace is recorded. */
export class PostSpan {
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
export function beginPostSpan(tracing: PostTracing, header: (name: string) => string): PostSpan | undefined {
  const traceparent = header(traceparentHeader);
  const parent = traceparent === '' ? undefined : parseTraceparent(traceparent);
  if (!(parent?.isSampled ?? tracing.tracer.isSampled())) return undefined;
  const state = parent === undefined ? '' : header(tracestateHeader);
  return new PostSpan(tracing, parent, state === '' || state.length > longestState ? undefined : state);
}
