/** Who gets into the embedded ClickHouse of a default start, and as whom: docs/security.md. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  createSite,
  loginOf,
  type Program,
  post,
  query,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
const running: Program[] = [];

async function start(more: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const program = await startProgram(['start', ...site.flags, ...more], env);
  running.push(program);
  return program;
}

interface Login {
  readonly user?: string;
  readonly password?: string;
}

/** What is answered to a statement. */
async function ask(sql: string, { user = 'default', password }: Login = {}) {
  const headers = password === undefined ? {} : { 'x-clickhouse-user': user, 'x-clickhouse-key': password };
  const response = await fetch(`${site.clickhouse}/`, { method: 'POST', body: sql, headers });
  return {
    status: response.status,
    code: response.headers.get('x-clickhouse-exception-code'),
    challenge: response.headers.get('www-authenticate'),
    text: await response.text(),
  };
}

const ownerFile = () => join(directory.path, 'clickhouse-password');
const readerFile = () => join(directory.path, 'clickhouse-reader-password');
const passwordIn = (path: string) => readFileSync(path, 'utf8').trim();
const ownerPassword = () => passwordIn(ownerFile());
const asReader = () => ({ user: 'reader', password: passwordIn(readerFile()) });

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
});

afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  directory.remove();
});

describe('a default start', () => {
  test('asks for a password, which is in a file for its user alone, and is the same at the next start', async () => {
    const first = await start();
    for (const path of [ownerFile(), readerFile()]) {
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(passwordIn(path)).toMatch(/^[\w-]{43}$/);
    }
    const password = ownerPassword();
    expect(asReader().password).not.toBe(password);

    const without = await ask('SELECT 1');
    expect(without).toMatchObject({ status: 401, code: '194', challenge: expect.stringMatching(/^Basic /) });
    const wrong = await ask('SELECT 1', { password: `${password}x` });
    expect(wrong).toMatchObject({ status: 403, code: '516', challenge: null });
    const unknown = await ask('SELECT 1', { user: 'nobody', password });
    expect(unknown).toMatchObject({ status: 403, code: '516' });
    expect(await ask('SELECT 1', { password })).toMatchObject({ status: 200, text: '1\n' });
    for (const { text } of [without, wrong, unknown]) expect(text).not.toContain(password);

    expect(await first.stop()).toBe(0);
    await start();
    expect(ownerPassword()).toBe(password);
    expect(await ask('SELECT 1', { password })).toMatchObject({ status: 200 });
  });

  test('shows no password: not in the banner, the log, /metrics or /status, nor to whoever lists processes', async () => {
    const program = await start(['--log-level', 'trace']);
    const secrets = [ownerPassword(), asReader().password];
    await post(site.collector, [{ event: 'a' }, { nothing: true }]);
    await until('a row', async () => (await query(site.clickhouse, 'SELECT 1 FROM events')).length === 1);
    for (const secret of secrets) {
      await ask('SELECT nonsense', { password: secret });
      await ask('SELECT 1', { user: secret, password: secret.slice(1) });
      await fetch(`${site.clickhouse}/?user=default&password=${secret}&query=SELECT+nonsense`);
    }
    const shown = [
      program.output.stdout,
      program.output.stderr,
      ...(await Promise.all(
        [site.collector, site.streamer].flatMap((base) =>
          ['/metrics', '/status'].map(async (path) => (await fetch(base + path)).text()),
        ),
      )),
      (await runProgram(['check', ...site.flags, '--json'])).stdout,
      readFileSync(`/proc/${program.child.pid}/cmdline`, 'utf8'),
    ];
    expect(await program.stop()).toBe(0);
    shown.push(program.output.stderr);
    for (const secret of secrets) for (const text of shown) expect(text).not.toContain(secret);
    expect(program.output.stdout).toContain('with a password');
  });

  test('has a reader, who reads and does nothing else', async () => {
    await start();
    await post(site.collector, { event: 'read-me' });
    await until('a row', async () => (await query(site.clickhouse, 'SELECT 1 FROM events')).length === 1);
    expect(await ask('SELECT event FROM events', asReader())).toMatchObject({ text: 'read-me\n' });
    for (const sql of [
      "INSERT INTO events (event) VALUES ('forged')",
      'CREATE TABLE mine (a UInt8) ENGINE = MergeTree ORDER BY a',
      "KILL QUERY WHERE query LIKE '%'",
      'DROP TABLE events',
      'TRUNCATE TABLE events',
      'ALTER TABLE events DELETE WHERE 1',
    ]) {
      const { status, code, text } = await ask(sql, asReader());
      expect([sql, status, code, text]).toEqual([sql, 403, '497', expect.stringContaining('ACCESS_DENIED')]);
    }
    expect(await query(site.clickhouse, 'SELECT event FROM events')).toEqual([{ event: 'read-me' }]);
    expect(await query(site.clickhouse, 'EXISTS TABLE mine')).toEqual([{ result: 0 }]);
  });
});

describe('a password that is given', () => {
  test('in a file that a variable names lets in, is copied nowhere, and serves every part', async () => {
    const password = 'chosen-by-the-operator';
    const file = join(directory.path, 'secret');
    writeFileSync(file, `${password}\n`);
    const program = await start([], { MILLRACE_CLICKHOUSE_PASSWORD_FILE: file });
    expect(await ask('SELECT 1')).toMatchObject({ status: 401, code: '194' });
    await post(site.collector, { event: 'a' });
    const count = async () => (await ask('SELECT count() FROM events', { password })).text;
    await until('a row', async () => (await count()) === '1\n');
    expect(() => statSync(ownerFile())).toThrow('ENOENT');
    expect(await program.stop()).toBe(0);
    expect(program.output.stdout + program.output.stderr).not.toContain(password);
  });

  test('with --no-clickhouse-auth is not needed on loopback, which is warned of', async () => {
    const program = await start(['--no-clickhouse-auth']);
    expect(program.output.stderr).toContain('--no-clickhouse-auth');
    expect(program.output.stdout).toContain('WITHOUT A PASSWORD');
    expect(await ask('SELECT 1')).toMatchObject({ status: 200, text: '1\n' });
    const command = program.output.stdout.split('\n').filter((line) => line.startsWith('  curl '))[1];
    expect(command).not.toContain(' -u ');
    // Pages of other sites are not let in for that.
    const page = await fetch(`${site.clickhouse}/?query=SELECT+1`, {
      headers: { 'sec-fetch-site': 'cross-site' },
    });
    expect(page.status).toBe(403);
  });

  test.each(['0.0.0.0', '[::]'])('is needed on %s: exit 78 before anything starts', async (host) => {
    const { port } = new URL(site.clickhouse);
    const flags = [...site.flags.slice(0, -1), `http://${host}:${port}`, '--no-clickhouse-auth'];
    for (const command of ['start', 'clickhouse']) {
      const own = command === 'start' ? flags : [...flags.slice(0, 2), ...flags.slice(-3)];
      const { code, stderr } = await runProgram([command, ...own]);
      expect([command, code, stderr]).toEqual([
        command,
        78,
        expect.stringMatching(/--no-clickhouse-auth.*loopback/s),
      ]);
    }
  });
});

/** Seconds that `start` gets to stop; each of its processes may take about as long, one after the other. */
const stopSeconds = 2;

describe.each([
  ['streams its rows', 'SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1'],
  [
    'is stuck in a scalar subquery',
    'SELECT (SELECT sum(sleepEachRow(3)) FROM numbers(600) SETTINGS max_block_size = 1)',
  ],
])('a query that %s', (_, sql) => {
  test('does not keep SIGTERM waiting, and what was acknowledged is a row after the next start', async () => {
    const program = await start(['--stop-timeout', `${stopSeconds}s`]);
    const stuck = fetch(`${site.clickhouse}/`, {
      method: 'POST',
      body: sql,
      headers: loginOf(site.clickhouse),
    })
      .then((response) => response.text())
      .catch(() => 'cut');
    await until('the query runs', async () => {
      const rows = await query(
        site.clickhouse,
        "SELECT 1 FROM system.processes WHERE query LIKE '%numbers(600)%' AND query NOT LIKE '%processes%'",
      );
      return rows.length > 0;
    });
    let acknowledged = 0;
    for (let round = 0; round < 20; round++) {
      const answer = await post(
        site.collector,
        Array.from({ length: 50 }, (_, i) => ({ event: 'kept', round, i })),
      );
      acknowledged += ((await answer.json()) as { accepted: number }).accepted;
    }
    const code = await program.stop();
    // The query would have taken ten minutes.
    expect(code).toBe(0);
    await stuck;
    await start();
    await until(`${acknowledged} rows`, async () => {
      const [counts] = await query<{ rows: number; offsets: number }>(
        site.clickhouse,
        'SELECT count() AS rows, uniqExact(partition, offset) AS offsets FROM events',
      );
      return counts?.rows === acknowledged && counts.offsets === acknowledged;
    });
  });
});
