/** The traces of the events in a batch, gathered from the headers of its records. */
import type { RecordHeaders } from '../buffer/record-block.ts';
import { parseTraceparent, type TraceContext, traceparentHeader } from './trace-context.ts';

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
