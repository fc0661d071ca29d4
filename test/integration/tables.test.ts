import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClickHouse, createClickHouse } from '../../src/clickhouse/client.ts';
import { ClickHouseError, ClickHouseUnavailableError } from '../../src/clickhouse/errors.ts';
import { insertSettings, readStructure } from '../../src/clickhouse/inserts.ts';
import type { KeepRaw } from '../../src/clickhouse/table-definitions.ts';
import { ensureTables, nameTables, planTables } from '../../src/clickhouse/tables.ts';
import { loadSchema } from '../../src/schema/schema.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { changeClient, connect } from '../support/pipeline.ts';

const log = pino({ level: 'silent' });
const directory = mkdtempSync(join(tmpdir(), 'millrace-tables-'));
let engine: TestEngine;
let clickhouse: ClickHouse;
let databases = 0;

function columnsOf(properties: Record<string, unknown>) {
  const file = join(directory, `${Math.random()}.json`);
  const schema = {
    type: 'object',
    required: ['event'],
    properties: { event: { type: 'string' }, ...properties },
  };
  writeFileSync(file, JSON.stringify(schema));
  return loadSchema(file).columns;
}

const freshDatabase = () => `t${databases++}`;

async function insert(database: string, offset: number, data: unknown, token = `${offset}`): Promise<void> {
  const row = { received_at: 1_763_690_000_123, topic: 'events', partition: 0, offset, data };
  const sql = `INSERT INTO ${database}.events FORMAT JSONEachRow`;
  const settings = { ...insertSettings, insert_deduplication_token: token };
  await clickhouse.insert(sql, Buffer.from(`${JSON.stringify(row)}\n`), { settings });
}

beforeAll(async () => {
  engine = await startTestEngine();
  clickhouse = createClickHouse({
    url: new URL(engine.url),
    database: '',
    user: 'default',
    password: '',
    timeoutMs: 30_000,
  });
});

afterAll(async () => {
  await clickhouse?.close();
  await engine?.dispose();
});

describe('tables', () => {
  test('are made from the schema, and a repeated insert with the same token is dropped', async () => {
    const database = freshDatabase();
    const options = { database, cluster: undefined, columns: loadSchema().columns };
    await ensureTables(clickhouse, options, log);
    const event = {
      event: 'view',
      id: 'a1',
      os: 'linux',
      status: 200,
      time: '2015-05-17T10:05:03.123Z',
      more: { x: [1] },
    };
    await insert(database, 7, event, 'token');
    await insert(database, 7, event, 'token');
    const rows = await clickhouse.query(
      `SELECT event_id, received_at, topic, partition, offset, event, os, status, time, browser, duration_ms, data.more.x AS x
       FROM ${database}.events`,
      { settings: { output_format_json_quote_64bit_integers: 0 } },
    );
    expect(rows).toEqual([
      {
        event_id: 'a1',
        received_at: '2025-11-21 01:53:20.123',
        topic: 'events',
        partition: 0,
        offset: 7,
        event: 'view',
        os: 'linux',
        status: 200,
        time: '2015-05-17 10:05:03.123',
        browser: '',
        duration_ms: null,
        x: [1],
      },
    ]);
    expect((await planTables(clickhouse, options)).filter(({ isNeeded }) => isNeeded)).toEqual([]);
  });

  test('may be made by several clients at once, and are then complete', async () => {
    const options = { database: freshDatabase(), cluster: undefined, columns: loadSchema().columns };
    const clients = Array.from({ length: 4 }, () => connect(engine.url));
    await Promise.all(clients.map((client) => ensureTables(client, options, log)));
    for (const client of clients) await client.close();
    expect((await planTables(clickhouse, options)).filter(({ isNeeded }) => isNeeded)).toEqual([]);
    await insert(options.database, 0, { event: 'a' });
    expect(await clickhouse.query(`SELECT event FROM ${options.database}.events`)).toEqual([{ event: 'a' }]);
  });

  test('gain a column for a property that the schema gains, over rows of any type', async () => {
    const database = freshDatabase();
    await ensureTables(clickhouse, { database, cluster: undefined, columns: columnsOf({}) }, log);
    await insert(database, 0, { event: 'a', n: 5, name: 'x', at: '2015-05-17T10:05:03Z', tags: ['a'] });
    await insert(database, 1, { event: 'a', n: 'five', name: 7, at: 'never', tags: [1] });
    await insert(database, 2, { event: 'a' });
    const columns = columnsOf({
      n: { type: 'integer' },
      name: { type: 'string', column: 'LowCardinality(String)' },
      at: { type: 'string', format: 'date-time' },
      tags: { type: 'array', items: { type: 'string' } },
    });
    const options = { database, cluster: undefined, columns };
    const needed = (await planTables(clickhouse, options)).filter(({ isNeeded }) => isNeeded);
    expect(needed.map(({ description }) => description)).toContain(
      'add column n Nullable(Int64) to table events',
    );
    await ensureTables(clickhouse, options, log);
    await insert(database, 3, { event: 'b', n: 6, name: 'y', at: '2016-05-17T10:05:03Z', tags: ['b', 'c'] });
    const rows = await clickhouse.query(
      `SELECT toInt32(n) AS n, name, toString(at) AS at, tags FROM ${database}.events ORDER BY offset`,
    );
    expect(rows).toEqual([
      { n: 5, name: 'x', at: '2015-05-17 10:05:03.000', tags: ['a'] },
      { n: null, name: '7', at: null, tags: ['1'] },
      { n: null, name: '', at: null, tags: [] },
      { n: 6, name: 'y', at: '2016-05-17 10:05:03.000', tags: ['b', 'c'] },
    ]);
    expect((await planTables(clickhouse, options)).filter(({ isNeeded }) => isNeeded)).toEqual([]);
  });

  test('refuse a property whose type changed, with every reason, and change nothing', async () => {
    const database = freshDatabase();
    await ensureTables(
      clickhouse,
      { database, cluster: undefined, columns: columnsOf({ a: { type: 'integer' }, b: { type: 'string' } }) },
      log,
    );
    const columns = columnsOf({ a: { type: 'string' }, b: { type: 'boolean' }, c: { type: 'string' } });
    const change = ensureTables(clickhouse, { database, cluster: undefined, columns }, log);
    await expect(change).rejects.toMatchObject({ exitCode: 78 });
    await expect(change).rejects.toThrow(
      /column a is Nullable\(Int64\).*String[\s\S]*column b is String.*Nullable\(Bool\)/,
    );
    const names = await clickhouse.query(
      `SELECT name FROM system.columns WHERE database = '${database}' AND name = 'c'`,
    );
    expect(names).toEqual([]);
  });

  test('on a cluster, need no right to make a database that is there', async () => {
    const database = freshDatabase();
    const options = { database, cluster: 'main', columns: columnsOf({}) };
    const done: string[] = [];
    const denying = changeClient(clickhouse, {
      // Stands for a managed cluster, whose interfaces alone make databases.
      async execute(sql) {
        if (sql.startsWith('CREATE DATABASE')) throw new ClickHouseError(497, 'Not enough privileges');
        done.push(sql);
      },
    });
    await expect(ensureTables(denying, options, log)).rejects.toThrow('Not enough privileges');
    await clickhouse.execute(`CREATE DATABASE ${database}`);
    await ensureTables(denying, options, log);
    expect(done.filter((sql) => sql.startsWith('CREATE TABLE'))).toHaveLength(3);
  });

  test('refuse a table of somebody else', async () => {
    const database = freshDatabase();
    await clickhouse.execute(`CREATE DATABASE ${database}`);
    await clickhouse.execute(`CREATE TABLE ${database}.events (x Int32) ENGINE = MergeTree ORDER BY x`);
    const plan = planTables(clickhouse, { database, cluster: undefined, columns: columnsOf({}) });
    await expect(plan).rejects.toThrow('it is not a table of Millrace');
  });

  test('keep what was acknowledged through power loss, and so do those of an earlier version from the next start on', async () => {
    const database = freshDatabase();
    const options = { database, cluster: undefined, columns: columnsOf({}) };
    const durable = [
      'non_replicated_deduplication_window = 100000',
      'fsync_after_insert = ',
      'fsync_part_directory = 1',
      'min_rows_to_fsync_after_merge = 1',
      'min_compressed_bytes_to_fsync_after_merge = 1',
    ];
    const engines = () =>
      clickhouse.query<{ name: string; engine_full: string }>(
        `SELECT name, engine_full FROM system.tables WHERE database = '${database}'`,
      );
    await ensureTables(clickhouse, options, log);
    const made = await engines();
    expect(made.map(({ name }) => name).sort()).toEqual(['dead_letters', 'events', 'repeats']);
    for (const { engine_full } of made) for (const text of durable) expect(engine_full).toContain(text);

    for (const { name } of made) {
      const names = durable
        .slice(0, 1)
        .concat(durable.slice(2))
        .map((text) => text.split(' ')[0]);
      await clickhouse.execute(`ALTER TABLE ${database}.${name} RESET SETTING ${names.join(', ')}`);
      // What somebody has chosen stays.
      await clickhouse.execute(`ALTER TABLE ${database}.${name} MODIFY SETTING fsync_after_insert = 0`);
    }
    const needed = (await planTables(clickhouse, options)).filter(({ isNeeded }) => isNeeded);
    expect(needed.map(({ sql }) => sql)).toHaveLength(3);
    await ensureTables(clickhouse, options, log);
    for (const { engine_full } of await engines()) {
      for (const text of durable) expect(engine_full).toContain(text);
      expect(engine_full).toContain('fsync_after_insert = 0');
    }
    expect((await planTables(clickhouse, options)).filter(({ isNeeded }) => isNeeded)).toEqual([]);
    await insert(database, 1, { event: 'a' }, 'again');
    await insert(database, 1, { event: 'a' }, 'again');
    expect(await clickhouse.query(`SELECT count() = 1 AS once FROM ${database}.events`)).toEqual([
      { once: 1 },
    ]);
  });

  test('of an earlier version gain a column for the bytes of events, kept as long as is wanted', async () => {
    const database = freshDatabase();
    const options = { database, cluster: undefined, columns: columnsOf({}) };
    const needed = async (keepRaw: KeepRaw) =>
      (await planTables(clickhouse, { ...options, keepRaw })).filter(({ isNeeded }) => isNeeded);
    await ensureTables(clickhouse, options, log);
    await insert(database, 0, { event: 'earlier' });
    for (const table of ['events', 'repeats'])
      await clickhouse.execute(
        `ALTER TABLE ${database}.${table} DROP COLUMN raw SETTINGS mutations_sync = 1`,
      );
    expect(await readStructure(clickhouse, options)).toMatchObject({ withRaw: false });

    expect((await needed('always')).map(({ description }) => description).sort()).toEqual([
      'make column raw of table events fit --keep-raw',
      'make column raw of table repeats fit --keep-raw',
    ]);
    await ensureTables(clickhouse, options, log);
    expect(await needed('always')).toEqual([]);
    expect(await needed('never')).toEqual([]);
    expect(await readStructure(clickhouse, options)).toMatchObject({ withRaw: true });
    expect(await readStructure(clickhouse, { database, keepRaw: 'never' })).toMatchObject({ withRaw: false });
    expect(await clickhouse.query(`SELECT event, raw FROM ${database}.events`)).toEqual([
      { event: 'earlier', raw: '' },
    ]);

    const rows = `INSERT INTO ${database}.events (received_at, offset, data, raw) VALUES
      (now64(3) - INTERVAL 3 DAY, 1, '{}', 'old'), (now64(3), 2, '{}', 'new')`;
    await clickhouse.execute(rows);
    for (const keepRaw of [86_400_000, 172_800_000]) {
      const how = { ...options, keepRaw };
      await ensureTables(clickhouse, how, log);
      expect(await needed(keepRaw)).toEqual([]);
    }
    await clickhouse.execute(`OPTIMIZE TABLE ${database}.events FINAL`);
    const left = `SELECT raw FROM ${database}.events WHERE offset > 0 ORDER BY offset`;
    expect(await clickhouse.query(left)).toEqual([{ raw: '' }, { raw: 'new' }]);

    await ensureTables(clickhouse, options, log);
    expect(await needed('always')).toEqual([]);
    const own = 'TTL toDateTime(received_at) + toIntervalMonth(1)';
    await clickhouse.execute(`ALTER TABLE ${database}.events MODIFY COLUMN raw String ${own}`);
    // What somebody has chosen stays: only `repeats` changes.
    expect(await needed(86_400_000)).toHaveLength(1);
    expect(await needed('always')).toEqual([]);
  });

  test('on a cluster are replicated, on every node, with a window that outlives an outage', async () => {
    const options = {
      database: 'analytics',
      cluster: 'main',
      columns: columnsOf({ a: { type: 'integer' } }),
    };
    const plan = (await planTables(clickhouse, options)).map(({ sql }) => sql);
    expect(plan).toHaveLength(4);
    for (const sql of plan) expect(sql).toContain('ON CLUSTER `main`');
    expect(plan[3]).toContain('ReplicatedMergeTree');
    expect(plan[3]).toContain('replicated_deduplication_window = 100000');
    expect(plan[3]).toContain('replicated_deduplication_window_seconds = 604800');
  });

  test('any name of a database is quoted', () => {
    expect(nameTables({ database: 'a`b\\c', cluster: undefined }).events).toBe('`a\\`b\\\\c`.events');
  });
});

describe('the client', () => {
  test('tells an exception from no answer', async () => {
    await expect(clickhouse.query('SELECT nonsense')).rejects.toMatchObject({ code: 47 });
    await expect(clickhouse.query('SELECT throwIf(number = 5) FROM numbers(10)')).rejects.toBeInstanceOf(
      ClickHouseError,
    );
    const nobody = createClickHouse({
      url: new URL('http://127.0.0.1:1'),
      database: '',
      user: 'default',
      password: '',
      timeoutMs: 1_000,
    });
    await expect(nobody.ping()).rejects.toBeInstanceOf(ClickHouseUnavailableError);
    await nobody.close();
  });

  test('passes parameters of any text', async () => {
    for (const text of ["it's", 'a\tb\nc\\d', '{x:String}', 'ü\u0000']) {
      expect(await clickhouse.query('SELECT {text:String} AS text', { params: { text } })).toEqual([
        { text },
      ]);
    }
  });
});
