import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readFreshness } from '../../src/bench/compare-receipts.ts';
import { awaitDelivery, type ReconcileOptions, reconcile } from '../../src/bench/reconcile.ts';
import { openStore, type Store } from '../../src/bench/store.ts';
import type { BufferWriter } from '../../src/buffer/buffer.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import type { ClickHouse } from '../../src/clickhouse/client.ts';
import type { Streamer } from '../../src/streamer/streamer.ts';
import { addReceipts, createReceipts, type Receipts } from '../../src/verify/receipts.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { changeClient, connect, deliverTo } from '../support/pipeline.ts';
import { temporaryDirectory } from '../support/program.ts';

let engine: TestEngine;
let clickhouse: ClickHouse;
let database: string;
let directory: ReturnType<typeof temporaryDirectory>;
let writer: BufferWriter;
let store: Store | undefined;
const streamers: Streamer[] = [];

beforeAll(async () => {
  engine = await startTestEngine();
  clickhouse = connect(engine.url);
});
afterAll(async () => {
  await clickhouse.close();
  await engine.dispose();
});

const log = () => ({ dir: join(directory.path, 'log'), topic: 'events', partitions: 3, maxBytes: 1024 ** 3 });

beforeEach(async () => {
  database = `b${randomUUID().replaceAll('-', '')}`;
  directory = temporaryDirectory();
  writer = await openEmbeddedWriter({ ...log(), retentionMs: 86_400_000 });
});
afterEach(async () => {
  await store?.close();
  store = undefined;
  await stopStreaming();
  await writer.close();
  directory.remove();
});

/** Appends events to a partition, in batches as they come. */
async function append(partition: number, count: number, id?: (n: number) => string): Promise<void> {
  for (let done = 0; done < count; done += 10_000) {
    const batch = new EventBatch();
    for (let n = done; n < Math.min(count, done + 10_000); n++)
      batch.add(Buffer.from(`{"event":"view","n":${n}}`), Date.now(), id && [['id', id(n)]]);
    await writer.append(partition, batch);
  }
}

async function startStreaming(): Promise<void> {
  const reader = await openEmbeddedReader({ ...log(), group: 'millrace' });
  const streamer = await deliverTo(database, { reader, clickhouse: connect(engine.url), batchRows: 5_000 });
  streamers.push(streamer);
  await streamer.ready;
}

async function stopStreaming(): Promise<void> {
  for (const streamer of streamers.splice(0)) await streamer.stop();
}

async function openTables(): Promise<Store> {
  store ??= await openStore({
    ...{ url: new URL(engine.url), database, cluster: undefined },
    ...{ user: 'default', password: '', timeoutMs: 60_000 },
  });
  return store;
}

function receiptsOf(...values: unknown[]): Receipts {
  const receipts = createReceipts();
  for (const value of values) addReceipts(receipts, value);
  return receipts;
}

async function look(receipts: Receipts, rest: Partial<ReconcileOptions> = {}) {
  const sets = [...receipts.partitions.values(), ...receipts.spools.values()];
  return await reconcile(await openTables(), {
    ...{ topic: 'events', receipts, waitMs: 60_000, stop: new AbortController().signal },
    acknowledged: sets.reduce((sum, set) => sum + set.offsets, 0),
    ...rest,
  });
}

const sql = (text: string) => clickhouse.execute(text.replaceAll('$.', `${database}.`));
const columns = 'received_at, topic, topic_id, partition, offset, data';
const copyRows = (where: string) =>
  sql(`INSERT INTO $.events (${columns}) SELECT ${columns} FROM $.events WHERE ${where}`);

describe('reconcile', () => {
  test('waits for what is on its way, then finds each event once', async () => {
    await startStreaming();
    await stopStreaming();
    await append(0, 30_000);
    await append(2, 500);
    const receipts = receiptsOf(
      { partition: 0, offset: 0, count: 30_000 },
      { partition: 2, offset: 0, count: 500 },
    );
    const finding = look(receipts);
    await startStreaming();
    const found = await finding;
    expect(found).toMatchObject({
      ...{ verdict: 'ok', topic: 'events', receipts: 30_500, stored: 30_500 },
      ...{ missing: 0, duplicated: 0, repeats_kept: 0, not_delivered: 0, acknowledged_twice: 0 },
      ...{ dead_letters: 0, repeats: 0, other_topic_ids: [], missing_ranges: [], duplicated_ranges: [] },
    });
    const topicId = found.topic_id ?? '';
    const fresh = await readFreshness(await openTables(), { topic: 'events', topicId }, receipts);
    expect(fresh?.rows).toBe(30_500);
    // Batches of 5,000 rows at most: six and one, when none was cut by its age.
    expect(fresh?.new_parts).toBeGreaterThanOrEqual(7);
    const [direct] = await clickhouse.query<{ max: number; parts: number }>(
      `SELECT toInt32(max(dateDiff('millisecond', received_at, stored_at))) AS max,
         toInt32(uniqExact(_part)) AS parts FROM ${database}.events`,
    );
    expect(fresh?.max_ms).toBe(direct?.max);
    expect(fresh?.new_parts).toBeGreaterThanOrEqual(direct?.parts ?? Number.NaN);
    expect(fresh?.p50_ms).toBeLessThanOrEqual(fresh?.p99_ms ?? 0);
  });

  test('names what is missing and what is there twice of its own, and leaves alone what others sent', async () => {
    // Two clients that take turns, over several buckets of 65,536 offsets.
    await append(0, 150_000);
    await append(1, 1_000);
    await startStreaming();
    const own = createReceipts();
    for (let offset = 0; offset < 150_000; offset += 100)
      addReceipts(own, { partition: 0, offset, count: 50 });
    addReceipts(own, { partition: 1, offset: 200, count: 300 });
    expect(await look(own)).toMatchObject({ verdict: 'ok', receipts: 75_300, stored: 75_300 });
    await stopStreaming();
    // Own ones: 110, 65500-65549, 299; of the other client: 60, 65550-65599, 900.
    await sql(
      `DELETE FROM $.events WHERE partition = 0 AND (offset IN (60, 110) OR offset BETWEEN 65500 AND 65599)
         OR partition = 1 AND offset IN (299, 900)`,
    );
    // Own ones: 105 twice, 130,000 and 130,001 three times, and 400; of the other client: 155, 130,060 and 10.
    await copyRows('partition = 0 AND offset IN (105, 155, 130000, 130001, 130060)');
    await sql('OPTIMIZE TABLE $.events FINAL');
    await sql(
      `INSERT INTO $.events (${columns}) SELECT DISTINCT ON (offset) ${columns} FROM $.events
       WHERE partition = 0 AND offset IN (130000, 130001)`,
    );
    await copyRows('partition = 1 AND offset IN (10, 400)');
    const found = await look(own);
    expect(found).toMatchObject({
      ...{ verdict: 'loss', receipts: 75_300, stored: 75_248, missing: 52, duplicated: 4, not_delivered: 0 },
      missing_ranges: [
        { partition: 0, start: 110, end: 111 },
        { partition: 0, start: 65_500, end: 65_550 },
        { partition: 1, start: 299, end: 300 },
      ],
      duplicated_ranges: [
        { partition: 0, start: 105, end: 106, rows: 2 },
        { partition: 0, start: 130_000, end: 130_002, rows: 3 },
        { partition: 1, start: 400, end: 401, rows: 2 },
      ],
    });
  });

  test('what nothing lies beyond may still come: not loss', async () => {
    await append(0, 100);
    await startStreaming();
    const receipts = receiptsOf(
      { partition: 0, offset: 0, count: 120 },
      { partition: 1, offset: 0, count: 5 },
    );
    expect(await look(receipts, { waitMs: 300 })).toMatchObject({
      ...{ verdict: 'not_delivered', stored: 100, missing: 0, not_delivered: 25 },
      not_delivered_ranges: [
        { partition: 0, start: 100, end: 120 },
        { partition: 1, start: 0, end: 5 },
      ],
    });
    await append(0, 20);
    await append(1, 5);
    expect(await look(receipts)).toMatchObject({ verdict: 'ok', stored: 125 });
    await sql('DELETE FROM $.events WHERE partition = 0 AND offset IN (3, 118, 119)');
    expect(await look(receipts, { waitMs: 300 })).toMatchObject({
      ...{ verdict: 'loss', missing: 1, not_delivered: 2 },
      missing_ranges: [{ partition: 0, start: 3, end: 4 }],
      not_delivered_ranges: [{ partition: 0, start: 118, end: 120 }],
    });
  });

  test('nothing is there at all', async () => {
    await startStreaming();
    const receipts = receiptsOf({ partition: 0, offset: 7, count: 3 });
    expect(await look(receipts, { waitMs: 100 })).toMatchObject({
      ...{ verdict: 'not_delivered', topic_id: null, receipts: 3, stored: 0, not_delivered: 3 },
    });
    expect(await look(receiptsOf(), { waitMs: 100 })).toMatchObject({ verdict: 'ok', receipts: 0 });
  });

  test('dead letters and repeats are stored; in two places they are not', async () => {
    const batch = new EventBatch();
    for (const text of ['{"event":"a"}', '{"event":', '{"event":"b"}'])
      batch.add(Buffer.from(text), Date.now());
    await writer.append(0, batch);
    await append(0, 10, () => 'always the same');
    await startStreaming();
    const receipts = receiptsOf({ partition: 0, offset: 0, count: 13 });
    expect(await look(receipts)).toMatchObject({ verdict: 'ok', stored: 13, dead_letters: 1, repeats: 9 });
    await sql(
      `INSERT INTO $.repeats SELECT topic, topic_id, partition, offset, received_at, event_id, 1, raw
       FROM (SELECT * EXCEPT data FROM $.events WHERE offset = 0)`,
    );
    expect(await look(receipts)).toMatchObject({ verdict: 'loss', missing: 0, repeats_kept: 1 });
  });

  test('rows that come between two questions are counted', async () => {
    await append(0, 10, (n) => `${n % 5}`);
    await startStreaming();
    const receipts = receiptsOf({ partition: 0, offset: 0, count: 10 });
    expect(await look(receipts)).toMatchObject({ verdict: 'ok', stored: 10, repeats: 5 });
    await sql('DELETE FROM $.repeats WHERE offset < 9');
    const { clickhouse: asked, ...rest } = await openTables();
    let isBack = false;
    const query: typeof asked.query = async (text, options) => {
      const rows = await asked.query(text, options);
      if (!isBack && text.includes('repeats_kept')) {
        isBack = true;
        await sql(
          `INSERT INTO $.repeats SELECT topic, topic_id, partition, arrayJoin([5, 6, 7, 8]), received_at, event_id, earlier_offset, raw
           FROM $.repeats WHERE offset = 9`,
        );
      }
      return rows as never;
    };
    const between = { ...rest, clickhouse: changeClient(asked, { query }) };
    const found = await reconcile(between, {
      ...{ topic: 'events', receipts, waitMs: 60_000, stop: new AbortController().signal, acknowledged: 10 },
    });
    expect(found).toMatchObject({ verdict: 'ok', stored: 10, repeats: 5 });
  });

  describe('content', () => {
    const bodies = ['{"event":"a"}', '{"event":"b","n":1.0}', '{"event":"c","text":"héllo"}'].map((text) =>
      Buffer.from(text),
    );
    const posted = { payload: { bodies, eventsPerPost: 1 }, acknowledged: [4, 3, 3] };
    const receipts = receiptsOf({ partition: 0, offset: 0, count: 10 });

    beforeEach(async () => {
      const batch = new EventBatch();
      for (let n = 0; n < 10; n++) batch.add(bodies[n % 3] as Buffer, Date.now());
      await writer.append(0, batch);
      await startStreaming();
    });

    test('what is stored is what was posted', async () => {
      expect(await look(receipts, { posted })).toMatchObject({
        ...{ verdict: 'ok', stored: 10 },
        content: { checked: 10, different: 0, unchecked: 0, unchecked_reason: null, strange_events: [] },
      });
    });

    test('a changed row is a fault, and named', async () => {
      await look(receipts);
      await sql(
        `INSERT INTO $.events (${columns}, raw) SELECT ${columns}, replaceOne(raw, '1.0', '1') FROM $.events WHERE offset = 4`,
      );
      await sql(`DELETE FROM $.events WHERE offset = 4 AND raw LIKE '%1.0%'`);
      expect(await look(receipts, { posted })).toMatchObject({
        ...{ verdict: 'loss', stored: 10, missing: 0, duplicated: 0 },
        content: { checked: 9, different: 1, unchecked: 0, strange_events: [{ partition: 0, offset: 4 }] },
      });
    });

    test('events that were exchanged for others of the run are a fault', async () => {
      const others = { ...posted, acknowledged: [5, 2, 3] };
      expect(await look(receipts, { posted: others })).toMatchObject({
        ...{ verdict: 'loss', content: { checked: 9, different: 1, strange_events: [] } },
      });
    });

    test('events of others between those of the run are no fault', async () => {
      const fewer = { ...posted, acknowledged: [4, 0, 3] };
      const own = receiptsOf(...[0, 2, 3, 5, 6, 8, 9].map((offset) => ({ partition: 0, offset })));
      expect(await look(own, { posted: fewer })).toMatchObject({
        ...{ verdict: 'ok', content: { checked: 7, different: 0, unchecked: 0 } },
      });
    });

    test('without bytes nobody can tell', async () => {
      await look(receipts);
      await sql(`INSERT INTO $.events (${columns}) SELECT ${columns} FROM $.events WHERE offset = 4`);
      await sql(`DELETE FROM $.events WHERE offset = 4 AND raw != ''`);
      expect(await look(receipts, { posted })).toMatchObject({
        ...{ verdict: 'ok', content: { checked: 9, different: 0, unchecked: 1 } },
      });
      await sql('ALTER TABLE $.events DROP COLUMN raw');
      expect(await look(receipts, { posted })).toMatchObject({
        ...{ verdict: 'ok', content: { checked: 0, different: 0, unchecked: 10 } },
      });
    });
  });

  test('two answers with one receipt are a fault, whatever is stored', async () => {
    await append(0, 10);
    await startStreaming();
    const receipts = receiptsOf({ partition: 0, offset: 0, count: 10 });
    expect(await look(receipts, { acknowledged: 12 })).toMatchObject({
      ...{ verdict: 'loss', acknowledged_twice: 2, missing: 0, duplicated: 0 },
    });
  });

  test('a topic of the same name: an old one is passed over, one of this time makes it a guess', async () => {
    await append(0, 100);
    await startStreaming();
    const receipts = receiptsOf({ partition: 0, offset: 0, count: 100 });
    const { topic_id } = await look(receipts);
    const insert = (id: string, time: string, rows: number) =>
      sql(
        `INSERT INTO $.events (${columns}) SELECT ${time}, 'events', '${id}', 0, number, '{"event":"x"}' FROM numbers(${rows})`,
      );
    await insert('old', 'now64(3) - INTERVAL 2 HOUR', 100);
    expect(await look(receipts)).toMatchObject({ verdict: 'ok', topic_id, other_topic_ids: [] });
    await insert('other', 'now64(3)', 40);
    expect(await look(receipts)).toMatchObject({ verdict: 'ok', topic_id, other_topic_ids: ['other'] });
  });

  test('spooled events are found by their ids', async () => {
    const spool = randomUUID();
    const receipts = receiptsOf({ spool, offset: 0, count: 20 }, { partition: 0, offset: 0 });
    await append(0, 20, (n) => `spool/${spool}/${n}`);
    await startStreaming();
    expect(await look(receipts)).toMatchObject({ verdict: 'ok', receipts: 21, stored: 21 });
    await sql(`DELETE FROM $.events WHERE event_id = 'spool/${spool}/4'`);
    expect(await look(receipts, { waitMs: 200 })).toMatchObject({
      verdict: 'not_delivered',
      not_delivered: 1,
    });
    await sql(
      `INSERT INTO $.events (event_id, ${columns}) SELECT event_id, ${columns} FROM $.events WHERE offset IN (7, 8)`,
    );
    expect(await look(receipts, { waitMs: 200 })).toMatchObject({ verdict: 'loss', duplicated: 2 });
  });

  test('millions of receipts take seconds and little memory', async () => {
    await startStreaming();
    const rows = 3_000_000;
    await sql(
      `INSERT INTO $.events (${columns}) SELECT now64(3), 'events', 'many', number % 4, 5000000000 + intDiv(number, 4), '{"event":"x"}'
       FROM numbers(${rows}) SETTINGS max_insert_block_size = 100000`,
    );
    const receipts = createReceipts();
    for (let n = 0; n < rows / 4; n++)
      for (let partition = 0; partition < 4; partition++)
        addReceipts(receipts, { partition, offset: 5_000_000_000 + n });
    expect(await look(receipts)).toMatchObject({
      verdict: 'ok',
      topic_id: 'many',
      receipts: rows,
      stored: rows,
    });
    await sql('DELETE FROM $.events WHERE offset % 100000 = 77');
    expect(await look(receipts)).toMatchObject({ verdict: 'loss', missing: 32 });
  });
});

describe('awaitDelivery', () => {
  test('says whether the last receipts are stored', async () => {
    await append(0, 10);
    await startStreaming();
    const stop = new AbortController().signal;
    const wait = async (receipts: Receipts, waitMs: number) =>
      awaitDelivery(await openTables(), { topic: 'events', receipts, waitMs, stop });
    expect(await wait(receiptsOf({ partition: 0, offset: 2, count: 8 }), 60_000)).toBe(true);
    expect(await wait(receiptsOf({ partition: 0, offset: 2 }, { partition: 2, offset: 1 }), 100)).toBe(false);
    expect(await wait(receiptsOf(), 100)).toBe(true);
  });
});

describe('openStore', () => {
  test.each([
    ['without tables', {}, '--clickhouse-database'],
    ['without a server', { url: new URL('http://127.0.0.1:1') }, '--clickhouse-url'],
    ['as a user that is not known', { user: 'nobody' }, '--clickhouse-user'],
  ])('%s: 69, and how to go on', async (_, changed, option) => {
    const options = {
      ...{ url: new URL(engine.url), database, cluster: undefined },
      ...{ user: 'default', password: '', timeoutMs: 10_000, ...changed },
    };
    await expect(openStore(options)).rejects.toMatchObject({
      exitCode: 69,
      message: expect.stringMatching(new RegExp(`${option}[^]*--no-reconcile`)),
    });
  });
});
