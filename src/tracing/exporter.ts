/**
 * Sends spans by OTLP/HTTP: gathered, one request at a time, from a queue with an end. What cannot be sent is tried
 * again at a growing distance while there is room for it, and then dropped and counted: traces never hold events up.
 *
 * Spans in OTLP's JSON encoding, as an OpenTelemetry Collector, Jaeger 2 or Tempo takes them on /v1/traces.
 * Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
import type { Logger } from 'pino';
import { request } from 'undici';
import { messageOf } from '../errors.ts';
import { backOffMs } from '../time.ts';
import type { Attributes, Span, Tracer } from './span.ts';
import { sampledFlag, type TraceContext } from './trace-context.ts';

/** Bounds of the queue, and when it is sent. */
export interface ExportLimits {
  readonly maxQueue: number;
  readonly maxBatch: number;
  readonly intervalMs: number;
  /** For one request, also for the last one at the end of the process. */
  readonly timeoutMs: number;
  readonly maxBackOffMs: number;
}

/** Where spans go, and which of them. */
interface ExporterOptions {
  readonly endpoint: URL;
  /** Part of the traces that begin here that is recorded, 0 to 1. */
  readonly sample: number;
  readonly system: string;
  readonly resource: Attributes;
  readonly log: Logger;
  readonly limits?: Partial<ExportLimits>;
}

const defaults: ExportLimits = {
  maxQueue: 2_048,
  maxBatch: 512,
  intervalMs: 2_000,
  timeoutMs: 5_000,
  maxBackOffMs: 60_000,
};
/** What OTLP says may be sent again: https://opentelemetry.io/docs/specs/otlp/#failures-1 */
const retriable = [429, 502, 503, 504];

/** What became of a request. */
type Outcome =
  | { readonly kind: 'taken'; readonly refused: number; readonly reason?: string }
  | { readonly kind: 'refused' | 'failed'; readonly reason: string };

/** Starts to send. */
export function createExporter(options: ExporterOptions): Tracer {
  return new Exporter(options);
}

class Exporter implements Tracer {
  readonly system: string;
  readonly counts = { sent: 0, dropped: 0 };
  readonly #options: ExporterOptions;
  readonly #limits: ExportLimits;
  #queue: Span[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flight: Promise<void> | undefined;
  #waitMs: number;
  #failures = 0;
  #trouble = '';

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#limits = { ...defaults, ...options.limits };
    this.#waitMs = this.#limits.intervalMs;
    this.system = options.system;
  }

  isSampled(): boolean {
    return Math.random() < this.#options.sample;
  }

  record(span: Span): void {
    const { maxQueue, maxBatch, intervalMs } = this.#limits;
    if (this.#queue.length >= maxQueue) {
      this.counts.dropped++;
      return;
    }
    this.#queue.push(span);
    // A full batch does not wait, unless the receiver is in trouble.
    const isDue = this.#queue.length >= maxBatch && this.#waitMs === intervalMs;
    if (isDue) this.#send();
    else this.#schedule();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#flight;
    clearTimeout(this.#timer);
    // A receiver that is away must not hold the end of the process up for longer than one request may take.
    while (this.#queue.length > 0) {
      await this.#fly();
      if (this.#trouble !== '') break;
    }
    this.counts.dropped += this.#queue.length;
    this.#queue = [];
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#flight !== undefined) return;
    this.#timer = setTimeout(() => this.#send(), this.#waitMs).unref();
  }

  #send(): void {
    if (this.#flight !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flight = this.#fly().finally(() => {
      this.#flight = undefined;
      if (this.#queue.length > 0) this.#schedule();
    });
  }

  async #fly(): Promise<void> {
    const { maxBatch, maxQueue, intervalMs, maxBackOffMs } = this.#limits;
    const batch = this.#queue.splice(0, maxBatch);
    const outcome = await this.#post(batch);
    if (outcome.kind === 'failed') {
      const room = maxQueue - this.#queue.length;
      this.#queue = [...batch.slice(0, room), ...this.#queue];
      this.counts.dropped += Math.max(batch.length - room, 0);
      this.#waitMs = backOffMs(++this.#failures, { firstMs: intervalMs, mostMs: maxBackOffMs });
    } else {
      const refused = outcome.kind === 'taken' ? outcome.refused : batch.length;
      this.counts.sent += batch.length - refused;
      this.counts.dropped += refused;
      this.#failures = 0;
      this.#waitMs = intervalMs;
    }
    this.#report(outcome.reason ?? '');
  }

  async #post(spans: readonly Span[]): Promise<Outcome> {
    const { endpoint, resource } = this.#options;
    try {
      const { statusCode, body } = await request(endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: encodeSpans(spans, resource),
        signal: AbortSignal.timeout(this.#limits.timeoutMs),
      });
      const answer = await body.text();
      if (statusCode >= 200 && statusCode < 300) return readPartialSuccess(answer);
      const reason = `status ${statusCode} ${answer.slice(0, 200)}`.trim();
      return { kind: retriable.includes(statusCode) ? 'failed' : 'refused', reason };
    } catch (error) {
      return { kind: 'failed', reason: messageOf(error) };
    }
  }

  /** Says once that traces are in trouble, and once that they are no more. */
  #report(reason: string): void {
    const { endpoint, log } = this.#options;
    if (reason !== '' && this.#trouble === '') {
      log.warn(
        { spans: this.#queue.length, dropped: this.counts.dropped },
        `traces cannot be sent to ${endpoint}: ${reason}; check --traces-endpoint. Events are not affected`,
      );
    } else if (reason === '' && this.#trouble !== '') {
      log.info({ dropped: this.counts.dropped }, 'traces can be sent again');
    }
    this.#trouble = reason;
  }
}

/** A receiver may take a request and refuse some of its spans. */
function readPartialSuccess(answer: string): Outcome {
  try {
    const { partialSuccess } = JSON.parse(answer) as {
      partialSuccess?: { rejectedSpans?: string | number; errorMessage?: string };
    };
    const refused = Number(partialSuccess?.rejectedSpans ?? 0);
    if (refused > 0) return { kind: 'taken', refused, reason: partialSuccess?.errorMessage ?? 'refused' };
  } catch {
    // Other receivers answer with no JSON, or with none at all.
  }
  return { kind: 'taken', refused: 0 };
}

const kinds = { producer: 4, consumer: 5 } as const;
const errorStatus = 2;

/** The body of an export request. `resource` says which process the spans are from. */
function encodeSpans(spans: readonly Span[], resource: Attributes): string {
  const scope = { name: 'millrace', version: resource['service.version'] };
  const scopeSpans = [{ scope, spans: spans.map(encodeSpan) }];
  return JSON.stringify({
    resourceSpans: [{ resource: { attributes: encodeAttributes(resource) }, scopeSpans }],
  });
}

function encodeSpan(span: Span) {
  const { context, parent, links = [], droppedLinks = 0, error } = span;
  return {
    ...encodeContext(context),
    ...(parent !== undefined && { parentSpanId: parent.spanId }),
    ...(span.state !== undefined && { traceState: span.state }),
    name: span.name,
    kind: kinds[span.kind],
    startTimeUnixNano: toNanoseconds(span.startMs),
    endTimeUnixNano: toNanoseconds(Math.max(span.endMs, span.startMs)),
    attributes: encodeAttributes(span.attributes),
    ...(links.length > 0 && { links: links.map(encodeContext) }),
    ...(droppedLinks > 0 && { droppedLinksCount: droppedLinks }),
    ...(error !== undefined && { status: { code: errorStatus, message: error } }),
  };
}

function encodeContext({ traceId, spanId }: TraceContext) {
  return { traceId, spanId, flags: sampledFlag };
}

/** 64-bit numbers are texts in JSON; a microsecond is as fine as this clock is. */
function toNanoseconds(ms: number): string {
  return `${Math.round(ms * 1_000)}000`;
}

function encodeAttributes(attributes: Attributes) {
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({ key, value: encodeValue(value) }));
}

function encodeValue(value: Attributes[string]) {
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'string') return { stringValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
