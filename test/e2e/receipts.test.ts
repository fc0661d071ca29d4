import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  createSite,
  freePorts,
  type Program,
  post,
  query,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
const running: Program[] = [];

async function start(args: readonly string[]): Promise<Program> {
  const program = await startProgram(args);
  running.push(program);
  return program;
}

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
});
afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  directory.remove();
});

async function ask(path: string, method = 'GET') {
  const response = await fetch(`${site.collector}/v1/receipts/${path}`, { method });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>),
  };
}

describe.each(['uws', 'node'])('what became of a receipt, by the server %s', (server) => {
  test('is told: stored, dead letter, repeat, unknown', async () => {
    await start(['start', ...site.flags, '--http-server', server]);
    const posted = await post(site.collector, [{ event: 'view' }, { event: 'click' }, { event: 'load' }]);
    expect(await posted.json()).toMatchObject({ receipts: [{ partition: 0, offset: 0, count: 3 }] });
    const stored = await until('the event is stored', async () => {
      const { body } = await ask('0/1');
      return body?.state === 'stored' && body;
    });
    expect(stored).toEqual({
      ...{ partition: 0, offset: 1, state: 'stored' },
      received_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/),
      stored_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/),
    });
    const insert = (sql: string) => query(site.clickhouse, sql);
    await insert(
      `INSERT INTO repeats SELECT topic, topic_id, partition, offset, received_at, event_id, 0, raw FROM events WHERE offset = 1`,
    );
    await insert(
      `INSERT INTO dead_letters SELECT topic, topic_id, partition, offset, received_at, received_at, event_id, 27, 'os', 'no number', 'raw' FROM events WHERE offset = 2`,
    );
    // In two tables: a dead letter that was replayed is an event.
    expect((await ask('0/2')).body).toMatchObject({ state: 'stored' });
    await insert('DELETE FROM events WHERE offset > 0');
    expect((await ask('0/1')).body).toEqual({ partition: 0, offset: 1, state: 'repeat', earlier_offset: 0 });
    expect((await ask('0/2')).body).toEqual({
      ...{ partition: 0, offset: 2, state: 'dead_letter', code: 27, column: 'os' },
      refused_at: expect.stringMatching(/^\d{4}-/),
    });

    const made = ['0d8f2a4e-7a51-4c5e-9a57-0b9f8b7a6c55/0'];
    for (const path of [...made, '0/3', '0/9007199254740991', '1/0', '9999999999/0']) {
      const { status, body } = await ask(path);
      expect([path, status, body?.code]).toEqual([path, 404, 'UNKNOWN_RECEIPT']);
    }
    await insert('DELETE FROM events WHERE offset = 0');
    const gone = await ask('0/0');
    expect([gone.status, gone.body?.detail]).toEqual([404, expect.stringContaining('no table holds it')]);
  });

  test('is accepted while ClickHouse has no tables, and 503 while it is away', async () => {
    const [clickhouse = 0] = await freePorts(1);
    const flags = ['--data-dir', directory.path, '--listen', new URL(site.collector).host];
    const url = ['--clickhouse-url', `http://127.0.0.1:${clickhouse}`];
    await start(['collect', ...flags, ...url, '--http-server', server]);
    expect((await post(site.collector, { event: 'view' })).status).toBe(200);
    const away = await ask('0/0');
    expect([away.status, away.body?.code]).toEqual([503, 'LOOKUP_UNAVAILABLE']);
    expect(away.headers.get('retry-after')).toBe('1');
    expect(away.headers.get('access-control-allow-origin')).toBe(null);
    expect((await ask('0/1')).status).toBe(404);
    await start(['clickhouse', '--data-dir', directory.path, ...url]);
    await until('ClickHouse is found', async () => (await ask('0/0')).status === 200);
    expect((await ask('0/0')).body).toEqual({ partition: 0, offset: 0, state: 'accepted' });
  });

  test('is refused where the path or the method is wrong', async () => {
    const [port = 0] = await freePorts(1);
    const url = `http://127.0.0.1:${port}`;
    await start([
      'collect',
      '--data-dir',
      directory.path,
      '--listen',
      `127.0.0.1:${port}`,
      '--http-server',
      server,
    ]);
    site = { ...site, collector: url };
    for (const path of [
      '0/x',
      '0/-1',
      '0/1.5',
      'x/0',
      '-1/0',
      '0/99999999999999999999',
      'a%20b/0',
      'collector-1/0',
    ]) {
      const { status, body } = await ask(path);
      expect([path, status, body?.code]).toEqual([path, 400, 'INVALID_RECEIPT']);
    }
    for (const path of ['0', '0/1/2', '']) expect((await ask(path)).status).toBe(404);
    const refused = await ask('0/0', 'POST');
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect((await ask('0/0', 'HEAD')).status).toBe((await ask('0/0')).status);
    expect((await ask('0/0', 'OPTIONS')).status).toBe(405);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('millrace_');
  });
});
