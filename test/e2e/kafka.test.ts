import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { countLog } from '../support/access-log-counts.ts';
import {
  accessLog,
  createSite,
  freePorts,
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

const brokers = inject('kafkaBrokers');
const hasKcat = (await runCommand('kcat', ['-V'])).code === 0;

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
let kafka: string[];
let topic: string;
const running: Program[] = [];

async function start(args: readonly string[]): Promise<Program> {
  const program = await startProgram(args);
  running.push(program);
  return program;
}

const rowsReach = (rows: number) =>
  until(`${rows} rows`, async () => {
    const sql = 'SELECT count() AS rows, uniqExact(partition, offset) AS offsets FROM events';
    const [counts] = await query<{ rows: number; offsets: number }>(site.clickhouse, sql);
    return counts !== undefined && counts.rows >= rows && counts;
  });

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
  topic = `events-${randomUUID()}`;
  kafka = ['--buffer', 'kafka', '--kafka-brokers', brokers ?? '', '--kafka-topic', topic];
});

afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  directory.remove();
});

describe.skipIf(brokers === undefined)('through Kafka', () => {
  test.skipIf(!existsSync(accessLog))(
    'the access log becomes 10,000 rows that agree with it, and plain JSON in the topic',
    async () => {
      await start(['start', ...site.flags, ...kafka, '--kafka-group', topic]);
      const replayed = await runProgram(['replay', accessLog, '--url', site.collector, '--json']);
      expect(JSON.parse(replayed.stdout)).toMatchObject({ accepted: 10_000, rejected: 0 });
      expect(await rowsReach(10_000)).toEqual({ rows: 10_000, offsets: 10_000 });
      const expected = countLog(accessLog);
      for (const column of ['browser', 'os'] as const) {
        const rows = await query<{ name: string; rows: number }>(
          site.clickhouse,
          `SELECT ${column} AS name, count() AS rows FROM events GROUP BY name`,
        );
        expect(Object.fromEntries(rows.map(({ name, rows: count }) => [name, count]))).toEqual(
          expected[column],
        );
      }
      if (!hasKcat) return console.warn('kcat is not installed: the topic was not read by another client');
      const { stdout } = await runCommand('kcat', ['-b', brokers ?? '', '-C', '-t', topic, '-e', '-q']);
      const events = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(events).toHaveLength(10_000);
      const statuses: Record<string, number> = {};
      for (const { status } of events) statuses[status] = (statuses[status] ?? 0) + 1;
      expect(statuses).toEqual(expected.status);
    },
  );

  test('two streamers share the partitions; when one is killed the other takes over, and each event is one row', async () => {
    const [first, second] = (await freePorts(2)) as [number, number];
    await start(['clickhouse', '--data-dir', directory.path, '--clickhouse-url', site.clickhouse]);
    await start(['collect', '--listen', new URL(site.collector).host, ...kafka]);
    const group = [
      '--data-dir',
      directory.path,
      '--clickhouse-url',
      site.clickhouse,
      '--kafka-group',
      topic,
      '--kafka-session-timeout',
      '6s',
      ...kafka,
    ];
    await start(['stream', '--stream-listen', `127.0.0.1:${first}`, ...group]);
    const victim = await start(['stream', '--stream-listen', `127.0.0.1:${second}`, ...group]);
    await until('both own partitions', async () => {
      const owned = await Promise.all([first, second].map(partitionsOf));
      return owned.every((count) => count === 2);
    });
    let sent = 0;
    const deadline = Date.now() + 4_000;
    while (Date.now() < deadline) {
      const response = await post(
        site.collector,
        Array.from({ length: 20 }, (_, i) => ({ event: 'a', i })),
      );
      sent += ((await response.json()) as { accepted: number }).accepted;
      if (Date.now() > deadline - 2_000 && victim.child.exitCode === null) victim.child.kill('SIGKILL');
    }
    await until('the first owns all', async () => (await partitionsOf(first)) === 4);
    expect(await rowsReach(sent)).toEqual({ rows: sent, offsets: sent });
  });

  test('check names what is missing and makes it when told to', async () => {
    const clickhouse = ['--data-dir', directory.path, '--clickhouse-url', site.clickhouse];
    const database = ['--clickhouse-database', 'analytics'];
    await start(['clickhouse', ...clickhouse, ...database]);
    const flags = [...clickhouse, ...database, ...kafka];
    const before = await runProgram(['check', ...flags]);
    expect(before.code).toBe(0);
    for (const what of [
      `topic ${topic}`,
      'create database analytics',
      'create table events',
      'create table dead_letters',
    ]) {
      expect(before.stdout).toMatch(new RegExp(`^todo .*${what}`, 'm'));
    }
    const made = await runProgram(['check', ...flags, '--create', '--kafka-partitions', '3']);
    expect(made.code).toBe(0);
    expect(made.stdout).toContain('with 3 partitions');
    const after = await runProgram(['check', ...flags]);
    expect(after.stdout).not.toContain('todo');
    expect(after.stdout).toContain('has 3 partitions');
  });
});

describe('without Kafka', () => {
  test('check names every dependency that is away and the setting that points at it: exit 69', async () => {
    const [kafkaPort] = await freePorts(1);
    const { code, stdout } = await runProgram([
      'check',
      ...[
        '--buffer',
        'kafka',
        '--kafka-brokers',
        `127.0.0.1:${kafkaPort}`,
        '--clickhouse-url',
        site.clickhouse,
      ],
    ]);
    expect(code).toBe(69);
    expect(stdout).toMatch(/^FAULT .*--kafka-brokers/m);
    expect(stdout).toMatch(/^FAULT .*--clickhouse-url/m);
  });

  test('the collector starts, says what it waits for, and answers 503 with Retry-After', async () => {
    const [kafkaPort] = await freePorts(1);
    const flags = [
      '--buffer',
      'kafka',
      '--kafka-brokers',
      `127.0.0.1:${kafkaPort}`,
      '--listen',
      new URL(site.collector).host,
    ];
    const collector = await start(['collect', ...flags]);
    const refused = await post(site.collector, { event: 'a' });
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(((await refused.json()) as { detail: string }).detail).toContain('--kafka-brokers');
    expect((await fetch(`${site.collector}/livez`)).status).toBe(200);
    expect((await fetch(`${site.collector}/readyz`)).status).toBe(503);
    expect((await fetch(`${site.collector}/status`)).status).toBe(503);
    expect(collector.output.stderr).toContain(String(kafkaPort));
    expect(await collector.stop()).toBe(0);
  });
});

async function partitionsOf(port: number): Promise<number> {
  const status = (await (await fetch(`http://127.0.0.1:${port}/status`)).json()) as { partitions: unknown[] };
  return status.partitions.length;
}
