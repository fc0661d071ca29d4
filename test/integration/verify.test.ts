import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { BufferInspector, BufferReader, BufferWriter, PartitionView } from '../../src/buffer/buffer.ts';
import { openEmbeddedInspector } from '../../src/buffer/embedded/inspector.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import type { ClickHouse } from '../../src/clickhouse/client.ts';
import { ClickHouseError, ClickHouseUnavailableError } from '../../src/clickhouse/errors.ts';
import { nameTables } from '../../src/clickhouse/tables.ts';
import { encodeNote } from '../../src/streamer/protocol/plan.ts';
import type { Streamer } from '../../src/streamer/streamer.ts';
import { formatReport } from '../../src/verify/format-report.ts';
import { readReceipts } from '../../src/verify/receipts.ts';
import { type VerifyOptions, verify } from '../../src/verify/verify.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { createKafkaTopic } from '../support/kafka-fixture.ts';
import { changeClient, connect, deliverTo } from '../support/pipeline.ts';
import { runProgram, temporaryDirectory } from '../support/program.ts';

const group = 'millrace';
const brokers = inject('kafkaBrokers') ?? '';

let engine: TestEngine;
let clickhouse: ClickHouse;
let database: string;
let directory: ReturnType<typeof temporaryDirectory>;
let writer: BufferWriter;
let inspector: BufferInspector;
const streamers: Streamer[] = [];

beforeAll(async () => {
  engine = await startTestEngine();
  clickhouse = connect(engine.url);
});
afterAll(async () => {
  await clickhouse.close();
  await engine.dispose();
});

const log = () => ({ dir: join(directory.path, 'log'), topic: 'events', partitions: 2, maxBytes: 1024 ** 3 });

beforeEach(async () => {
  database = `v${randomUUID().replaceAll('-', '')}`;
  directory = temporaryDirectory();
  writer = await openEmbeddedWriter({ ...log(), retentionMs: 86_400_000 });
  inspector = await openEmbeddedInspector({ ...log(), group });
});
afterEach(async () => {
  for (const streamer of streamers.splice(0)) await streamer.stop();
  await inspector.close();
  await writer.close();
  directory.remove();
});

async function append(partition: number, values: readonly string[], receivedAt = Date.now()): Promise<void> {
  const batch = new EventBatch();
  for (const value of values) batch.add(Buffer.from(value), receivedAt);
  await writer.append(partition, batch);
}

const views = (count: number) => Array.from({ length: count }, (_, n) => `{"event":"view","n":${n}}`);

async function startStreaming(changed: Partial<ClickHouse> = {}, reader?: BufferReader): Promise<Streamer> {
  const streamer = await deliverTo(database, {
    reader: reader ?? (await openEmbeddedReader({ ...log(), group })),
    clickhouse: changeClient(connect(engine.url), changed),
  });
  streamers.push(streamer);
  await streamer.ready;
  return streamer;
}

async function stopStreaming(): Promise<void> {
  for (const streamer of streamers.splice(0)) await streamer.stop();
}

function compare(options: Partial<VerifyOptions> = {}) {
  return verify({
    inspector,
    clickhouse,
    tables: nameTables({ database, cluster: undefined }),
    since: undefined,
    until: undefined,
    all: false,
    waitMs: 0,
    receipts: undefined,
    ...options,
  });
}

/** As a server with a cluster, whose replicas have no tables yet: the embedded one executes no SYSTEM. */
const withoutReplicas = (): ClickHouse =>
  changeClient(clickhouse, {
    execute: async (text) => {
      throw new ClickHouseError(60, `Code: 60. DB::Exception: there is no table: ${text}`);
    },
  });

/** Runs a statement; tables are named with a database before them, as `$.events`. */
const sql = (text: string) => clickhouse.execute(text.replaceAll('$.', `${database}.`));

async function receiptsOf(...lines: unknown[]) {
  async function* chunks() {
    yield Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
  return await readReceipts(chunks(), 'test');
}

describe('verify', () => {
  test('finds nothing wrong with what was delivered, dead letters and repeats included', async () => {
    await append(0, [...views(3_000), '{"event":', ...views(10)]);
    await append(1, views(500));
    await startStreaming();
    const report = await compare({ waitMs: 30_000 });
    expect(report).toMatchObject({
      verdict: 'ok',
      all_delivered: true,
      total: {
        offsets: 3_511,
        rows: 3_510,
        dead_letters: 1,
        missing: 0,
        duplicated: 0,
        foreign: 0,
        waiting: 0,
      },
      notes: [],
    });
    expect(formatReport(report)).toMatch(/^No loss, no duplicates: 3,511 offsets compared/);

    // A replayed dead letter is in both tables; a repeat only in its own.
    await sql(
      `INSERT INTO $.events (received_at, topic, topic_id, partition, offset, data)
       SELECT received_at, topic, topic_id, partition, offset, '{"event":"mended"}' FROM $.dead_letters`,
    );
    await sql(
      'INSERT INTO $.repeats SELECT topic, topic_id, partition, offset, received_at, event_id, 1, raw FROM $.events WHERE partition = 1 AND offset = 7',
    );
    await sql('DELETE FROM $.events WHERE partition = 1 AND offset = 7');
    expect(await compare()).toMatchObject({
      verdict: 'ok',
      total: { rows: 3_510, dead_letters: 1, repeats: 1, missing: 0, duplicated: 0 },
    });
  });

  test('names exactly the rows that are gone, and those that are there again', async () => {
    // Over several buckets of 65,536, with gaps at their edges.
    for (let i = 0; i < 15; i++) await append(0, views(10_000));
    await append(1, views(100));
    await startStreaming();
    expect(await compare({ waitMs: 60_000 })).toMatchObject({ verdict: 'ok', total: { offsets: 150_100 } });
    await stopStreaming();
    await sql(
      'ALTER TABLE $.events DELETE WHERE partition = 0 AND (offset = 0 OR offset BETWEEN 65530 AND 65540 OR offset = 149999) SETTINGS mutations_sync = 2',
    );
    await sql('DELETE FROM $.events WHERE partition = 1 AND offset IN (5, 6, 8)');
    const copy =
      'INSERT INTO $.events (received_at, topic, topic_id, partition, offset, data) SELECT received_at, topic, topic_id, partition, offset, data FROM $.events';
    // As many twice as are gone, so that counts and sums agree.
    await sql(`${copy} WHERE partition = 1 AND offset IN (7, 40, 41)`);
    await sql(`${copy} WHERE partition = 1 AND offset = 7`);
    const report = await compare();
    expect(report.verdict).toBe('loss');
    expect(report.partitions[0]).toMatchObject({
      missing: 13,
      missing_ranges: [
        { start: 0, end: 1 },
        { start: 65_530, end: 65_541 },
        { start: 149_999, end: 150_000 },
      ],
      duplicated: 0,
    });
    expect(report.partitions[1]).toMatchObject({
      missing: 3,
      missing_ranges: [
        { start: 5, end: 7 },
        { start: 8, end: 9 },
      ],
      duplicated: 3,
      duplicated_ranges: [
        { start: 7, end: 8, rows: 4 },
        { start: 40, end: 42, rows: 2 },
      ],
    });
    expect(formatReport(report)).toMatch(/^LOSS: 16 missing, 3 stored more than once/);
    expect(formatReport(report)).toContain('0: offsets 65530 to 65540 missing');

    await sql('TRUNCATE TABLE $.events');
    const empty = await compare();
    expect(empty.partitions.map(({ missing_ranges }) => missing_ranges)).toEqual([
      [{ start: 0, end: 150_000 }],
      [{ start: 0, end: 100 }],
    ]);
  });

  test('names rows that no record stands behind; those of an earlier topic are no fault', async () => {
    await append(0, views(10));
    await startStreaming();
    await compare({ waitMs: 30_000 });
    const insert = (values: string) =>
      sql(`INSERT INTO $.events (received_at, topic, topic_id, partition, offset, data) VALUES ${values}`);
    const { topicId } = await inspector.view();
    await insert(
      `(now64(3), 'events', 'earlier', 0, 3, '{"event":"a"}'), (now64(3), 'other', '', 0, 3, '{"event":"a"}')`,
    );
    expect(await compare()).toMatchObject({
      verdict: 'ok',
      earlier_topics: [{ topic_id: 'earlier', rows: 1 }],
      notes: [expect.stringContaining('1 rows belong to an earlier topic')],
    });
    await insert(
      `(now64(3), 'events', '${topicId}', 0, 10, '{"event":"a"}'), (now64(3), 'events', '${topicId}', 0, 99999999999, '{"event":"a"}'), (now64(3), 'events', '${topicId}', 7, 0, '{"event":"a"}')`,
    );
    const report = await compare();
    expect(report).toMatchObject({
      verdict: 'loss',
      total: { foreign: 3, missing: 0, duplicated: 0 },
      foreign_rows: [
        { table: 'events', partition: 0, rows: 2, first: 10, last: 99_999_999_999 },
        { table: 'events', partition: 7, rows: 1, first: 0, last: 0 },
      ],
    });
    expect(formatReport(report)).toMatch(/^FOREIGN ROWS: 3 rows without a record/);
  });

  test('what is in flight or waits is not loss', async () => {
    await append(0, views(2_500));
    expect(await compare()).toMatchObject({
      verdict: 'ok',
      total: { offsets: 0, in_flight: 0, waiting: 2_500 },
    });
    await startStreaming({
      insert: async () => {
        throw new ClickHouseUnavailableError('away');
      },
    });
    await expect.poll(async () => (await compare()).total.in_flight, { timeout: 20_000 }).toBe(1_000);
    const receipts = await receiptsOf({ partition: 0, offset: 999 }, { partition: 0, offset: 2_499 });
    const report = await compare({ waitMs: 300, receipts });
    expect(report).toMatchObject({
      verdict: 'not_delivered',
      total: { offsets: 0, in_flight: 1_000, waiting: 1_500, missing: 0 },
      receipts: { receipts: 2, pending: 2, delivered: 0, missing: 0 },
    });
    expect(report.partitions[0]).toMatchObject({ in_flight_range: { start: 0, end: 1_000 } });
    expect(report.partitions[0]?.oldest_undelivered_seconds).toBeGreaterThanOrEqual(0);
    // Stopped in the middle of the plan: still not loss.
    await stopStreaming();
    expect(await compare()).toMatchObject({ verdict: 'ok', total: { in_flight: 1_000, waiting: 1_500 } });
    await startStreaming();
    expect(await compare({ waitMs: 30_000 })).toMatchObject({
      verdict: 'ok',
      total: { offsets: 2_500, rows: 2_500, in_flight: 0, waiting: 0 },
    });
  });

  test('never cries loss while events come in and are delivered', async () => {
    await startStreaming();
    let isOver = false;
    const writing = (async () => {
      while (!isOver) await Promise.all([append(0, views(200)), append(1, views(50))]);
    })();
    let offsets = 0;
    for (let round = 0; round < 25; round++) {
      const report = await compare();
      expect(report).toMatchObject({ verdict: 'ok' });
      expect(report.total.offsets).toBeGreaterThanOrEqual(offsets);
      offsets = report.total.offsets;
    }
    isOver = true;
    await writing;
    expect(offsets).toBeGreaterThan(0);
  });

  /** The buffer as it would look with another start or commit of partition 0. */
  const seenAs = (changed: Partial<PartitionView>): BufferInspector => ({
    topic: inspector.topic,
    isDense: inspector.isDense,
    async view() {
      const { topicId, partitions } = await inspector.view();
      return {
        topicId,
        partitions: partitions.map((one) => (one.partition === 0 ? { ...one, ...changed } : one)),
      };
    },
    read: (...args) => inspector.read(...args),
    offsetAt: (...args) => inspector.offsetAt(...args),
    close: async () => {},
  });

  test('a commit for a former topic of the same name delivers nothing', async () => {
    await append(0, views(100));
    const note = { topicId: 'former', ids: undefined, settleUntil: undefined };
    const plan = { start: 50, end: 90, rows: 40, crc: 0, repeatsCrc: 0, token: 'x', sealedAt: 0 };
    await startStreaming();
    await compare({ waitMs: 30_000 });
    for (const text of [encodeNote({ ...note, plan: undefined }), encodeNote({ ...note, plan })]) {
      const former = seenAs({ commit: { offset: 100, plan: text } });
      const report = await compare({ inspector: former, waitMs: 100 });
      expect(report).toMatchObject({
        verdict: 'not_delivered',
        all_delivered: false,
        total: { offsets: 0, waiting: 100, in_flight: 0 },
      });
      expect(report.partitions[0]).toMatchObject({ committed: null });
      expect(report.partitions[0]?.oldest_undelivered_seconds).toBeGreaterThanOrEqual(0);
    }
  });

  test('what left the buffer before its commit is lost only where no table has it', async () => {
    await append(0, views(900));
    await startStreaming();
    await compare({ waitMs: 30_000 });
    // Set back by an operator; or read a moment before the start.
    const early = seenAs({ start: 500, commit: { offset: 100, plan: '' } });
    const receipts = await receiptsOf(
      { partition: 0, offset: 150, count: 20 },
      { partition: 0, offset: 600 },
    );
    const fine = await compare({ inspector: early, receipts });
    expect(fine).toMatchObject({
      verdict: 'ok',
      total: { missing: 0, waiting: 400 },
      receipts: { delivered: 20, pending: 1 },
      notes: [],
    });
    expect(fine.partitions[0]).toMatchObject({ expired: null });
    await sql('DELETE FROM $.events WHERE offset IN (100, 151, 152, 153, 499, 500)');
    const lossy = await compare({ inspector: early, receipts });
    expect(lossy).toMatchObject({
      verdict: 'loss',
      total: { missing: 5, unconfirmed: 0 },
      receipts: { delivered: 17, pending: 1, missing: 3, lost: [{ partition: 0, start: 151, end: 154 }] },
      notes: [expect.stringContaining('partition 0: 5 of 100 to 499. They are lost.')],
    });
    expect(lossy.partitions[0]).toMatchObject({
      expired: { start: 100, end: 500, missing: 5 },
      missing_ranges: [
        { start: 100, end: 101 },
        { start: 151, end: 154 },
        { start: 499, end: 500 },
      ],
    });
  });

  test('an offset that is a repeat and a row is a fault', async () => {
    await append(0, [...views(20), '{"event":']);
    await startStreaming();
    await compare({ waitMs: 30_000 });
    await sql(
      `INSERT INTO $.repeats SELECT topic, topic_id, partition, offset, received_at, event_id, 1, raw
       FROM (SELECT * EXCEPT data FROM $.events WHERE offset IN (4, 5, 9))`,
    );
    await sql(
      'INSERT INTO $.repeats SELECT topic, topic_id, partition, offset, received_at, event_id, 1, raw FROM $.dead_letters',
    );
    const report = await compare();
    expect(report).toMatchObject({
      verdict: 'loss',
      total: { missing: 0, duplicated: 0, repeats: 4, repeats_kept: 4 },
    });
    expect(report.partitions[0]?.repeats_kept_ranges).toEqual([
      { start: 4, end: 6 },
      { start: 9, end: 10 },
      { start: 20, end: 21 },
    ]);
    expect(formatReport(report)).toMatch(/^TWICE: 4 both in repeats and in another table/);
    expect(formatReport(report)).toContain('0: offsets 4 to 5 both in repeats and in another table');
    await sql('DELETE FROM $.repeats WHERE 1');
    expect(formatReport(await compare())).not.toContain('kept repeats');
  });

  test('compares a time only, when told so', async () => {
    const now = Date.now();
    await append(0, views(100), now - 3 * 3_600_000);
    await append(0, views(50), now - 3_600_000);
    await append(0, views(20), now);
    await startStreaming();
    await compare({ waitMs: 30_000 });
    await sql('DELETE FROM $.events WHERE offset IN (10, 120)');
    const lastHours = await compare({ since: now - 2 * 3_600_000 });
    expect(lastHours.partitions[0]).toMatchObject({
      checked: { start: 100, end: 170 },
      missing_ranges: [{ start: 120, end: 121 }],
    });
    const before = await compare({ until: now - 2 * 3_600_000 });
    expect(before.partitions[0]).toMatchObject({
      checked: { start: 0, end: 100 },
      missing_ranges: [{ start: 10, end: 11 }],
    });
    expect(await compare({ since: now - 1_000, until: now + 1_000 })).toMatchObject({
      verdict: 'ok',
      total: { offsets: 20, rows: 20 },
    });
  });

  describe('receipts', () => {
    test('are delivered, or lost', async () => {
      await append(0, views(100));
      await append(1, views(10));
      await startStreaming();
      await compare({ waitMs: 30_000 });
      const good = await receiptsOf(
        { status: 'ok', partition: 0, offset: 17 },
        { status: 'ok', partition: 0, Offset: 18 },
        {
          status: 'partial',
          accepted: 12,
          receipts: [
            { partition: 0, offset: 40, count: 7 },
            { partition: 1, offset: 0, count: 5 },
          ],
        },
        { partition: 0, offset: 17 },
      );
      expect(await compare({ receipts: good })).toMatchObject({
        verdict: 'ok',
        receipts: { receipts: 14, delivered: 14, pending: 0, missing: 0, unknown: 0 },
      });
      await sql('DELETE FROM $.events WHERE partition = 0 AND offset IN (17, 18, 46, 60)');
      const bad = await receiptsOf(
        { partition: 0, offset: 17, count: 30 },
        { partition: 1, offset: 9, count: 3 },
        { partition: 4, offset: 0 },
      );
      const report = await compare({ receipts: bad });
      expect(report).toMatchObject({
        verdict: 'loss',
        total: { missing: 4 },
        receipts: {
          ...{ receipts: 34, delivered: 28, missing: 3, unknown: 3 },
          lost: [
            { partition: 0, start: 17, end: 19 },
            { partition: 0, start: 46, end: 47 },
            { partition: 1, start: 10, end: 12 },
            { partition: 4, start: 0, end: 1 },
          ],
        },
      });
      expect(formatReport(report)).toContain('3 acknowledged, but the buffer does not hold them');
    });

    test('of spooled events are found by the id of the event', async () => {
      const spooled = await receiptsOf({ spool: 'abc-1', offset: 3, count: 10 });
      for (const cluster of [undefined, 'c']) {
        // Before the first streamer there are no tables.
        const tables = nameTables({ database, cluster });
        const early = await compare({ receipts: spooled, tables, clickhouse: withoutReplicas() });
        expect(early).toMatchObject({ verdict: 'not_delivered', receipts: { spooled_not_found: 10 } });
      }
      const batch = new EventBatch();
      for (let n = 0; n < 20; n++)
        batch.add(Buffer.from('{"event":"view"}'), Date.now(), [['id', `spool/abc-1/${n}`]]);
      await writer.append(0, batch);
      await startStreaming();
      await compare({ waitMs: 30_000 });
      const receipts = await receiptsOf(
        { spool: 'abc-1', offset: 3, count: 10 },
        { spool: 'abc-1', offset: 15 },
      );
      expect(await compare({ receipts })).toMatchObject({
        verdict: 'ok',
        receipts: { receipts: 11, delivered: 11 },
      });
      await sql("DELETE FROM $.events WHERE event_id IN ('spool/abc-1/4', 'spool/abc-1/5')");
      // The row is gone and the record counts as missing, whatever the client knows of it.
      const report = await compare({ receipts, since: Date.now() });
      expect(report).toMatchObject({
        verdict: 'not_delivered',
        receipts: {
          receipts: 11,
          delivered: 9,
          spooled_not_found: 2,
          not_found: [{ spool: 'abc-1', start: 4, end: 6 }],
        },
      });
      await sql(
        "INSERT INTO $.events (event_id, received_at, topic, topic_id, partition, offset, data) SELECT event_id, received_at, topic, topic_id, partition, offset, data FROM $.events WHERE event_id = 'spool/abc-1/15'",
      );
      expect(await compare({ receipts, since: Date.now() })).toMatchObject({
        verdict: 'loss',
        receipts: { spooled_duplicated: 1 },
      });
    });
  });
});

describe('millrace verify', () => {
  const run = (...args: string[]) =>
    runProgram([
      ...['verify', '--data-dir', directory.path, '--clickhouse-url', engine.url],
      ...['--clickhouse-database', database, ...args],
    ]);

  test('says by its exit code whether everything is there: 0, 98, 99', async () => {
    await append(0, views(100));
    const early = await run('--wait', '100ms');
    expect([early.code, early.stderr]).toEqual([99, '']);
    expect(early.stdout).toMatch(/^Not delivered yet.*100 waiting/);
    await startStreaming();
    const fine = await run('--wait', '30s');
    expect([fine.code, fine.stderr]).toEqual([0, '']);
    expect(fine.stdout).toMatch(/^No loss, no duplicates: 100 offsets compared/);
    await sql('DELETE FROM $.events WHERE offset = 42');
    const lossy = await run('--json');
    expect(lossy.code).toBe(98);
    expect(JSON.parse(lossy.stdout)).toMatchObject({ verdict: 'loss', total: { missing: 1 } });
    expect((await run()).stdout).toMatch(/^LOSS: 1 missing/);
  });

  test('names what is away, and the setting that points at it: 69', async () => {
    await append(0, views(1));
    await startStreaming();
    await compare({ waitMs: 30_000 });
    const [noServer, noTables, noLog, noKafka] = await Promise.all([
      run('--clickhouse-url', 'http://127.0.0.1:1'),
      run('--clickhouse-database', 'nowhere'),
      run('--kafka-topic', 'nothing'),
      run('--buffer', 'kafka', '--kafka-brokers', '127.0.0.1:1'),
    ]);
    expect([noServer.code, noServer.stdout]).toEqual([69, '']);
    expect(noServer.stderr).toContain('--clickhouse-url');
    expect(noTables.code).toBe(69);
    expect(noTables.stderr).toContain('--clickhouse-database');
    expect(noLog.code).toBe(69);
    expect(noLog.stderr).toContain('--data-dir');
    expect(noKafka.code).toBe(69);
    expect(noKafka.stderr).toContain('--kafka-brokers');
  });

  test('reads receipts, and names a bad line: 2', async () => {
    await append(0, views(100));
    await startStreaming();
    const file = join(directory.path, 'receipts.ndjson');
    writeFileSync(file, '{"partition":0,"offset":99}\n{"status":"ok","partition":0,"Offset":0}\n');
    const good = await run('--wait', '30s', '--receipts', file);
    expect(good.code).toBe(0);
    expect(good.stdout).toContain('Receipts: 2; 2 delivered.');
    writeFileSync(file, '{"partition":0,"offset":100}\n');
    expect((await run('--receipts', file)).code).toBe(98);
    writeFileSync(file, '{"partition":0,"offset":9}\n\n{"partition":0}\n');
    const bad = await run('--receipts', file);
    expect([bad.code, bad.stdout]).toEqual([2, '']);
    expect(bad.stderr).toContain(`line 3 of ${file}`);
    expect((await run('--receipts', join(directory.path, 'none'))).code).toBe(2);
  });
});

describe.skipIf(brokers === '')('verify with Kafka', () => {
  test('tells offsets without a record from loss', async () => {
    const topic = await createKafkaTopic(brokers, 1);
    const kafkaWriter = await topic.openWriter();
    const { Kafka, logLevel } = await import('kafkajs');
    const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING });
    const producer = kafka.producer({
      transactionalId: topic.topic,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await producer.connect();
    const inTransaction = async (count: number, isKept: boolean) => {
      const transaction = await producer.transaction();
      const messages = views(count).map((value) => ({ value, partition: 0 }));
      await transaction.send({ topic: topic.topic, messages });
      await (isKept ? transaction.commit() : transaction.abort());
    };
    const batch = new EventBatch();
    for (const value of views(50)) batch.add(Buffer.from(value), Date.now());
    // 0-49 ours, 50-59 kept, 60 marker, 61-65 rolled back, 66 marker, 67-116 ours, 117 kept, 118 marker
    await kafkaWriter.append(0, batch);
    await inTransaction(10, true);
    await inTransaction(5, false);
    await kafkaWriter.append(0, batch);
    await inTransaction(1, true);
    await producer.disconnect();
    await kafkaWriter.close();
    const looker = topic.openInspector(group);
    await startStreaming({}, topic.openReader(group));
    const compared = await compare({ inspector: looker, waitMs: 60_000 });
    expect(compared).toMatchObject({
      verdict: 'ok',
      all_delivered: true,
      total: { offsets: 118, rows: 111, gaps: 7, missing: 0, waiting: 0 },
    });
    await sql('DELETE FROM $.events WHERE offset IN (59, 67, 117)');
    const report = await compare({ inspector: looker });
    expect(report).toMatchObject({ verdict: 'loss', total: { missing: 3, gaps: 7, unconfirmed: 0 } });
    expect(report.partitions[0]?.missing_ranges).toEqual([
      { start: 59, end: 60 },
      { start: 67, end: 68 },
      { start: 117, end: 118 },
    ]);
    const hurried = await compare({ inspector: looker, maxReadBytes: 0 });
    expect(hurried.total).toMatchObject({ missing: 10, unconfirmed: 10, gaps: 0 });
    expect(hurried.notes).toEqual([expect.stringContaining('limit for reading the buffer')]);
    await stopStreaming();
    await looker.close();
    await topic.remove();
  });
});

describe('the content', () => {
  const contentOf = async () => {
    const report = await compare({ content: true });
    return { verdict: report.verdict, text: formatReport(report), ...report.content };
  };
  const alter = (change: string) =>
    clickhouse.execute(`ALTER TABLE ${database}.events ${change} SETTINGS mutations_sync = 1`);

  test('is that of the buffer: rows, dead letters and repeats; and rows changed by hand are named', async () => {
    const odd = ['{"event":"view","n":1e400}', '{"event":"\\ud83d"}', '{ "event" : "a" }', ''];
    await append(0, [...views(3_000), ...odd]);
    await append(1, views(10));
    await startStreaming();
    await compare({ waitMs: 30_000 });
    expect(await contentOf()).toMatchObject({ verdict: 'ok', checked: 3_014, unchecked: 0, different: 0 });
    expect((await contentOf()).text).toContain('no changes');

    await alter(`UPDATE raw = concat(raw, ' ') WHERE partition = 0 AND offset IN (5, 6, 2999)`);
    await alter(`UPDATE raw = '{"event":"view","n":3}' WHERE partition = 1 AND offset = 4`);
    // Two rows that have each other's bytes.
    await alter(
      `UPDATE raw = if(offset = 1500, '{"event":"view","n":1501}', '{"event":"view","n":1500}') WHERE partition = 0 AND offset IN (1500, 1501)`,
    );
    const changed = await contentOf();
    expect(changed).toMatchObject({ verdict: 'loss', checked: 3_008, unchecked: 0, different: 6 });
    expect(changed.partitions?.map(({ different_ranges }) => different_ranges)).toEqual([
      [
        { start: 5, end: 7 },
        { start: 1_500, end: 1_502 },
        { start: 2_999, end: 3_000 },
      ],
      [{ start: 4, end: 5 }],
    ]);
    expect(changed.text).toMatch(/^CHANGED: 6 with different bytes/);
    expect(changed.text).toContain('0: offsets 5 to 6 with different bytes');
  });

  test('cannot be checked where the bytes are not kept, and the report says so', async () => {
    await append(0, views(2_500));
    await startStreaming();
    await compare({ waitMs: 30_000 });
    await alter("UPDATE raw = '' WHERE offset < 100");
    const some = await contentOf();
    expect(some).toMatchObject({ verdict: 'ok', checked: 2_400, unchecked: 100, different: 0 });
    expect(some.text).toContain('The content of 100 records cannot be checked');
    await alter("UPDATE raw = '' WHERE 1");
    expect(await contentOf()).toMatchObject({ verdict: 'ok', checked: 0, unchecked: 2_500 });
    await stopStreaming();
    await alter('DROP COLUMN raw');
    const none = await contentOf();
    expect(none).toMatchObject({ verdict: 'ok', checked: 0, unchecked: 2_500 });
    expect(none.text).not.toContain('no changes');
  });
});
