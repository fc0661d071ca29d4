import { describe, expect, test, vi } from 'vitest';
import { BufferUnavailableError, type BufferWriter } from '../../../src/buffer/buffer.ts';
import { partitionOf } from '../../../src/buffer/records.ts';
import { Batcher } from '../../../src/collector/batcher.ts';
import { handlePost, type PostContext } from '../../../src/collector/handle-post.ts';
import type { HttpRequest, HttpResponse } from '../../../src/collector/http-app.ts';
import { createTraceReader } from '../../../src/collector/post-trace.ts';
import { ByteBudget } from '../../../src/collector/read-body.ts';
import type { OffsetName } from '../../../src/collector/reply.ts';
import type { Spool } from '../../../src/collector/spool.ts';
import { loadSchema } from '../../../src/schema/schema.ts';
import type { Span } from '../../../src/tracing/span.ts';

const partitions = 4;

interface Stored {
  readonly partition: number;
  readonly text: string;
  readonly headers: unknown;
}

interface Sent {
  readonly status: number;
  readonly body: {
    readonly code?: string;
    readonly detail?: string;
    readonly instance?: string;
    readonly accepted?: number;
    readonly rejected?: readonly { index: number }[];
    readonly receipts?: readonly { partition: number; offset: number; count: number }[];
  };
}

/** A collector without its sockets, on a writer in memory. */
function createCollector(
  options: Partial<PostContext> & { spool?: Spool; maxBytes?: number; appendError?: Error } = {},
) {
  const { spool, maxBytes = 1e7, appendError, ...rest } = options;
  const budget = new ByteBudget(maxBytes);
  const stored: Stored[] = [];
  /** Headers that were looked at. */
  const looked: string[] = [];
  const ends = Array.from({ length: partitions }, () => 0);
  const writer: BufferWriter = {
    topic: 'events',
    partitions,
    async append(partition, batch) {
      if (appendError !== undefined) throw appendError;
      batch.ends.forEach((end, i) => {
        const text = batch.bytes.toString('utf8', batch.ends[i - 1] ?? 0, end);
        stored.push({ partition, text, headers: batch.headers.get(i) });
      });
      const first = ends[partition] ?? 0;
      ends[partition] = first + batch.count;
      return first;
    },
    state: () => ({ ok: true }),
    close: async () => {},
  };
  const observer = { appended: () => {}, appendFailed: () => {} };
  const batcher = new Batcher(
    writer,
    { maxBytes: 1e6, maxEvents: 1e4 },
    { observer, ...(spool === undefined ? {} : { spool }) },
  );
  const context: PostContext = {
    schema: loadSchema(),
    maxEventBytes: 1e5,
    maxEventDepth: 10,
    maxEventKeys: 100,
    batcher,
    budget,
    maxBodyBytes: 1e6,
    maxBatchEvents: 20_000,
    maxBodyValues: 250_000,
    maxCompressionRatio: 100,
    observer: {
      opened: () => {},
      closed: () => {},
      stored: () => {},
      rejected: () => {},
      admitted: () => {},
    },
    failures: { note: () => 'an-id' },
    refusal: () => undefined,
    retryAfterSeconds: () => 1,
    isStopping: () => false,
    ...rest,
  };
  const send = (
    body: unknown,
    headers: Record<string, string> = {},
    offsetName: OffsetName = 'offset',
  ): Promise<Sent> =>
    new Promise((resolve) => {
      const bytes = new Uint8Array(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
      let status = 200;
      const res: HttpResponse = {
        onData: (handler) => setImmediate(() => handler(bytes.buffer, true)),
        onAborted: () => {},
        cork: (write) => write(),
        writeStatus: (line) => {
          status = Number.parseInt(line, 10);
        },
        writeHeader: () => {},
        endWithoutBody: () => {},
        end: (text) => resolve({ status, body: JSON.parse(text) as Sent['body'] }),
      };
      const req: HttpRequest = {
        getHeader: (name) => {
          looked.push(name);
          return headers[name] ?? (name === 'content-length' ? String(bytes.length) : '');
        },
        forEach: (visit) => {
          for (const [name, value] of Object.entries(headers)) visit(name, value);
        },
        getParameter: () => undefined,
        getUrl: () => '/v1/events',
      };
      handlePost(res, req, context, offsetName);
    });
  return { send, stored, looked, budget, idsOf: () => stored.map(({ headers }) => headers) };
}

describe('the id of an event', () => {
  test('is its own, and decides the partition', async () => {
    const { send, stored } = createCollector();
    const { body } = await send({ event: 'a', id: 'käse' });
    expect(stored).toMatchObject([{ headers: [['id', 'käse']], partition: partitionOf('käse', partitions) }]);
    expect(body).toEqual({ status: 'ok', partition: stored[0]?.partition, offset: 0 });
  });

  test('is absent from the plain event', async () => {
    const { send, idsOf } = createCollector();
    await send({ event: 'a' });
    expect(idsOf()).toEqual([undefined]);
  });

  test('comes from the Idempotency-Key of the request, but its own wins', async () => {
    const { send, idsOf } = createCollector();
    const key = { 'idempotency-key': 'k/1' };
    await send({ event: 'a' }, key);
    await send({ event: 'a', id: 'own' }, key);
    expect(idsOf()).toEqual([[['id', 'k/1']], [['id', 'own']]]);
  });

  test('is key and index in a batch, by the position in the request', async () => {
    const { send, stored } = createCollector();
    const lines = '{"event":"a"}\n{oops\n{"event":1}\n{"event":"b","id":"own"}\n{"event":"c"}';
    const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': 'k' };
    const { body } = await send(lines, headers);
    expect(Object.fromEntries(stored.map(({ text, headers: pairs }) => [text, pairs]))).toEqual({
      '{"event":"a"}': [['id', 'k 0']],
      '{"event":"b","id":"own"}': [['id', 'own']],
      '{"event":"c"}': [['id', 'k 4']],
    });
    expect(body.rejected?.map(({ index }) => index)).toEqual([1, 2]);
  });

  test('is none of ours when the schema does not declare it', async () => {
    const { send, idsOf } = createCollector({ schema: { ...loadSchema(), hasId: false } });
    await send({ event: 'a', id: 'x' });
    expect(idsOf()).toEqual([undefined]);
  });

  test('with half of a surrogate pair is refused', async () => {
    const { send, idsOf } = createCollector();
    const { status, body } = await send('{"event":"a","id":"\\ud83d"}');
    expect([status, body.code]).toEqual([422, 'INVALID_EVENT']);
    await send('{"event":"a","id":"\\ud83d\\ude00"}');
    expect(idsOf()).toEqual([[['id', '😀']]]);
  });

  test('from the key of a batch is never that of a single event', async () => {
    const { send, idsOf } = createCollector();
    await send([{ event: 'a' }], { 'idempotency-key': 'q' });
    const [[[, id = '']] = [['', '']]] = idsOf() as [[string, string]][];
    expect(id).toContain('q');
    expect((await send({ event: 'a' }, { 'idempotency-key': id })).status).toBe(400);
  });

  test('comes from a key in quotes as from one without', async () => {
    const { send, idsOf } = createCollector();
    await send({ event: 'a' }, { 'idempotency-key': '"k"' });
    await send({ event: 'a' }, { 'idempotency-key': 'k' });
    expect(idsOf()).toEqual([[['id', 'k']], [['id', 'k']]]);
  });

  test('cannot be one that a spool gives', async () => {
    const { send, stored } = createCollector();
    const id = 'spool/8c0f/17';
    expect(await send({ event: 'a', id })).toMatchObject({ status: 422, body: { code: 'INVALID_EVENT' } });
    for (const key of [id, `"${id}"`]) {
      const answer = await send({ event: 'a' }, { 'idempotency-key': key });
      expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_IDEMPOTENCY_KEY' } });
    }
    expect(stored).toEqual([]);
  });

  test.each([
    ['of its own', (i: number) => ({ event: 'a', id: `${i}` }), {}],
    ['from the key', () => ({ event: 'a' }), { 'idempotency-key': 'k' }],
  ])('%s counts against the bytes that the process may hold', async (_, eventOf, headers) => {
    const { send, stored, budget } = createCollector({ maxBytes: 50_000 });
    const events = (count: number) => Array.from({ length: count }, (_, i) => eventOf(i));
    expect((await send(events(100), headers)).status).toBe(200);
    expect(await send(events(500), headers)).toMatchObject({ status: 503, body: { code: 'OVERLOADED' } });
    expect(stored).toHaveLength(100);
    expect(budget.used).toBe(0);
  });

  test.each([
    ['too long', 'k'.repeat(201)],
    ['without its last quote', '"k'],
    ['with a space', 'a b'],
    ['not ASCII', 'schlüssel'],
    ['with a control character', 'a\tb'],
  ])('cannot come from a key that is %s', async (_, key) => {
    const { send, stored } = createCollector();
    const { status, body } = await send({ event: 'a' }, { 'idempotency-key': key });
    expect([status, body.code]).toEqual([400, 'INVALID_IDEMPOTENCY_KEY']);
    expect(body.detail).toContain('200 printable');
    expect(stored).toEqual([]);
  });
});

test('receipts are in the order of the accepted events, over all partitions', async () => {
  const { send, stored } = createCollector();
  const events = Array.from({ length: 50 }, (_, i) => {
    if (i % 9 === 4) return { wrong: i };
    return i % 3 === 0 ? { event: `${i}` } : { event: `${i}`, id: `id ${i}` };
  });
  const { body } = await send(events);
  const { receipts = [], accepted, rejected } = body;
  const accepteds = events.filter((event) => 'event' in event);
  expect(accepted).toBe(accepteds.length);
  expect(rejected?.map(({ index }) => index)).toEqual([4, 13, 22, 31, 40, 49]);
  const inReceipts = receipts.flatMap(({ partition, offset, count }) => {
    const there = stored.filter((record) => record.partition === partition);
    return there.slice(offset, offset + count).map(({ text }) => JSON.parse(text) as unknown);
  });
  expect(inReceipts).toEqual(accepteds);
});

describe('while the buffer is away', () => {
  function createSpool(isOpen: () => boolean): Spool {
    let end = 17;
    return {
      id: 'host"1',
      isOpen,
      holdMs: () => 0,
      append: async ({ count }) => {
        end += count;
        return end - count;
      },
      state: () => ({ ok: true }),
    };
  }

  test('events in the spool get 202, and a receipt that names it', async () => {
    const { send, stored } = createCollector({ spool: createSpool(() => true) });
    expect(await send({ event: 'a', id: 'x' })).toEqual({
      status: 202,
      body: { status: 'ok', spool: 'host"1', offset: 17 },
    });
    expect(await send({ event: 'a' }, {}, 'Offset')).toMatchObject({ status: 202, body: { Offset: 18 } });
    expect(await send([{ event: 'a' }, { event: 'b' }])).toEqual({
      status: 202,
      body: {
        status: 'ok',
        accepted: 2,
        rejected: [],
        receipts: [{ spool: 'host"1', offset: 19, count: 2 }],
      },
    });
    expect(stored).toEqual([]);
  });

  test('a request of which only a part is there gets 202 too, and receipts of both kinds', async () => {
    let asked = 0;
    // Open for the first batch only: the events without an id.
    const { send } = createCollector({ spool: createSpool(() => asked++ === 0) });
    const { status, body } = await send([{ event: 'a' }, { event: 'b', id: 'x' }, { event: 'c' }]);
    expect(status).toBe(202);
    expect(body.receipts).toEqual([
      { spool: 'host"1', offset: 17, count: 1 },
      { partition: partitionOf('x', partitions), offset: 0, count: 1 },
      { spool: 'host"1', offset: 18, count: 1 },
    ]);
  });
});

describe('the id of a request', () => {
  const appendError = new BufferUnavailableError('away');
  const noted: unknown[] = [];
  const failures: PostContext['failures'] = {
    note: ({ code }, { requestId, traceId } = {}) => {
      noted.push({ code, requestId, traceId });
      return requestId ?? 'made';
    },
  };

  test('is in the answer to what fails, and in nothing that the client did wrong', async () => {
    const { send } = createCollector({ appendError, failures });
    expect(await send({ event: 'a' })).toMatchObject({
      status: 503,
      body: { code: 'BUFFER_UNAVAILABLE', instance: 'urn:millrace:request:made' },
    });
    expect((await send('{')).body).not.toHaveProperty('instance');
  });

  test('is that of the request where it is refused at once', async () => {
    const refusal = () => ({ code: 'STOPPING', detail: 'bye' }) as const;
    const { send } = createCollector({ refusal, failures });
    const { body } = await send({ event: 'a' }, { 'x-request-id': 'proxy-7' });
    expect(body.instance).toBe('urn:millrace:request:proxy-7');
    expect((await send({ event: 'a' }, { 'x-request-id': 'a b' })).body.instance).toMatch(/made$/);
  });

  test('is that of the request also later, when asked for', async () => {
    const readTrace = createTraceReader({ topic: 'events', keepRequestIds: true });
    const { send } = createCollector({ appendError, failures, readTrace });
    const { body } = await send({ event: 'a' }, { 'x-request-id': 'proxy-8' });
    expect(body.instance).toBe('urn:millrace:request:proxy-8');
  });

  test('stands beside that of the trace', async () => {
    const { tracer } = createTracer(1);
    const readTrace = createTraceReader({ tracer, topic: 'events', keepRequestIds: false });
    const { send } = createCollector({ appendError, failures, readTrace });
    await send({ event: 'a' }, { traceparent: parent, 'x-request-id': 'proxy-9' });
    expect(noted.at(-1)).toEqual({
      code: 'BUFFER_UNAVAILABLE',
      requestId: 'proxy-9',
      traceId: 'a'.repeat(32),
    });
  });
});

const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

function createTracer(sample: number) {
  const spans: Span[] = [];
  const tracer = {
    system: 'kafka',
    isSampled: () => sample === 1,
    record: (span: Span) => void spans.push(span),
    counts: { sent: 0, dropped: 0 },
    close: async () => {},
  };
  return { tracer, spans };
}

describe('traces', () => {
  function createTraced(sample: number, more: Parameters<typeof createCollector>[0] = {}) {
    const { tracer, spans } = createTracer(sample);
    const readTrace = createTraceReader({ tracer, topic: 'events', keepRequestIds: false });
    return { ...createCollector({ ...more, readTrace }), spans };
  }

  test('go on in the headers of the records, beside the id', async () => {
    const { send, spans, idsOf } = createTraced(0);
    await send([{ event: 'a' }, { event: 'b', id: 'x' }], { traceparent: parent, tracestate: 'v=1' });
    const [span] = spans;
    const traceparent = `00-${'a'.repeat(32)}-${span?.context.spanId}-01`;
    expect(span).toMatchObject({
      name: 'send events',
      kind: 'producer',
      parent: { spanId: 'b'.repeat(16) },
      attributes: { 'messaging.batch.message_count': 2, 'http.response.status_code': 200 },
      error: undefined,
    });
    const trace = [
      ['traceparent', traceparent],
      ['tracestate', 'v=1'],
    ];
    expect(idsOf()).toEqual(expect.arrayContaining([trace, [['id', 'x'], ...trace]]));
  });

  test.each([
    ['what its parent says', 1, `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`, 0],
    ['the share, without a parent', 1, '', 1],
    ['the share, with a parent that is none', 0, '00-nonsense', 0],
  ])('are recorded by %s', async (_, sample, traceparent, count) => {
    const { send, spans, stored } = createTraced(sample);
    await send({ event: 'a' }, { traceparent });
    expect(spans).toHaveLength(count);
    expect(stored[0]?.headers === undefined).toBe(count === 0);
  });

  test('show what failed, and take no memory of the budget with them', async () => {
    const { send, spans, budget } = createTraced(1, { appendError: new BufferUnavailableError('away') });
    await send({ event: 'a' });
    await send('{');
    expect(spans).toMatchObject([
      { error: 'BUFFER_UNAVAILABLE', attributes: { 'error.type': 'BUFFER_UNAVAILABLE' } },
      { error: undefined, attributes: { 'error.type': 'INVALID_JSON', 'http.response.status_code': 400 } },
    ]);
    expect(budget.used).toBe(0);
  });

  test('cost no look at a header when they are off, and neither do request ids', async () => {
    const readTrace = createTraceReader({ topic: 'events', keepRequestIds: false });
    const { send, looked } = createCollector({ readTrace });
    expect(readTrace).toBeUndefined();
    await send({ event: 'a' }, { traceparent: parent, 'x-request-id': 'proxy-7' });
    expect(looked).toEqual(['content-type', 'content-encoding', 'idempotency-key', 'content-length']);
  });
});

describe('a batch of many refused events', () => {
  test('is answered with the first ones, and where the others are', async () => {
    const { send } = createCollector();
    const { status, body } = await send(`[${'1,'.repeat(19_999)}1]`);
    expect(status).toBe(422);
    expect(body).toMatchObject({
      rejected: { length: 500 },
      rejected_more: { count: 19_500, permanent: [[500, 19_999]], retriable: [] },
    });
    const partly = await send(`[${'1,'.repeat(999)}{"event":"a"},${'1,'.repeat(999)}1]`);
    expect(partly).toMatchObject({
      status: 200,
      body: {
        accepted: 1,
        rejected_more: {
          permanent: [
            [500, 998],
            [1_000, 1_999],
          ],
        },
      },
    });
  });
});

describe('headers of a post', () => {
  const unknownLength = { 'content-length': '' };

  test('the state of the buffer is looked up only for an answer that says when to try again', async () => {
    const retryAfterSeconds = vi.fn(() => 7);
    const { send } = createCollector({ retryAfterSeconds });
    expect((await send('{')).status).toBe(400);
    expect(retryAfterSeconds).not.toHaveBeenCalled();
    const refusing = createCollector({
      retryAfterSeconds,
      refusal: () => ({ code: 'BUFFER_UNAVAILABLE', detail: 'away' }),
    });
    expect((await refusing.send({ event: 'a' })).status).toBe(503);
    expect(retryAfterSeconds).toHaveBeenCalledOnce();
  });

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'the type %s is none',
    async (type) => {
      const { send, stored } = createCollector();
      expect(await send({ event: 'a' }, { 'content-type': type })).toMatchObject({ status: 415 });
      expect(stored).toEqual([]);
    },
  );

  test.each(['xchunked', 'chunked, identity', 'identity, chunked', 'gzip, chunked', 'identity'])(
    'the Transfer-Encoding %s is refused',
    async (coding) => {
      const { send, stored } = createCollector();
      const { status, body } = await send({ event: 'a' }, { 'transfer-encoding': coding, ...unknownLength });
      expect([status, body.code]).toEqual([400, 'INVALID_TRANSFER_ENCODING']);
      expect(stored).toEqual([]);
    },
  );

  test('are looked at as often as needed: with a length, no other framing', async () => {
    const { send, looked } = createCollector();
    await send({ event: 'a' });
    expect(looked).toEqual(['content-type', 'content-encoding', 'idempotency-key', 'content-length']);
    expect((await send({ event: 'a' }, { 'transfer-encoding': ' Chunked', ...unknownLength })).status).toBe(
      200,
    );
  });
});
