import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { countLog } from '../support/access-log-counts.ts';
import { narrowSchema } from '../support/narrow-schema.ts';
import {
  accessLog,
  childrenOf,
  createSite,
  launchProgram,
  type Program,
  post,
  query,
  runCommand,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
const running: Program[] = [];

async function start(...more: string[]): Promise<Program> {
  const program = await startProgram(['start', ...site.flags, ...more]);
  running.push(program);
  return program;
}

async function countRows(): Promise<{ rows: number; offsets: number }> {
  const sql = 'SELECT count() AS rows, uniqExact(partition, offset) AS offsets FROM events';
  const [counts] = await query<{ rows: number; offsets: number }>(site.clickhouse, sql);
  return counts ?? { rows: 0, offsets: 0 };
}

const rowsReach = (rows: number) =>
  until(`${rows} rows`, async () => {
    const counts = await countRows();
    return counts.rows >= rows && counts;
  });

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
});

afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  directory.remove();
});

describe('a new user', () => {
  test('pastes the curl that is printed, then each of the two queries, and reads the event back', async () => {
    const { output, stop } = await start();
    const commands = output.stdout.split('\n').filter((line) => /^ {2}(curl|node) /.test(line));
    expect(commands).toHaveLength(3);
    const [send = '', ...readers] = commands;
    const sent = await runCommand('sh', ['-c', send]);
    expect(JSON.parse(sent.stdout)).toEqual({ status: 'ok', partition: 0, offset: 0 });
    await rowsReach(1);
    for (const command of readers) {
      const read = await runCommand('sh', ['-c', command]);
      for (const word of ['view', 'linux', 'chrome'])
        expect([command, read.stdout]).toMatchObject([command, expect.stringContaining(word)]);
    }
    expect(await stop()).toBe(0);
    expect(output.stderr).not.toMatch(/error|fatal/i);
  });

  test.each([
    [
      'orders',
      {
        required: ['order', 'at', 'kind', 'total'],
        properties: {
          kind: { type: 'string', enum: ["buyer's", 'return'], column: 'LowCardinality(String)' },
          order: { type: 'string', format: 'uuid' },
          at: { type: 'string', format: 'date-time' },
          total: { type: 'number', minimum: 5 },
        },
      },
    ],
    [
      'sensors',
      {
        required: ['from', 'reading'],
        properties: {
          id: { type: 'string' },
          from: { type: 'string', minLength: 3 },
          reading: { type: 'object', required: ['celsius'], properties: { celsius: { type: 'integer' } } },
          tags: { type: 'array', items: { type: 'string' } },
        },
        additionalProperties: false,
      },
    ],
  ])('with a schema of %s pastes what is printed, and reads the event back, too', async (name, schema) => {
    const file = join(directory.path, `${name}.json`);
    writeFileSync(file, JSON.stringify({ type: 'object', ...schema }));
    const { output } = await start('--schema', file);
    const [send = '', ...readers] = output.stdout
      .split('\n')
      .filter((line) => /^ {2}(curl|node) /.test(line));
    const sent = await runCommand('sh', ['-c', send]);
    expect([send, JSON.parse(sent.stdout)]).toEqual([send, { status: 'ok', partition: 0, offset: 0 }]);
    await rowsReach(1);
    expect(readers).toHaveLength(2);
    for (const command of readers) {
      const read = await runCommand('sh', ['-c', command]);
      expect([command, read.stdout, read.code]).toEqual([
        command,
        expect.stringMatching(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/),
        0,
      ]);
    }
  });

  test('finds /status of both processes ok, and what it promised in /metrics', async () => {
    await start();
    await post(site.collector, [{ event: 'a' }, { event: 'b' }, { nothing: true }]);
    await rowsReach(2);
    for (const url of [site.collector, site.streamer]) {
      for (const path of ['/status', '/livez', '/readyz']) expect((await fetch(url + path)).status).toBe(200);
    }
    const collected = await (await fetch(`${site.collector}/metrics`)).text();
    expect(collected).toContain('millrace_events_accepted_total 2');
    expect(collected).toContain('millrace_events_rejected_total{code="INVALID_EVENT"} 1');
    const streamed = await (await fetch(`${site.streamer}/metrics`)).text();
    expect(streamed).toContain('millrace_rows_inserted_total{partition="0"} 2');
    expect(streamed).toContain('millrace_buffer_up 1');
    expect(streamed, 'freshness counts rows').toContain('millrace_freshness_seconds_count 2');
    await until('a lag of 0', async () => {
      const text = await (await fetch(`${site.streamer}/metrics`)).text();
      return text.includes('millrace_consumer_lag_events{partition="0"} 0');
    });
  });
});

describe('the access log', () => {
  test.skipIf(!existsSync(accessLog))('becomes 10,000 rows whose counts agree with the log', async () => {
    await start();
    const replayed = await runProgram(['replay', accessLog, '--url', site.collector, '--json']);
    expect(replayed.code).toBe(0);
    expect(JSON.parse(replayed.stdout)).toMatchObject({ accepted: 10_000, rejected: 0, unreadable: 0 });
    expect(await rowsReach(10_000)).toEqual({ rows: 10_000, offsets: 10_000 });
    const expected = countLog(accessLog);
    for (const column of ['status', 'browser', 'os'] as const) {
      const sql = `SELECT toString(ifNull(${column}, '')) AS name, count() AS rows FROM events GROUP BY name`;
      const rows = await query<{ name: string; rows: number }>(
        site.clickhouse,
        sql.replace("ifNull(status, '')", 'status'),
      );
      expect(Object.fromEntries(rows.map(({ name, rows: count }) => [name, count]))).toEqual(
        expected[column],
      );
    }
  });

  test.skipIf(!existsSync(accessLog))(
    'every acknowledged event is a row once when start is stopped in mid-replay',
    async () => {
      const first = await start();
      const replay = launchProgram([
        'replay',
        accessLog,
        '--url',
        site.collector,
        '--json',
        '--batch',
        '1',
        '--retry-for',
        '30s',
      ]);
      await until('some events', async () => (await countRows()).rows > 100);
      expect(await first.stop()).toBe(0);
      await sleep(500);
      await start();
      expect(await replay.exited).toBe(0);
      const { accepted } = JSON.parse(replay.output.stdout);
      expect(accepted).toBe(10_000);
      const counts = await rowsReach(accepted);
      expect(counts.rows).toBe(counts.offsets);
      // A post whose answer was cut off may have been stored, and was sent again: never lost, and told apart by its offset.
      expect(counts.rows - accepted).toBeLessThanOrEqual(4);
    },
  );
});

describe('stopping and starting', () => {
  test('a second start goes on where the first stopped', async () => {
    const first = await start();
    expect(await (await post(site.collector, { event: 'one' })).json()).toMatchObject({ offset: 0 });
    expect(await first.stop()).toBe(0);
    await start();
    expect(await (await post(site.collector, { event: 'two' })).json()).toMatchObject({ offset: 1 });
    expect(await rowsReach(2)).toEqual({ rows: 2, offsets: 2 });
  });

  test('kill -9 of everything loses nothing that was acknowledged, and repeats nothing', async () => {
    let acknowledged = 0;
    for (let round = 0; round < 3; round++) {
      const program = await start();
      const until = Date.now() + 1_500;
      while (Date.now() < until) {
        const batch = Array.from({ length: 50 }, (_, i) => ({ event: 'kill', round, i }));
        const answer = await post(site.collector, batch);
        acknowledged += ((await answer.json()) as { accepted: number }).accepted;
      }
      await program.kill();
    }
    await start();
    expect(await rowsReach(acknowledged)).toEqual({ rows: acknowledged, offsets: acknowledged });
  });

  test.runIf(process.platform === 'linux')(
    'the embedded ClickHouse leaves the CPU to the collector',
    async () => {
      const program = await start();
      const priorityOf = async (command: string) => {
        const { stdout } = await runCommand('pgrep', ['-P', String(program.child.pid), '-f', `${command}$`]);
        // A sandbox has the process that it confines as the last of its own.
        const pid = Number(stdout.trim());
        const own = (await childrenOf(pid)).at(-1) ?? pid;
        // Of each thread: new ones inherit it from the one that starts them.
        const { stdout: nice } = await runCommand('ps', ['-L', '-o', 'ni=', '-p', String(own)]);
        return nice.trim().split(/\s+/).map(Number);
      };
      expect(new Set(await priorityOf('collect'))).toEqual(new Set([getPriority()]));
      const own = (await priorityOf('engine/process.js')).filter((nice) => nice >= 0);
      expect(new Set(own)).toEqual(new Set([Math.max(10, getPriority())]));
    },
  );

  test('children end when the supervisor is killed, so that the next start can begin', async () => {
    const first = await start();
    first.child.kill('SIGKILL');
    await first.exited;
    await until('free ports', async () => {
      const program = await start().catch(() => undefined);
      return program !== undefined;
    });
  });

  test('a process that dies is started again, and nothing is lost', async () => {
    const program = await start();
    await post(site.collector, { event: 'before' });
    const { stdout } = await runCommand('pgrep', ['-P', String(program.child.pid), '-f', 'stream$']);
    process.kill(Number(stdout.trim()), 'SIGKILL');
    await post(site.collector, { event: 'after' });
    expect(await rowsReach(2)).toEqual({ rows: 2, offsets: 2 });
    expect(program.output.stderr).toContain("'millrace stream' ended (SIGKILL); starting it again");
  });

  test('a fault of native code ends the process at once, so that it is started again', async () => {
    const program = await start();
    const { stdout } = await runCommand('pgrep', ['-P', String(program.child.pid), '-f', 'collect$']);
    process.kill(Number(stdout.trim()), 'SIGSEGV');
    await until('a restart', async () =>
      program.output.stderr.includes("'millrace collect' ended (SIGSEGV); starting it again"),
    );
    await until('events taken', async () => (await post(site.collector, { event: 'after' })).ok);
  });
});

describe('what is in the way', () => {
  test('a port in use: exit 69, every port named with its option', async () => {
    const taken = [site.collector, site.clickhouse].map((url) =>
      createServer().listen(Number(new URL(url).port), '127.0.0.1'),
    );
    const { code, stderr } = await runProgram(['start', ...site.flags]);
    for (const server of taken) server.close();
    expect(code).toBe(69);
    expect(stderr).toContain(`${new URL(site.collector).host}`);
    expect(stderr).toContain('--listen');
    expect(stderr).toContain('--clickhouse-url');
    expect(stderr).not.toContain('--stream-listen');
  });

  test('a data directory in use: exit 69, the directory and its user named', async () => {
    const program = await start();
    const other = await createSite(directory.path);
    const { code, stderr } = await runProgram(['start', ...other.flags]);
    expect(code).toBe(69);
    expect(stderr).toContain(`${directory.path} is in use by process ${program.child.pid}`);
    expect(stderr).toContain('--data-dir');
  });
});

test('Ctrl-C in the middle of the start leaves no process behind', async () => {
  for (const ms of [300, 700, 1_000]) {
    const program = launchProgram(['start', ...site.flags]);
    running.push(program);
    await sleep(ms);
    program.child.kill('SIGINT');
    await program.exited;
    await until('no process', async () => {
      const { stdout } = await runCommand('pgrep', ['-f', directory.path]);
      const ports = [site.collector, site.streamer, site.clickhouse];
      const answers = await Promise.all(
        ports.map((url) =>
          fetch(url).then(
            () => true,
            () => false,
          ),
        ),
      );
      return stdout === '' && !answers.includes(true);
    });
  }
  await start();
});

test('the streamer answers any path', async () => {
  await start();
  for (const path of ['//', '/%', '/status?x=//'])
    expect((await fetch(site.streamer + path)).status).toBeLessThan(500);
});

test('a path that the schema no longer names is still typed in the table: what does not fit is a dead letter', async () => {
  const file = join(directory.path, 'schema.json');
  const first = await start();
  expect(await first.stop()).toBe(0);
  writeFileSync(
    file,
    JSON.stringify({
      type: 'object',
      required: ['event'],
      properties: { event: { type: 'string', column: 'LowCardinality(String)' } },
    }),
  );
  await start('--schema', file);
  await post(site.collector, [{ event: 'poison', status: 'abc' }, { event: 'good' }]);
  await until('the good row', async () => (await countRows()).rows === 1);
  expect(await query(site.clickhouse, 'SELECT offset FROM dead_letters')).toEqual([{ offset: 0 }]);
});

test('events that ClickHouse cannot read become dead letters with their reason, and nothing waits for them', async () => {
  await start('--schema', narrowSchema);
  const bodies = [
    '{"event":"good"}',
    '{"event":"large","narrow":256}',
    '{"event":"text","narrow":"abc"}',
    '{"event":"also good"}',
  ];
  expect((await post(site.collector, `[${bodies.join(',')}]`)).status).toBe(200);
  await rowsReach(2);
  const letters = await query<{ offset: number; raw: string; reason: string }>(
    site.clickhouse,
    'SELECT offset, raw, reason FROM dead_letters ORDER BY offset',
  );
  expect(letters.map(({ offset, raw }) => [offset, raw])).toEqual([
    [1, bodies[1]],
    [2, bodies[2]],
  ]);
  expect(letters[1]?.reason).toContain('UInt8');
  expect(await query(site.clickhouse, 'SELECT offset, event FROM events ORDER BY offset')).toEqual([
    { offset: 0, event: 'good' },
    { offset: 3, event: 'also good' },
  ]);
});

test('a query that comes while the embedded ClickHouse starts is answered or refused, and not left waiting', async () => {
  const flags = ['clickhouse', '--data-dir', directory.path, '--clickhouse-url', site.clickhouse];
  const first = await startProgram([...flags, '--no-clickhouse-auth']);
  await first.kill();
  const second = launchProgram([...flags, '--no-clickhouse-auth']);
  running.push(second);
  const asked: Promise<string>[] = [];
  let isAnswered = false;
  while (!isAnswered) {
    const answer = fetch(`${site.clickhouse}/ping`, { signal: AbortSignal.timeout(30_000) });
    asked.push(
      answer.then(
        ({ status }) => {
          isAnswered = true;
          return String(status);
        },
        (error: Error) => (error.name === 'TimeoutError' ? 'left waiting' : 'refused'),
      ),
    );
    await sleep(10);
  }
  expect(new Set(await Promise.all(asked))).toEqual(new Set(['refused', '200']));
});
