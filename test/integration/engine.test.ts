/** The embedded ClickHouse as its clients see it: the official client, and curl. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

let engine: TestEngine;
let client: ClickHouseClient;

beforeAll(async () => {
  engine = await startTestEngine({ databases: ['one', 'two', 'later'] });
  client = createClient({ url: engine.url, log: { level: ClickHouseLogLevel.OFF } });
});

afterAll(async () => {
  await client.close();
  await engine.dispose();
});

/** Posts a statement, or a statement in the URL and data in the body. */
async function post(sql: string, data?: Uint8Array | string, settings: Record<string, string> = {}) {
  const query = new URLSearchParams(data === undefined ? settings : { query: sql, ...settings });
  const response = await fetch(`${engine.url}/?${query}`, { method: 'POST', body: data ?? sql });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, body, text: body.toString() };
}

/** The result of a query that must succeed. */
async function select(sql: string, settings?: Record<string, string>): Promise<string> {
  const { status, text } = await post(sql, '', settings);
  if (status !== 200) throw new Error(text);
  return text.trimEnd();
}

async function createTable(columns: string, settings = ''): Promise<string> {
  const table = `t_${randomBytes(6).toString('hex')}`;
  await select(`CREATE TABLE ${table} (${columns}) ENGINE = MergeTree ORDER BY tuple() ${settings}`);
  return table;
}

const curl = async (...args: string[]) =>
  (await promisify(execFile)('curl', ['-s', ...args], { encoding: 'utf8' })).stdout;

describe('@clickhouse/client', () => {
  it('pings', async () => {
    expect(await client.ping()).toEqual({ success: true });
    expect(await client.ping({ select: true })).toEqual({ success: true });
  });

  it('queries as JSON and as a stream of rows', async () => {
    const json = await client.query({ query: 'SELECT number AS n FROM numbers(3)', format: 'JSON' });
    expect(await json.json()).toMatchObject({ rows: 3, data: [{ n: 0 }, { n: 1 }, { n: 2 }] });
    const rows = await client.query({
      query: 'SELECT number AS n FROM numbers(200000)',
      format: 'JSONEachRow',
    });
    let count = 0;
    for await (const chunk of rows.stream()) count += chunk.length;
    expect(count).toBe(200_000);
  });

  it('inserts rows and streams, with settings, and reports what it wrote', async () => {
    const table = await createTable('n UInt32, s String');
    const values = [
      { n: 1, s: "it's" },
      { n: 2, s: 'a\n\nb\\', more: 1 },
    ];
    const clickhouse_settings = { input_format_skip_unknown_fields: 1 } as const;
    const inserted = await client.insert({ table, values, format: 'JSONEachRow', clickhouse_settings });
    expect(inserted.summary).toMatchObject({ written_rows: '2' });
    expect(inserted.query_id).not.toBe('');
    const stream = Readable.from([
      { n: 3, s: '' },
      { n: 4, s: 'é' },
    ]);
    await client.insert({ table, values: stream, format: 'JSONEachRow', columns: ['s', 'n'] });
    await client.insert({ table, values: Readable.from(['5,"x"\n'], { objectMode: false }), format: 'CSV' });
    const result = await client.query({ query: `SELECT * FROM ${table} ORDER BY n`, format: 'JSONEachRow' });
    expect(await result.json()).toEqual([
      { n: 1, s: "it's" },
      { n: 2, s: 'a\n\nb\\' },
      { n: 3, s: '' },
      { n: 4, s: 'é' },
      { n: 5, s: 'x' },
    ]);
  });

  it('binds parameters of every kind', async () => {
    const table = await createTable('n UInt32');
    await client.command({
      query: 'INSERT INTO {t:Identifier} VALUES ({n:UInt32})',
      query_params: { t: table, n: 7 },
    });
    const query_params = {
      s: 'quote\' tab\t newline\n backslash\\ "é" \0 {x:String}',
      a: ["it's", 'b\n'],
      m: { "k'": 1 },
      o: null,
      d: new Date('2026-01-02T03:04:05Z'),
      b: true,
      f: 1.5,
      big: '18446744073709551615',
      t: table,
    };
    const result = await client.query({
      query: `SELECT {s:String} AS s, {a:Array(String)} AS a, {m:Map(String, UInt8)} AS m, {o:Nullable(String)} AS o,
        {d:DateTime('UTC')} AS d, {b:Bool} AS b, {f:Float64} AS f, {big:UInt64}::String AS big, n FROM {t:Identifier}`,
      query_params,
      format: 'JSONEachRow',
    });
    const { t: _, ...expected } = query_params;
    expect(await result.json()).toEqual([{ ...expected, d: '2026-01-02 03:04:05', n: 7 }]);
  });

  it('compresses in both directions', async () => {
    const compressed = createClient({ url: engine.url, compression: { request: true, response: true } });
    const table = await createTable('n UInt32');
    const values = Array.from({ length: 5000 }, (_, n) => ({ n }));
    await compressed.insert({ table, values, format: 'JSONEachRow' });
    for (const format of ['JSONEachRow', 'JSONCompactEachRow'] as const) {
      const result = await compressed.query({ query: `SELECT n FROM ${table}`, format });
      expect(await result.json()).toHaveLength(5000);
    }
    const result = await compressed.query({ query: `SELECT sum(n) AS s FROM ${table}`, format: 'JSON' });
    expect(await result.json()).toMatchObject({ data: [{ s: 12497500 }] });
    await compressed.close();
  });

  it('runs commands and exec, and names errors', async () => {
    const { stream } = await client.exec({ query: 'SELECT 42 FORMAT TabSeparated' });
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('42\n');
    await expect(client.command({ query: 'DROP TABLE nope' })).rejects.toMatchObject({
      code: '60',
      type: 'UNKNOWN_TABLE',
    });
    await expect(client.query({ query: 'SELEC 1' })).rejects.toMatchObject({
      code: '62',
      type: 'SYNTAX_ERROR',
    });
    const table = await createTable('n UInt8');
    await expect(
      client.insert({ table, values: [{ n: 1 }, { n: 'x' }], format: 'JSONEachRow' }),
    ).rejects.toMatchObject({ code: '27', message: expect.stringContaining('(at row 2)') });
    expect(await select(`SELECT count() FROM ${table}`)).toBe('0');
  });
});

describe('inserts', () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

  it.each([
    'JSONEachRow',
    'JSONCompactEachRow',
    'JSON',
    'CSV',
    'CSVWithNames',
    'TabSeparated',
    'TSVWithNames',
    'TSKV',
    'Values',
    'RowBinary',
    'RowBinaryWithNamesAndTypes',
    'Native',
    'Parquet',
    'ArrowStream',
    'Avro',
    'MsgPack',
  ])('%s comes back as it went in', async (format) => {
    const columns = 'n UInt32, s String, a Array(Int64), o Nullable(String)';
    const source = `SELECT toUInt32(number + 10) AS n, if(number = 9, '\n\n ; DROP', concat('x\t"''\\\\é', toString(number))) AS s,
      [number, -number]::Array(Int64) AS a, if(number % 2, NULL, 'o') AS o FROM numbers(20)`;
    const sent = await post(`${source} FORMAT ${format}`);
    expect(sent.status).toBe(200);
    const table = await createTable(columns);
    const inserted = await post(`INSERT INTO ${table} FORMAT ${format}`, sent.body);
    expect(inserted).toMatchObject({ status: 200, text: '' });
    const read = (from: string) => select(`SELECT * FROM ${from} ORDER BY n FORMAT JSONCompactEachRow`);
    expect(await read(table)).toBe(await read(`(${source})`));
  });

  it('keeps every byte, wherever a line could seem to end', async () => {
    const table = await createTable('s String');
    for (const data of [
      bytes,
      Buffer.from('\n\n\nSELECT 1'),
      Buffer.from('a \n\n'),
      Buffer.from(';DROP'),
      randomBytes(70_000),
    ]) {
      await select(`TRUNCATE TABLE ${table}`);
      expect((await post(`INSERT INTO ${table} FORMAT RawBLOB`, data)).text).toBe('');
      expect((await post(`SELECT s FROM ${table} FORMAT RawBLOB`)).body.equals(data)).toBe(true);
    }
  });

  it('never executes what follows a blank line in the data', async () => {
    const table = await createTable('n UInt8');
    const data = `{"n":1}\n\n{"n":2}\n\nDROP TABLE ${table}`;
    expect((await post(`INSERT INTO ${table} FORMAT JSONEachRow`, data)).status).toBe(400);
    expect((await post(`INSERT INTO ${table} FORMAT JSONEachRow`, '\n\n{"n":1}\n\n\n{"n":2}\n\n')).text).toBe(
      '',
    );
    expect((await post(`INSERT INTO ${table} VALUES (3); DROP TABLE ${table}`)).text).not.toContain(
      '(UNKNOWN',
    );
    expect(await select(`SELECT min(n), max(n) FROM ${table}`)).toMatch(/^1\t/);
  });

  it('takes the statement from the URL, the body, or both', async () => {
    const table = await createTable('n UInt8, s String');
    const insert = `INSERT INTO ${table}`;
    expect((await post(`${insert} FORMAT CSV\n1,"a\n\nb"\n`)).text).toBe('');
    expect((await post(`${insert} (s, n) SETTINGS max_threads = 1`, 'FORMAT CSV\nb,2')).text).toBe('');
    expect((await post(`${insert} VALUES`, "(3, 'c'), (1 + 3, 'd')")).text).toBe('');
    expect((await post(`${insert} FORMAT TSV\n5\te`, '6\tf\n')).text).toBe('');
    await select(`${insert} SELECT number + 7, 'g' FROM numbers(2)`);
    expect((await post(`${insert} FORMAT JSONEachRow`, '')).text).toBe('');
    expect(await select(`SELECT groupArray(n) FROM (SELECT n FROM ${table} ORDER BY n)`)).toBe(
      '[1,2,3,4,5,6,7,8]',
    );
    const summary = (await post(`${insert} SELECT 1, '' FROM numbers(5)`)).headers.get(
      'x-clickhouse-summary',
    );
    expect(JSON.parse(summary ?? '')).toMatchObject({ written_rows: '5' });
    expect((await post("INSERT INTO FUNCTION null('n UInt8') FORMAT JSONEachRow", '{"n":1}')).text).toBe('');
  });

  it('drops a repeated token, and only that', async () => {
    const table = await createTable('n UInt32', 'SETTINGS non_replicated_deduplication_window = 1000');
    const settings = (token: string) => ({
      insert_deduplication_token: token,
      async_insert: '0',
      wait_end_of_query: '1',
      use_strict_insert_block_limits: '1',
      input_format_parallel_parsing: '0',
      deduplicate_blocks_in_dependent_materialized_views: '1',
    });
    for (const token of ['a', 'a', 'b', 'a', 'b', 'c']) {
      expect((await post(`INSERT INTO ${table} FORMAT JSONEachRow`, '{"n":1}', settings(token))).text).toBe(
        '',
      );
    }
    expect(await select(`SELECT count() FROM ${table}`)).toBe('3');
    expect((await post(`INSERT INTO ${table} FORMAT JSONEachRow`, '{"n":1}')).text).toBe('');
    expect((await post(`INSERT INTO ${table} FORMAT JSONEachRow`, '{"n":1}', settings(''))).text).toBe('');
    expect(await select(`SELECT count() FROM ${table}`)).toBe('4');
  });

  it('writes a large batch as one part', async () => {
    const table = await createTable('n UInt32, s String');
    const rows = Array.from({ length: 100_000 }, (_, n) => `{"n":${n},"s":"${'x'.repeat(200)}"}\n`).join('');
    expect((await post(`INSERT INTO ${table} FORMAT JSONEachRow`, rows)).text).toBe('');
    const parts = `SELECT count(), sum(rows) FROM system.parts WHERE table = '${table}'`;
    expect(await select(parts)).toBe('1\t100000');
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ])('decompresses %s', async (coding, compress) => {
    const table = await createTable('n UInt8');
    const query = new URLSearchParams({ query: `INSERT INTO ${table} FORMAT CSV` });
    const init = { method: 'POST', headers: { 'content-encoding': coding } };
    const response = await fetch(`${engine.url}/?${query}`, { ...init, body: compress('1\n2\n') });
    expect(await response.text()).toBe('');
    const damaged = await fetch(`${engine.url}/?${query}`, { ...init, body: 'no' });
    expect(damaged.status).toBe(400);
    expect(await select(`SELECT count() FROM ${table}`)).toBe('2');
  });

  it('inserts nothing of a body that ends too early', async () => {
    const table = await createTable('n UInt32');
    const query = new URLSearchParams({ query: `INSERT INTO ${table} FORMAT CSV` });
    const { port } = new URL(engine.url);
    for (const framing of [
      'Content-Length: 100\r\n\r\n1\n2\n',
      'Transfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n',
    ]) {
      const socket = connect(Number(port), '127.0.0.1');
      socket.write(`POST /?${query} HTTP/1.1\r\nHost: x\r\n${framing}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
      socket.destroy();
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await select(`SELECT count() FROM ${table}`)).toBe('0');
  });

  it('refuses a body that is too large, also when only decompressed', async () => {
    const table = await createTable('s String');
    const bomb = gzipSync(Buffer.alloc(257 * 1024 ** 2));
    const query = new URLSearchParams({ query: `INSERT INTO ${table} FORMAT RawBLOB` });
    const response = await fetch(`${engine.url}/?${query}`, {
      method: 'POST',
      headers: { 'content-encoding': 'gzip' },
      body: bomb,
    });
    expect(response.status).toBe(413);
    expect(await select(`SELECT count() FROM ${table}`)).toBe('0');
  });
});

describe('the HTTP interface', () => {
  it('answers curl', async () => {
    expect(await curl(`${engine.url}/ping`)).toBe('Ok.\n');
    expect(await curl(`${engine.url}/`)).toBe('Ok.\n');
    expect(await curl(`${engine.url}/?query=SELECT%201`)).toBe('1\n');
    expect(await curl(engine.url, '-d', "SELECT hostName() != '', uptime() >= 0, version() != ''")).toBe(
      '1\t1\t1\n',
    );
    expect(await curl('--compressed', `${engine.url}/?enable_http_compression=1`, '-d', 'SELECT 1')).toBe(
      '1\n',
    );
    expect(await curl('-o', '/dev/null', '-w', '%{http_code}', `${engine.url}/nope`)).toBe('404');
  });

  it('names the query, the format and the time zone', async () => {
    const response = await fetch(`${engine.url}/?query=SELECT+1+AS+a&query_id=abc`, {
      headers: { 'x-clickhouse-format': 'JSONEachRow' },
    });
    expect(await response.text()).toBe('{"a":1}\n');
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'x-clickhouse-query-id': 'abc',
      'x-clickhouse-format': 'JSONEachRow',
      'content-type': 'application/x-ndjson; charset=UTF-8',
      'x-clickhouse-timezone': expect.any(String),
      'x-clickhouse-server-display-name': expect.any(String),
      'x-clickhouse-summary': expect.stringContaining('"result_rows":"1"'),
    });
    expect(await select('SELECT 1 AS a', { default_format: 'CSVWithNames' })).toBe('"a"\n1');
  });

  it.each([
    ['SELECT * FROM nope', 404, 60],
    ['SELECT nope', 404, 47],
    ['SELEC 1', 400, 62],
    ['SELECT 1; SELECT 2', 400, 62],
    ["SELECT toUInt8('x')", 400, 6],
    ['SELECT 1 FORMAT Nope', 404, 73],
    ['SELECT throwIf(1)', 500, 395],
    ['SELECT sleep(3) SETTINGS max_execution_time = 0.2', 408, 159],
    ["SELECT 1 INTO OUTFILE '/tmp/x'", 403, 358],
    ['SELECT {p:String}', 400, 456],
    ['', 400, 62],
  ])('%j gets status %i and code %i', async (sql, status, code) => {
    const response = await post(sql);
    expect(response.status).toBe(status);
    expect(response.headers.get('x-clickhouse-exception-code')).toBe(String(code));
    expect(response.text).toMatch(
      new RegExp(`^Code: ${code}\\. DB::Exception: .*\\([A-Z_]+\\) \\(version .*\\)\\n$`, 's'),
    );
  });

  it('knows unknown settings and databases', async () => {
    expect(await post('SELECT 1', '', { no_such_setting: '1' })).toMatchObject({
      status: 404,
      text: /UNKNOWN_SETTING/,
    });
    // It is in `databases`, and not made yet: another one is not even to be seen.
    expect(await post('SELECT 1', '', { database: 'later' })).toMatchObject({
      status: 404,
      text: /UNKNOWN_DATABASE/,
    });
    expect(await post('SELECT 1', '', { database: 'nope' })).toMatchObject({
      status: 403,
      text: /ACCESS_DENIED/,
    });
    const ignored = {
      session_id: 'a',
      wait_end_of_query: '1',
      send_progress_in_http_headers: '1',
      buffer_size: '1',
    };
    expect(await select('SELECT 1', ignored)).toBe('1');
  });

  it('lets GET only read', async () => {
    const table = await createTable('n UInt8');
    for (const sql of [
      `DROP TABLE ${table}`,
      `INSERT INTO ${table} VALUES (1)`,
      `INSERT INTO ${table} SELECT 1`,
    ]) {
      const response = await fetch(`${engine.url}/?${new URLSearchParams({ query: sql })}`);
      expect(response.status).toBe(403);
      expect(await response.text()).toContain('(READONLY)');
    }
    const settings = new URLSearchParams({ query: `SELECT count() FROM ${table}`, max_threads: '1' });
    expect(await (await fetch(`${engine.url}/?${settings}`)).text()).toBe('0\n');
  });

  it('streams a large result, and cuts it when it fails on the way', async () => {
    const { body } = await post('SELECT number FROM numbers(3000000)');
    expect(body.length).toBe(22_888_890);
    const failing = 'SELECT number, throwIf(number = 2900000) FROM numbers(3000000) SETTINGS max_threads = 1';
    await expect(post(failing)).rejects.toThrow();
    expect(await post(failing, '', { wait_end_of_query: '1' })).toMatchObject({
      status: 500,
      text: /^Code: 395/,
    });
  });

  it('ends a query whose client is gone', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const query = 'SELECT number FROM numbers(100000000000)';
    const response = await fetch(engine.url, { method: 'POST', body: query, signal });
    await response.body?.getReader().read();
    controller.abort();
    const running = () => select("SELECT count() FROM system.processes WHERE query LIKE '%100000000000%'");
    await expect.poll(running, { timeout: 10_000 }).toBe('1'); // this one
  });

  it('goes on when clients leave before their answer', async () => {
    const leaving = Array.from({ length: 8 }, async (_, i) => {
      const signal = AbortSignal.timeout(100 + i * 30);
      const body = `SELECT sleep(0.3) FORMAT ${i % 2 > 0 ? 'JSON' : 'CSV'}`;
      await expect(fetch(engine.url, { method: 'POST', body, signal })).rejects.toThrow();
    });
    await Promise.all(leaving);
    expect(await select('SELECT 1')).toBe('1');
  });

  it('takes the database from a header', async () => {
    const headers = { 'x-clickhouse-database': 'information_schema' };
    const body = 'SELECT currentDatabase()';
    const response = await fetch(engine.url, { method: 'POST', body, headers });
    expect(await response.text()).toBe('information_schema\n');
  });

  it.each([
    ["SELECT hex('\\xff☃\\x80')", 'FFE2988380'],
    ['SELECT * FROM (SELECT 1, 2) AS t(a, b)', '1\t2'],
    [
      'SELECT number % 2 AS a, grouping(a) FROM numbers(2) GROUP BY GROUPING SETS ((a)) ORDER BY a',
      '0\t0\n1\t0',
    ],
    ['SELECT untuple((1, 2))', '1\t2'],
    ['SELECT * FROM format(JSONEachRow, \'{"a":1}\')', '1'],
    ['SELECT -(-1), 1 - (2 - 3), NOT (1 AND 0), (NOT 1) IN (0), - -1', '1\t2\t1\t1\t1'],
  ])('gives what the engine itself gives: %s', async (sql, rows) => {
    expect(await select(sql)).toBe(rows);
  });

  it('answers what analysts ask the system tables', async () => {
    const table = await createTable('n UInt32, j JSON(a String)');
    expect(await select(`SELECT name, type FROM system.columns WHERE table = '${table}'`)).toBe(
      'n\tUInt32\nj\tJSON(a String)',
    );
    expect(await select(`SELECT engine FROM system.tables WHERE name = '${table}'`)).toBe('MergeTree');
    expect(await select('SELECT version()')).toMatch(/^\d+\.\d+/);
  });
});

it('has columns and properties that are called as functions are that it has not', async () => {
  const table = await createTable('data JSON(file String, tid Int64), file String ALIAS data.file');
  await select(`INSERT INTO ${table} (data) FORMAT JSONEachRow {"data":{"file":"a","tid":7}}`);
  expect(await select(`SELECT file, data.file, data.tid FROM ${table} WHERE file = 'a' ORDER BY file`)).toBe(
    'a\ta\t7',
  );
  expect(await select(`SELECT uniq(${table}.file), any(data.file) FROM ${table} GROUP BY file`)).toBe('1\ta');
});

describe('concurrent requests', () => {
  it('never see the settings, the database or the parameters of another', async () => {
    await Promise.all(['one', 'two'].map((name) => select(`CREATE DATABASE IF NOT EXISTS ${name}`)));
    const ask = async (i: number) => {
      const database = ['default', 'one', 'two'][i % 3] ?? 'default';
      const settings: Record<string, string> = { param_p: `p${i}` };
      if (i % 3 > 0) settings.database = database;
      if (i % 2 > 0) settings.max_block_size = String(1000 + i);
      const sql = "SELECT {p:String}, currentDatabase(), getSetting('max_block_size')";
      expect(await select(sql, settings)).toBe(`p${i}\t${database}\t${i % 2 > 0 ? 1000 + i : 65409}`);
    };
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(Array.from({ length: 60 }, (_, i) => ask(round * 60 + i)));
    }
  });

  it('leave nothing behind: SET, USE and temporary tables end with their request', async () => {
    await select('SET max_block_size = 7');
    await select('USE system');
    await select('CREATE TEMPORARY TABLE tmp (n UInt8)');
    expect(await select("SELECT currentDatabase(), getSetting('max_block_size')")).toBe('default\t65409');
    expect((await post('SELECT * FROM tmp')).status).toBe(404);
  });

  it('inserts go on while slow queries run', async () => {
    const table = await createTable('n UInt8');
    const sql = 'SELECT sleepEachRow(1) FROM numbers(100) SETTINGS max_block_size = 1';
    const slow = Promise.allSettled(Array.from({ length: 6 }, () => select(sql)));
    const running = () => select(`SELECT count() FROM system.processes WHERE query = '${sql}'`);
    await expect.poll(running, { timeout: 30_000 }).toBe('6');
    expect((await post(`INSERT INTO ${table} FORMAT CSV`, '1\n')).text).toBe('');
    expect(await running()).toBe('6');
    await select(`KILL QUERY WHERE query = '${sql}'`);
    await slow;
  });
});
