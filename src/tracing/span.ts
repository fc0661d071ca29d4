/** What is recorded of one piece of work. */
import { CounterView, type Instruments } from '../metrics/metrics.ts';
import type { TraceContext } from './trace-context.ts';

/** Names and values after OpenTelemetry's semantic conventions for messaging, where they have one. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** A span that has ended. */
export interface Span {
  readonly context: TraceContext;
  readonly parent?: TraceContext | undefined;
  /** The `tracestate` that came with the parent. */
  readonly state?: string | undefined;
  readonly name: string;
  readonly kind: 'producer' | 'consumer';
  /** Milliseconds since the epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly links?: readonly TraceContext[];
  /** Contexts that there was no room for among the links. */
  readonly droppedLinks?: number;
  /** Why it failed. */
  readonly error?: string | undefined;
}

/** Takes the spans of a process. */
export interface Tracer {
  /** What the buffer is called in attributes. */
  readonly system: string;
  /** Whether to record a trace that begins here. */
  isSampled(): boolean;
  /** Keeps a span until it is sent; drops it when too many wait. Never throws. */
  record(span: Span): void;
  /** Spans that were sent, and those that never will be. */
  readonly counts: { readonly sent: number; readonly dropped: number };
  /** Sends what waits, once. */
  close(): Promise<void>;
}

/** The time now, finer than `Date.now`, in milliseconds since the epoch. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Metrics of a tracer, where there is one. */
export function createTraceInstruments(tracer: Tracer | undefined): Instruments {
  if (tracer === undefined) return {};
  return {
    spansSent: new CounterView(() => tracer.counts.sent),
    spansDropped: new CounterView(() => tracer.counts.dropped),
  };
}
