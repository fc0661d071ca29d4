/**
 * Spans in OTLP's JSON encoding, as an OpenTelemetry Collector, Jaeger 2 or Tempo takes them on /v1/traces.
 * Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
import type { Attributes, Span } from './span.ts';
import { sampledFlag, type TraceContext } from './trace-context.ts';

const kinds = { producer: 4, consumer: 5 } as const;
const errorStatus = 2;

/** The body of an export request. `resource` says which process the spans are from. */
export function encodeSpans(spans: readonly Span[], resource: Attributes): string {
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
