import { describe, expect, test } from 'vitest';
import type { BufferWriter } from '../../../src/buffer/buffer.ts';
import { partitionOf } from '../../../src/buffer/partition-of.ts';
import { Batcher } from '../../../src/collector/batcher.ts';
import { ByteBudget } from '../../../src/collector/byte-budget.ts';
import { handlePost, type PostContext } from '../../../src/collector/handle-post.ts';
import type { HttpRequest, HttpResponse } from '../../../src/collector/http-app.ts';
import type { OffsetName } from '../../../src/collector/reply.ts';
import type { Spool } from '../../../src/collector/spool.ts';
import { loadSchema } from '../../../src/schema/schema.ts';

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
    readonly accepted?: number;
    readonly rejected?: readonly { index: number }[];
    readonly receipts?: readonly { partition: number; offset: number; count: number }[];
  };
}

/** A collector without its sockets, on a writer in memory. */
function createCollector(options: { spool?: Spool; schema?: PostContext['schema']; maxBytes?: number } = {}) {
  const { spool, schema = loadSchema(), maxBytes = 1e7 } = options;
  const budget = new ByteBudget(maxBytes);
  const stored: Stored[] = [];
  const ends = Array.from({ length: partitions }, () => 0);
  const writer: BufferWriter = {
    topic: 'events',
    partitions,
    async append(partition, batch) {
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
    schema,
    maxEventBytes: 1e5,
    maxEventDepth: 10,
    batcher,
    budget,
    maxBodyBytes: 1e6,
    maxBatchEvents: 1_000,
    observer: { opened: () => {}, closed: () => {}, stored: () => {}, rejected: () => {} },
    refusal: () => undefined,
    retryAfterSeconds: () => 1,
    isStopping: () => false,
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
        getHeader: (name) => headers[name] ?? '',
        forEach: (visit) => {
          for (const [name, value] of Object.entries(headers)) visit(name, value);
        },
        getParameter: () => undefined,
        getUrl: () => '/v1/events',
      };
      handlePost(res, req, context, offsetName);
    });
  return { send, stored, budget, idsOf: () => stored.map(({ headers }) => headers) };
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
