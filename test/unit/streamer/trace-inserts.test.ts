import { expect, test } from 'vitest';
import type { OwnedPartition } from '../../../src/buffer/buffer.ts';
import { BatchRows } from '../../../src/clickhouse/rows/batch-rows.ts';
import { GrowingBatch, type SealedBatch } from '../../../src/streamer/protocol/batch.ts';
import type { InsertOptions, Sink } from '../../../src/streamer/protocol/delivery.ts';
import { replayPlan } from '../../../src/streamer/protocol/replay-plan.ts';
import { traceInserts } from '../../../src/streamer/trace-inserts.ts';
import type { Span } from '../../../src/tracing/span.ts';
import {
  EventLinks,
  formatTraceparent,
  newContext,
  type TraceContext,
} from '../../../src/tracing/trace-context.ts';
import { blockOf } from '../../support/records.ts';
import { testIdentity } from '../../support/sealed-batch.ts';

function blockWith(contexts: readonly (TraceContext | undefined)[]) {
  const headers = contexts.map(
    (context) => context && ([['traceparent', formatTraceparent(context)]] as const),
  );
  return { ...blockOf(contexts.map((_, i) => `${i}`)), headers };
}

function batchOf(contexts: readonly (TraceContext | undefined)[], links?: EventLinks): SealedBatch {
  const batch = new GrowingBatch(new BatchRows(testIdentity), undefined, links);
  const block = blockWith(contexts);
  for (let index = 0; index < block.count; index++) batch.add(block, index);
  return batch.seal(0);
}

/** The spans of an insert of this batch, which fails if told to. */
async function insert(batch: SealedBatch, failure?: Error): Promise<{ spans: Span[]; thrown: unknown }> {
  const spans: Span[] = [];
  const sink: Sink = {
    insert: async () => {
      if (failure !== undefined) throw failure;
    },
    countDelivered: async () => 0,
    findLastDelivered: async () => undefined,
  };
  const record = (span: Span) => void spans.push(span);
  const counts = { sent: 0, dropped: 0 };
  const tracer = { system: 'kafka', isSampled: () => false, record, counts, close: async () => {} };
  const options = { isReplay: false } as InsertOptions;
  const inserted = traceInserts(sink, tracer).insert(batch, testIdentity as OwnedPartition, options);
  const thrown = await inserted.then(
    () => undefined,
    (error: unknown) => error,
  );
  return { spans, thrown };
}

test('an insert with events of one post goes on with their trace', async () => {
  const context = newContext();
  const { spans } = await insert(batchOf([undefined, context, context], new EventLinks()));
  expect(spans).toMatchObject([
    {
      name: `process ${testIdentity.topic}`,
      kind: 'consumer',
      parent: context,
      links: [context],
      attributes: { 'messaging.batch.message_count': 3, 'millrace.offset.end': 3 },
    },
  ]);
  expect(spans[0]?.context.traceId).toBe(context.traceId);
  expect(spans[0]?.error).toBeUndefined();
});

test('an insert with events of several posts is a trace of its own', async () => {
  const contexts = [newContext(), newContext()];
  const { spans } = await insert(batchOf(contexts, new EventLinks()));
  expect(spans).toMatchObject([{ links: contexts }]);
  expect(spans[0]?.parent).toBeUndefined();
  expect(contexts.map(({ traceId }) => traceId)).not.toContain(spans[0]?.context.traceId);
});

test('a failure is in the span, and goes on', async () => {
  const failure = new Error('ownership ended');
  const { spans, thrown } = await insert(batchOf([newContext()], new EventLinks()), failure);
  expect(thrown).toBe(failure);
  expect(spans).toMatchObject([{ error: 'ownership ended' }]);
});

test('nothing is recorded of a batch without traces, nor of one whose traces nobody gathered', async () => {
  expect((await insert(batchOf([undefined], new EventLinks()))).spans).toEqual([]);
  expect((await insert(batchOf([newContext()]))).spans).toEqual([]);
});

test('a plan that is read again has its traces again', async () => {
  const context = newContext();
  const { plan } = batchOf([undefined, context]);
  const partition = {
    ...testIdentity,
    bounds: async () => ({ start: 0, end: 2 }),
    read: async () => ({ blocks: [blockWith([undefined, context])], next: 2 }),
  } as unknown as OwnedPartition;
  const { batch } = await replayPlan(partition, plan, { isTraced: true });
  expect(batch?.links?.contexts).toEqual([context]);
});
