import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClickHouse, createClickHouse } from '../../src/clickhouse/client.ts';
import { ensureTables } from '../../src/clickhouse/tables.ts';
import { loadSchema } from '../../src/schema/schema.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const log = pino({ level: 'silent' });

let engine: TestEngine;
let clickhouse: ClickHouse;

beforeAll(async () => {
  engine = await startTestEngine();
  clickhouse = createClickHouse({
    url: new URL(engine.url),
    database: 'default',
    user: 'default',
    password: '',
    timeoutMs: 60_000,
  });
});
beforeEach(async () => {
  await ensureTables(
    clickhouse,
    { database: 'default', cluster: undefined, columns: loadSchema().columns },
    log,
  );
});
afterEach(() => clickhouse.execute('DROP TABLE IF EXISTS events SYNC'));
afterAll(async () => {
  await clickhouse.close();
  await engine.dispose();
});

/** Inserts rows `from` to `to`, the latter not included, which all have the same time. */
async function insert(partition: number, [from, to]: [number, number], second = 0): Promise<void> {
  const rows = Array.from({ length: to - from }, (_, n) => ({
    received_at: `2015-05-17 10:05:0${second}.000`,
    topic: 'events',
    partition,
    offset: from + n,
    data: { event: n % 2 === 0 ? 'view' : 'click', n: from + n },
  }));
  const statement = 'INSERT INTO events (received_at, topic, partition, offset, data) FORMAT JSONEachRow';
  await clickhouse.insert(statement, Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n')));
}

function tail(args: readonly string[], url = engine.url) {
  const child = spawn(process.execPath, [main, 'tail', '--clickhouse-url', url, ...args], { stdio: 'pipe' });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const rows = () =>
    out
      .split('\n')
      // What follows the last line end is not complete yet.
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const ended = new Promise<{ code: number | null; err: string }>((resolve) => {
    child.once('close', (code) => resolve({ code, err }));
  });
  return { child, rows, ended };
}

async function waitFor(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const idsOf = (rows: { partition: number; offset: number }[]) =>
  rows.map(({ partition, offset }) => `${partition}/${offset}`);

describe('tail', () => {
  it('prints the newest rows, the newest last', async () => {
    await insert(0, [0, 5], 1);
    await insert(1, [0, 3], 2);
    const { rows, ended } = tail(['--limit', '4', '--no-follow']);
    expect((await ended).code).toBe(0);
    expect(idsOf(rows())).toEqual(['0/4', '1/0', '1/1', '1/2']);
    expect(rows()[0]).toMatchObject({
      received_at: '2015-05-17T10:05:01.000Z',
      data: { event: 'view', n: 4 },
    });
  });

  it('prints each row that arrives once, whatever its time and partition', async () => {
    await insert(0, [0, 20], 5);
    const { child, rows, ended } = tail(['--limit', '2']);
    await waitFor(() => rows().length === 2);
    await insert(0, [20, 30], 5);
    // A partition that is new and late.
    await insert(3, [100, 110], 1);
    await waitFor(() => rows().length === 22);
    await insert(3, [110, 112], 0);
    await insert(0, [30, 6_030], 5);
    await insert(1, [0, 6_000], 5);
    await waitFor(() => rows().length >= 12_024);
    await new Promise((resolve) => setTimeout(resolve, 700));
    child.kill('SIGINT');
    expect((await ended).code).toBe(0);
    expect(rows()).toHaveLength(12_024);
    expect(new Set(idsOf(rows())).size).toBe(12_024);
  });

  it('prints only what meets the filter', async () => {
    await insert(0, [0, 10]);
    const { child, rows, ended } = tail(['--filter', "event = 'click' -- odd ones"]);
    await waitFor(() => rows().length === 5);
    await insert(0, [10, 20]);
    await waitFor(() => rows().length === 10);
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
    expect(rows().map(({ offset }) => offset % 2)).toEqual(Array(10).fill(1));
    const wrong = await tail(['--filter', 'no_such_column = 1']).ended;
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain('--filter');
  });

  it('waits for the first row', async () => {
    const { child, rows, ended } = tail([]);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await insert(0, [0, 1]);
    await waitFor(() => rows().length === 1);
    child.kill('SIGINT');
    expect((await ended).code).toBe(0);
  });

  it('ends quietly when nobody reads', async () => {
    await insert(0, [0, 10]);
    const { child, rows, ended } = tail([]);
    await waitFor(() => rows().length === 10);
    child.stdout.destroy();
    await insert(0, [10, 20]);
    expect(await ended).toEqual({ code: 0, err: '' });
  });

  it('says what is missing', async () => {
    await clickhouse.execute('DROP TABLE events SYNC');
    const { code, err } = await tail([]).ended;
    expect(code).toBe(69);
    expect(err).toContain('start the streamer first');
    const away = await tail([], 'http://127.0.0.1:9').ended;
    expect(away.code).toBe(69);
    expect(away.err).toContain('--clickhouse-url');
  });
});
