/** The embedded ClickHouse as a process: who may use it, what it holds on to, what survives a kill. */
import { createServer } from 'node:net';
import { createClient } from '@clickhouse/client';
import { expect, it, onTestFinished } from 'vitest';
import { startTestEngine, type TestEngine, type TestEngineOptions } from '../support/engine.ts';

async function start(options?: TestEngineOptions): Promise<TestEngine> {
  const engine = await startTestEngine(options);
  onTestFinished(() => engine.dispose());
  return engine;
}

async function ask(engine: TestEngine, sql: string, init: RequestInit = {}): Promise<string> {
  const response = await fetch(engine.url, { method: 'POST', body: sql, ...init });
  return response.text();
}

it('lets in who has the password, however it is given', async () => {
  const engine = await start({ password: 'se:cret' });
  const status = async (path: string, headers: Record<string, string> = {}) =>
    (await fetch(`${engine.url}${path}`, { method: 'POST', body: 'SELECT 1', headers })).status;
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  expect(await status('/?user=default&password=se:cret')).toBe(200);
  expect(await status('/', { 'x-clickhouse-user': 'default', 'x-clickhouse-key': 'se:cret' })).toBe(200);
  expect(await status('/', basic('default:se:cret'))).toBe(200);
  expect(await status('/?user=reader&password=se:cret-reader')).toBe(200);
  expect(await status('/')).toBe(401);
  expect(await status('/?password=wrong')).toBe(403);
  expect(await status('/?user=other&password=se:cret')).toBe(403);
  expect(await status('/', basic('default:'))).toBe(401);
  expect((await fetch(`${engine.url}/ping`)).status).toBe(200);
  const refused = await fetch(engine.url, { method: 'POST', body: 'SELECT 1' });
  expect(refused.headers.get('x-clickhouse-exception-code')).toBe('194');
  expect(refused.headers.get('www-authenticate')).toContain('Basic');
  expect(await refused.text()).toMatch(/^Code: 194\. .*REQUIRED_PASSWORD/);
  const client = createClient({ url: engine.url, username: 'default', password: 'se:cret' });
  expect(await client.ping({ select: true })).toEqual({ success: true });
  await client.close();
});

it('refuses web pages when there is no password', async () => {
  const engine = await start();
  const init = { headers: { origin: 'http://evil.example' } };
  expect(await ask(engine, 'SELECT 1', init)).toMatch(/^Code: 497/);
  expect(await ask(engine, 'SELECT 1', { headers: { origin: engine.url } })).toBe('1\n');
});

it('names the directory that another process uses, and the port', async () => {
  const engine = await start();
  await expect(startTestEngine({ dataDir: engine.dataDir })).rejects.toMatchObject({
    message: expect.stringContaining(engine.dataDir),
    exitCode: 69,
  });
  expect(await ask(engine, 'SELECT 1')).toBe('1\n');
  const blocker = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void blocker.close());
  await new Promise((listening) => blocker.once('listening', listening));
  const address = blocker.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await expect(startTestEngine({ port })).rejects.toMatchObject({
    message: expect.stringMatching(new RegExp(`${port}.*--clickhouse-url`)),
    exitCode: 69,
  });
});

it('finishes the queries in flight when it is told to stop', async () => {
  const engine = await start();
  await ask(engine, 'CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n');
  const slow = ask(engine, 'SELECT sleep(1)');
  const insert = ask(engine, 'INSERT INTO t SELECT sleepEachRow(0.5) FROM numbers(2)');
  const running = () => ask(engine, "SELECT count() FROM system.processes WHERE query LIKE '%sleep%'");
  await expect.poll(running).toBe('3\n');
  await engine.stop();
  expect(await slow).toBe('0\n');
  expect(await insert).toBe('');
  expect(engine.process.exitCode).toBe(0);
  const again = await start({ dataDir: engine.dataDir });
  expect(await ask(again, 'SELECT count() FROM t')).toBe('2\n');
});

it('answers others while a query is analysed, whose scalar subquery runs then', async () => {
  const engine = await start();
  const order: string[] = [];
  const slow = ask(
    engine,
    'SELECT (SELECT sum(sleepEachRow(1)) FROM numbers(3) SETTINGS max_block_size = 1) AS x, number FROM numbers(1) FORMAT TSV',
  ).then((text) => order.push(text.trim()));
  const running = () => ask(engine, "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%'");
  await expect.poll(running).toBe('2\n');
  expect(await (await fetch(`${engine.url}/ping`)).text()).toBe('Ok.\n');
  expect(await ask(engine, "INSERT INTO FUNCTION null('n UInt8') FORMAT CSV\n1\n")).toBe('');
  order.push('others');
  await slow;
  expect(order).toEqual(['others', '0\t0']);
});

it('bounds what a query of a reader may use, and lets nobody lift it', async () => {
  const engine = await start();
  const headers = { 'x-clickhouse-user': 'reader' };
  const asked = async (sql: string, url = '') => {
    const response = await fetch(`${engine.url}/?${url}`, { method: 'POST', body: sql, headers });
    return [response.status, Number(response.headers.get('x-clickhouse-exception-code'))];
  };
  // 100 GB of numbers in one array.
  expect(await asked('SELECT length(groupArray(number)) FROM numbers(12500000000)')).toEqual([400, 241]);
  for (const setting of ['max_memory_usage', 'max_execution_time', 'max_threads', 'max_result_bytes']) {
    for (const value of ['0', '999999999999']) {
      expect([setting, value, await asked('SELECT 1', `${setting}=${value}`)]).toEqual([
        setting,
        value,
        [403, 497],
      ]);
      expect(await asked(`SELECT 1 SETTINGS ${setting} = ${value}`)).toEqual([403, 497]);
    }
    expect(await asked('SELECT 1', `${setting}=1000000`.replace(/(time|threads)=.*/, '$1=2'))).toEqual([
      200, 0,
    ]);
  }
  for (const setting of [
    'max_memory_usage_for_user',
    'max_untracked_memory',
    'max_ast_depth',
    'max_parser_depth',
  ]) {
    expect([setting, await asked('SELECT 1', `${setting}=1`)]).toEqual([setting, [403, 497]]);
  }
  expect(await asked('SELECT sleepEachRow(1) FROM numbers(10) SETTINGS max_execution_time = 1')).toEqual([
    400, 160,
  ]);
});

it('loses nothing and repeats nothing when it is killed in the middle of inserts', async () => {
  let engine = await start();
  const { dataDir } = engine;
  await ask(
    engine,
    'CREATE TABLE t (n UInt64, j JSON(a String)) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000',
  );
  const rowsPerBatch = 20_000;
  const insert = (batch: number) => {
    const rows = Array.from({ length: rowsPerBatch }, (_, row) => {
      const n = batch * rowsPerBatch + row;
      return `{"n":${n},"j":{"a":"${n}","b":[${n}]}}\n`;
    });
    const query = new URLSearchParams({
      query: 'INSERT INTO t FORMAT JSONEachRow',
      insert_deduplication_token: `batch ${batch}`,
    });
    return fetch(`${engine.url}/?${query}`, { method: 'POST', body: rows.join('') });
  };
  let batch = 0;
  for (let round = 0; round < 4; round += 1) {
    const killAfterMs = 150 + round * 130;
    const dead = new Promise<void>((resolve) => {
      setTimeout(() => void engine.stop('SIGKILL').then(resolve), killAfterMs);
    });
    try {
      for (;;) {
        expect((await insert(batch)).status).toBe(200);
        batch += 1;
      }
    } catch {
      await dead;
    }
    engine = await start({ dataDir });
    // Nobody knows whether the last one arrived: it is sent again, with its token.
    expect((await insert(batch)).status).toBe(200);
    batch += 1;
    const counts = await ask(engine, 'SELECT count(), uniqExact(n), max(n) + 1 FROM t');
    const rows = String(batch * rowsPerBatch);
    expect(counts.trim().split('\t')).toEqual([rows, rows, rows]);
  }
});
