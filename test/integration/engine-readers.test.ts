/** The embedded ClickHouse under readers: forgotten and slow ones, large results, slow bodies. */
import { request as httpRequest } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine({ stalledBodyMs: 1_000 });
});

afterAll(() => engine.dispose());

type Who = 'default' | 'reader';

async function ask(sql: string, who: Who = 'default', url = '', signal?: AbortSignal) {
  const init = { method: 'POST', body: sql, headers: { 'x-clickhouse-user': who } };
  const response = await fetch(`${engine.url}/?${url}`, signal === undefined ? init : { ...init, signal });
  const { status, headers } = response;
  return { status, headers, text: await response.text() };
}

const slow = (format: string) =>
  `SELECT sleepEachRow(1) FROM numbers(300) SETTINGS max_block_size = 1 FORMAT ${format}`;
const running = async (marker: string) =>
  (
    await ask(
      `SELECT count() FROM system.processes WHERE query LIKE '%${marker}%' AND query NOT LIKE '%processes%'`,
    )
  ).text;

/** A query whose client goes away while it runs. */
async function forget(sql: string, who: Who): Promise<void> {
  await ask(sql, who, '', AbortSignal.timeout(500)).catch(() => {});
}

describe('reads whose clients are gone', () => {
  it('are ended, and hold nothing up: not inserts, not changes, not KILL, not other reads', async () => {
    const each = Array.from({ length: 16 }, (_, index) =>
      forget(slow(index % 4 < 2 ? 'TSV' : 'JSON'), index % 2 === 0 ? 'default' : 'reader'),
    );
    await Promise.all(each);
    const others = [
      'CREATE TABLE IF NOT EXISTS t_gone (n UInt8) ENGINE = Memory',
      "INSERT INTO FUNCTION null('n UInt8') FORMAT CSV\n1\n",
      "KILL QUERY WHERE query_id = 'none'",
      'SELECT 1',
    ];
    for (const sql of others) expect([sql, (await ask(sql)).status]).toEqual([sql, 200]);
    expect((await ask('SELECT 1', 'reader')).text).toBe('1\n');
    await expect.poll(() => running('sleepEachRow(1) FROM numbers(300)'), { timeout: 5_000 }).toBe('0\n');
  });

  it('do not end what changes tables', async () => {
    await ask('CREATE TABLE t_goes_on (n UInt8) ENGINE = Memory');
    await forget('INSERT INTO t_goes_on SELECT sleepEachRow(0.5) FROM numbers(3)', 'default');
    await expect
      .poll(async () => (await ask('SELECT count() FROM t_goes_on')).text, { timeout: 5_000 })
      .toBe('3\n');
  });
});

it('keeps changes and KILL from waiting behind reads that somebody still waits for', async () => {
  const gone = new AbortController();
  onTestFinished(() => gone.abort());
  for (let index = 0; index < 12; index += 1) {
    ask(slow('JSON'), 'default', '', gone.signal).catch(() => {});
  }
  // KILL lists them without a slot of theirs; six is as many reads as run at once.
  const list = "KILL QUERY WHERE query LIKE 'SELECT sleepEachRow%' TEST";
  const count = async () => (await ask(list)).text.split('\n').length - 1;
  await expect.poll(count).toBe(6);
  expect((await ask('CREATE TABLE t_busy (n UInt8) ENGINE = Memory')).status).toBe(200);
  expect((await ask('INSERT INTO t_busy FORMAT CSV\n1\n')).status).toBe(200);
  gone.abort();
  await expect.poll(count, { timeout: 5_000 }).toBe(0);
});

describe.each(['TSV', 'JSON'])('the id of a query, read as %s', (format) => {
  it.each<[Who, Who, boolean]>([
    ['default', 'default', true],
    ['reader', 'reader', true],
    ['default', 'reader', true],
    ['reader', 'default', false],
  ])('lets %s end a query of %s: %s', async (killer, owner, isEnded) => {
    const id = `it's ${killer} ${owner} ${format}`;
    const gone = new AbortController();
    const url = `query_id=${encodeURIComponent(id)}`;
    const asked = ask(slow(format), owner, url, gone.signal);
    const literal = `'${id.replace("'", "\\'")}'`;
    const seen = async () =>
      (await ask(`SELECT query_id FROM system.processes AS p WHERE p.query_id = ${literal} FORMAT TSVRaw`))
        .text;
    await expect.poll(seen).toBe(`${id}\n`);
    const { text } = await ask(`KILL QUERY WHERE query_id = ${literal}`, killer);
    expect(text).toMatch(isEnded ? /^waiting\t/ : /^$/);
    if (isEnded)
      expect(await asked).toMatchObject({ status: 500, text: expect.stringMatching(/^Code: 394\./) });
    else {
      gone.abort();
      await expect(asked).rejects.toThrow();
    }
  });
});

it('lets a reader kill in no other way', async () => {
  for (const condition of ['1', "query_id = 'a' OR 1", "query LIKE '%'", "query_id = 'a' SYNC"]) {
    expect((await ask(`KILL QUERY WHERE ${condition}`, 'reader')).text).toMatch(/^Code: 497\./);
  }
  expect((await ask("SELECT 1 SETTINGS chdb_client_name = 'reader 1 a'", 'reader')).text).toMatch(
    /^Code: 497\./,
  );
  expect((await ask('SELECT 1', 'reader', 'chdb_client_name=a')).text).toMatch(/^Code: 497\./);
});

describe('large results', () => {
  const rows = 'SELECT toString(number) AS `a "\n\\tb`, number AS c FROM numbers(150000)';
  it.each([
    'CSVWithNames',
    'CSVWithNamesAndTypes',
    'TSVWithNames',
    'TabSeparatedWithNamesAndTypes',
    'JSONCompactEachRowWithNames',
    'JSONCompactEachRowWithNamesAndTypes',
    'JSONCompactStringsEachRowWithNames',
    'JSONCompactStringsEachRowWithNamesAndTypes',
    'RowBinaryWithNames',
    'RowBinaryWithNamesAndTypes',
    'MsgPack',
    'Raw',
    'JSONL',
    'PrettyJSONEachRow',
  ])('are the same in pieces and as a whole: %s', async (format) => {
    const [pieces, whole] = await Promise.all([
      ask(`${rows} FORMAT ${format}`),
      ask(`${rows} FORMAT ${format}`, 'default', 'wait_end_of_query=1'),
    ]);
    expect(pieces.headers.has('content-length')).toBe(false);
    expect(whole.headers.has('content-length')).toBe(true);
    expect(pieces.text === whole.text).toBe(true);
    const none = await ask(`${rows.replace('numbers(150000)', 'numbers(0)')} FORMAT ${format}`);
    const nothing = await ask(
      `${rows.replace('numbers(150000)', 'numbers(0)')} FORMAT ${format}`,
      'default',
      'wait_end_of_query=1',
    );
    expect(none.text).toBe(nothing.text);
  });

  it.each([
    ['JSON', 'SELECT number FROM numbers(5000000)'],
    ['Values', "SELECT concat(toString(number), repeat('x', 1000)) FROM numbers(300000)"],
    ['Parquet', "SELECT concat(toString(number), repeat('x', 1000)) FROM numbers(1000000)"],
  ])('stop at a limit where they cannot be sent in pieces: %s', async (format, sql) => {
    expect((await ask(`${sql} FORMAT ${format}`)).text).toMatch(/^Code: 396\./);
  });
});

it('says nothing of rows that were read, which it does not know', async () => {
  const { headers } = await ask('SELECT count() FROM numbers(1000)');
  const summary = JSON.parse(headers.get('x-clickhouse-summary') ?? '{}');
  expect(summary).toMatchObject({ result_rows: '1' });
  expect(summary).not.toHaveProperty('read_rows');
});

describe('an error in the middle of a result', () => {
  const sql = 'SELECT throwIf(number = 3000000) FROM numbers(10000000)';

  it('is what the official client says', async () => {
    const client = createClient({ url: engine.url, log: { level: ClickHouseLogLevel.OFF } });
    onTestFinished(() => client.close());
    const result = await client.query({ query: sql, format: 'JSONEachRow' });
    const read = async () => {
      for await (const rows of result.stream()) if (rows.length < 0) break;
    };
    await expect(read()).rejects.toMatchObject({ code: '395', message: expect.stringContaining('throwIf') });
  });

  it.each([false, true])(
    'is at the end of the body, which is not ended: compressed %s',
    async (isCompressed) => {
      const { body, tag, isComplete } = await new Promise<{ body: Buffer; tag: string; isComplete: boolean }>(
        (resolve) => {
          const headers = isCompressed ? { 'accept-encoding': 'gzip' } : {};
          const query = `${engine.url}/?enable_http_compression=1`;
          httpRequest(query, { method: 'POST', headers }, (response) => {
            const pieces: Buffer[] = [];
            response.on('data', (piece: Buffer) => pieces.push(piece)).on('error', () => {});
            response.on('close', () => {
              const tag = String(response.headers['x-clickhouse-exception-tag']);
              resolve({ body: Buffer.concat(pieces), tag, isComplete: response.complete });
            });
          }).end(sql);
        },
      );
      expect(isComplete).toBe(false);
      const text = (isCompressed ? gunzipSync(body) : body).toString();
      expect(text).toMatch(
        new RegExp(`\r\n__exception__\r\n${tag}\r\nCode: 395\\. .*\n\\d+ ${tag}\r\n__exception__\r\n$`),
      );
    },
  );
});

describe('the body of an insert', () => {
  const send = (pieces: number, pauseMs: number) =>
    new Promise<number>((resolve, reject) => {
      const query = new URLSearchParams({ query: "INSERT INTO FUNCTION null('n UInt8') FORMAT CSV" });
      const sent = httpRequest(`${engine.url}/?${query}`, { method: 'POST' }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      sent.on('error', reject);
      const write = (left: number) => {
        if (left === 0) return void sent.end();
        sent.write('1\n');
        setTimeout(() => write(left - 1), pauseMs);
      };
      write(pieces);
    });

  it('may take as long as it keeps coming', async () => {
    expect(await send(12, 250)).toBe(200);
  });

  it('is cut off when it stalls', async () => {
    expect(await send(2, 60_000)).toBe(408);
  });
});
