import { type Logger, pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createExporter, type ExportLimits } from '../../../src/tracing/exporter.ts';
import type { Span } from '../../../src/tracing/span.ts';
import { newContext } from '../../../src/tracing/trace-context.ts';
import { until } from '../../support/program.ts';
import { startTraceReceiver, type TraceReceiver } from '../../support/trace-receiver.ts';

let receiver: TraceReceiver;
beforeEach(async () => {
  receiver = await startTraceReceiver();
});
afterEach(() => receiver.close());

function createLog(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg as string) }),
  };
}

function createTracer(limits: Partial<ExportLimits> = {}, url = receiver.url) {
  const { log, lines } = createLog();
  const tracer = createExporter({
    endpoint: new URL('/v1/traces', url),
    sample: 1,
    system: 'kafka',
    resource: { 'service.name': 'millrace-test', 'service.version': '1', 'process.pid': 7 },
    log,
    limits: { intervalMs: 20, maxBackOffMs: 40, ...limits },
  });
  return { tracer, lines };
}

function spanOf(more: Partial<Span> = {}): Span {
  return {
    context: newContext(),
    name: 'send events',
    kind: 'producer',
    startMs: 1_700_000_000_000.25,
    endMs: 1_700_000_000_001.5,
    attributes: { text: 'a', whole: 3, part: 0.5, yes: true, absent: undefined },
    ...more,
  };
}

test('spans arrive as OTLP has them', async () => {
  const { tracer } = createTracer();
  const [parent, link] = [newContext(), newContext()];
  const span = spanOf({ context: newContext(parent), parent, links: [link], droppedLinks: 2, error: 'away' });
  tracer.record(span);
  await until('a span arrives', async () => receiver.spans.length === 1);
  expect(receiver.requests).toEqual([{ path: '/v1/traces', contentType: 'application/json' }]);
  expect(receiver.spans[0]).toEqual({
    service: 'millrace-test',
    traceId: parent.traceId,
    spanId: span.context.spanId,
    parentSpanId: parent.spanId,
    flags: 1,
    name: 'send events',
    kind: 4,
    startTimeUnixNano: '1700000000000250000',
    endTimeUnixNano: '1700000000001500000',
    attributes: [
      { key: 'text', value: { stringValue: 'a' } },
      { key: 'whole', value: { intValue: '3' } },
      { key: 'part', value: { doubleValue: 0.5 } },
      { key: 'yes', value: { boolValue: true } },
    ],
    links: [{ traceId: link.traceId, spanId: link.spanId, flags: 1 }],
    droppedLinksCount: 2,
    status: { code: 2, message: 'away' },
  });
  await tracer.close();
});

test('what waits is sent at the end, in batches', async () => {
  const { tracer } = createTracer({ intervalMs: 60_000, maxBatch: 10 });
  for (let i = 0; i < 25; i++) tracer.record(spanOf());
  await tracer.close();
  expect(receiver.spans).toHaveLength(25);
  expect(receiver.requests).toHaveLength(3);
  expect(tracer.counts).toEqual({ sent: 25, dropped: 0 });
});

test('a receiver that comes back gets what there was room for, and the log says so twice', async () => {
  receiver.statuses.push(503, 503, 429);
  const { tracer, lines } = createTracer({ maxQueue: 5, maxBatch: 5 });
  for (let i = 0; i < 12; i++) tracer.record(spanOf());
  await until('spans arrive', async () => receiver.spans.length > 0);
  await tracer.close();
  expect(tracer.counts.sent + tracer.counts.dropped).toBe(12);
  expect(tracer.counts.sent).toBe(receiver.spans.length);
  expect(lines).toEqual([
    expect.stringMatching(/cannot be sent to .*status 503/),
    'traces can be sent again',
  ]);
});

test('what a receiver refuses is not sent again', async () => {
  receiver.statuses.push(400);
  const { tracer, lines } = createTracer({ intervalMs: 60_000 });
  tracer.record(spanOf());
  await tracer.close();
  expect(receiver.requests).toHaveLength(1);
  expect(tracer.counts).toEqual({ sent: 0, dropped: 1 });
  expect(lines).toHaveLength(1);
});

test('without a receiver the end comes all the same, and what waits is bounded', async () => {
  const gone = await startTraceReceiver();
  await gone.close();
  const { tracer } = createTracer({ maxQueue: 8, intervalMs: 60_000 }, gone.url);
  for (let i = 0; i < 100; i++) tracer.record(spanOf());
  await tracer.close();
  expect(tracer.counts).toEqual({ sent: 0, dropped: 100 });
});
