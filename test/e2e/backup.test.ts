/** What docs/operations.md says of backups: tables from a backup, and what came after it once more from the buffer. */
import { randomUUID } from 'node:crypto';
import { Kafka, logLevel } from 'kafkajs';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import {
  createSite,
  type Program,
  post,
  query,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

const brokers = inject('kafkaBrokers');
const tables = 'TABLE default.events, TABLE default.dead_letters, TABLE default.repeats';

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
const running: Program[] = [];

async function start(args: readonly string[]): Promise<Program> {
  const program = await startProgram(args);
  running.push(program);
  return program;
}

/** Posts events `from` to `to`, and waits until they are rows. */
async function deliver(from: number, to: number): Promise<void> {
  await until('it takes events', async () => (await fetch(`${site.collector}/readyz`)).ok);
  const batch = Array.from({ length: to - from }, (_, i) => ({ event: 'a', n: from + i }));
  expect((await post(site.collector, batch)).status).toBe(200);
  await until(`${to} rows`, async () => (await countRows()).rows >= to);
}

async function countRows(): Promise<{ rows: number; events: number }> {
  const sql = 'SELECT count() AS rows, uniqExact(toString(data.n)) AS events FROM events';
  const [counts] = await query<{ rows: number; events: number }>(site.clickhouse, sql);
  return counts ?? { rows: 0, events: 0 };
}

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
});

afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  directory.remove();
});

describe('the embedded ClickHouse', () => {
  test('backs its tables up into the data directory, the second time only what is new, and takes them back', async () => {
    await start(['start', ...site.flags]);
    await deliver(0, 1_000);
    await query(site.clickhouse, `BACKUP ${tables} TO Disk('backups', 'first')`);
    await deliver(1_000, 1_500);
    await query(
      site.clickhouse,
      `BACKUP ${tables} TO Disk('backups', 'second') SETTINGS base_backup = Disk('backups', 'first')`,
    );
    await query(
      site.clickhouse,
      `RESTORE TABLE default.events AS default.restored FROM Disk('backups', 'second')`,
    );
    expect(
      await query(site.clickhouse, 'SELECT count() AS rows, max(data.n::UInt32) AS last FROM restored'),
    ).toEqual([{ rows: 1_500, last: 1_499 }]);
    const elsewhere = query(site.clickhouse, `BACKUP ${tables} TO File('/tmp/elsewhere')`);
    await expect(elsewhere).rejects.toThrow(/ACCESS_DENIED/);
  });
});

describe.skipIf(brokers === undefined)('a ClickHouse that comes back from a backup', () => {
  test('gets what came after it from Kafka, each event once, when the offsets are set back', async () => {
    const topic = `events-${randomUUID()}`;
    const kafka = ['--buffer', 'kafka', '--kafka-brokers', brokers ?? '', '--kafka-topic', topic];
    const clickhouse = ['--data-dir', directory.path, '--clickhouse-url', site.clickhouse];
    const flags = [...clickhouse, ...kafka, '--kafka-group', topic];
    await start(['clickhouse', ...clickhouse]);
    const stream = ['stream', '--stream-listen', new URL(site.streamer).host, ...flags];
    const streamer = await start(stream);
    await start(['collect', '--listen', new URL(site.collector).host, ...kafka]);
    const beforeFirst = Date.now();
    await deliver(0, 700);
    await query(site.clickhouse, `BACKUP ${tables} TO Disk('backups', 'nightly')`);
    await deliver(700, 1_000);

    await streamer.stop();
    for (const table of ['events', 'dead_letters', 'repeats']) {
      await query(site.clickhouse, `DROP TABLE ${table} SYNC`);
    }
    await query(site.clickhouse, `RESTORE ${tables} FROM Disk('backups', 'nightly')`);
    expect(await countRows()).toEqual({ rows: 700, events: 700 });
    await setOffsetsBack(topic, beforeFirst);
    await start(stream);
    await until('1000 rows', async () => (await countRows()).rows >= 1_000);
    expect(await countRows()).toEqual({ rows: 1_000, events: 1_000 });
    const verified = await runProgram(['verify', ...flags, '--all', '--wait', '30s']);
    expect(verified.stdout).toMatch(/No loss, no duplicates/);
    expect(verified.code).toBe(0);
  }, 300_000);
});

/** As `kafka-consumer-groups.sh --reset-offsets --to-datetime` does. */
async function setOffsetsBack(topic: string, time: number): Promise<void> {
  const admin = new Kafka({ brokers: (brokers ?? '').split(','), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const partitions = await admin.fetchTopicOffsetsByTimestamp(topic, time);
  await admin.setOffsets({ groupId: topic, topic, partitions });
  await admin.disconnect();
}
