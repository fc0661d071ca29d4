/**
 * Trace contexts as they travel: W3C Trace Context, https://www.w3.org/TR/trace-context/
 *
 * The traces of the events in a batch, gathered from the headers of its records.
 */
import { randomBytes } from 'node:crypto';
import type { RecordHeaders } from '../buffer/records.ts';

/** Names of the headers, of requests and of records. */
export const traceparentHeader = 'traceparent';
export const tracestateHeader = 'tracestate';

/** A span, as others refer to it. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** Whether whoever began the trace wants it recorded. */
  readonly isSampled: boolean;
}

const form = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;
const zeros = /^0+$/;
/** The bit of the flags that says that a span is recorded. */
export const sampledFlag = 1;

/** Reads a `traceparent`; undefined when it is none. Later versions may say more after the flags. */
export function parseTraceparent(text: string): TraceContext | undefined {
  const [, version, traceId = '', spanId = '', flags = '', more] = form.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (zeros.test(traceId) || zeros.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & sampledFlag) !== 0 };
}

/** The `traceparent` of a span. */
export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
}

/** A new span that is recorded: in the trace of its parent, else in one of its own. */
export function newContext(parent?: TraceContext): TraceContext {
  return { traceId: parent?.traceId ?? randomHex(16), spanId: randomHex(8), isSampled: true };
}

function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** As many as OpenTelemetry's SDKs keep by default. */
const maxLinks = 128;

/** Contexts that are recorded, each once, up to a limit. */
export class EventLinks {
  readonly #contexts = new Map<string, TraceContext>();
  /** Events of one post lie next to each other, under the same context. */
  #last = '';
  /** Contexts beyond the limit. */
  dropped = 0;

  get contexts(): readonly TraceContext[] {
    return [...this.#contexts.values()];
  }

  /** Looks for a context in the headers of a record, which anybody may have written. */
  see(headers: RecordHeaders | undefined): void {
    if (headers === undefined) return;
    for (const [name, value] of headers)
      if (name === traceparentHeader && value !== this.#last) this.#add(value);
  }

  #add(traceparent: string): void {
    this.#last = traceparent;
    if (this.#contexts.has(traceparent)) return;
    const context = parseTraceparent(traceparent);
    if (!context?.isSampled) return;
    if (this.#contexts.size < maxLinks) this.#contexts.set(traceparent, context);
    else this.dropped++;
  }
}
