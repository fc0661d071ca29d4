/** A hostile producer on the topic: what it writes is bounded and named, and what others wrote is delivered. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { compressionsAlgorithms } from '@platformatic/kafka';
import { compressSync } from 'snappy';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { codecs } from '../../src/buffer/kafka/record-batch.ts';
import { forgeBatch, forgeRecord } from '../support/forged-batches.ts';
import {
  createSite,
  freePorts,
  type Program,
  post,
  query,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';
import { produceRaw } from '../support/raw-produce.ts';

const brokers = inject('kafkaBrokers') ?? '';
/** As much as 300 kB of gzip hold. */
const hugeBytes = 300 * 1024 ** 2;

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

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
  topic = `events-${randomUUID()}`;
  kafka = ['--buffer', 'kafka', '--kafka-brokers', brokers, '--kafka-topic', topic];
});

afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  directory.remove();
});

/** Most memory that a process ever had, bytes. */
function peakOf({ child }: Program): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

interface Letter {
  readonly offset: number;
  readonly code: number;
  readonly reason: string;
}

describe.skipIf(brokers === '' || process.platform !== 'linux')('a hostile producer', () => {
  test('of batches that decompress to 300 MB: dead letters by name, little memory, everything else is a row', async () => {
    const [port] = (await freePorts(1)) as [number];
    await start(['clickhouse', '--data-dir', directory.path, '--clickhouse-url', site.clickhouse]);
    await start(['collect', '--listen', new URL(site.collector).host, ...kafka, '--kafka-partitions', '1']);
    const postOne = async (n: number) =>
      expect((await post(site.collector, { event: 'good', n })).status).toBe(200);
    await until(
      'the topic is there',
      async () => (await post(site.collector, { event: 'good', n: 0 })).status === 200,
    );
    const value = Buffer.alloc(hugeBytes, '{"event":"a"}');
    const records = Buffer.concat([
      forgeRecord({ offsetDelta: 0, value: value.subarray(0, 100) }),
      forgeRecord({ offsetDelta: 1, value }),
    ]);
    const codecsUsed = [
      [codecs.gzip, gzipSync(records)],
      [
        codecs.lz4,
        Buffer.from(compressionsAlgorithms.lz4.compressSync(records.subarray(0, 200 * 1024 ** 2))),
      ],
      [codecs.snappy, Buffer.from(compressSync(records.subarray(0, 20 * 1024 ** 2)))],
    ] as const;
    const refused: number[] = [];
    let letters = 0;
    for (const [codec, compressed] of codecsUsed) {
      await produceRaw(brokers, {
        topic,
        partition: 0,
        batch: forgeBatch({ codec, records: compressed, count: 2 }),
      }).then(
        () => (letters += 2),
        () => refused.push(codec),
      );
      await postOne(letters);
    }
    expect(refused).not.toContain(codecs.gzip);

    const clickhouse = ['--data-dir', directory.path, '--clickhouse-url', site.clickhouse];
    const flags = [...clickhouse, '--kafka-group', topic, ...kafka];
    const streamer = await start(['stream', '--stream-listen', `127.0.0.1:${port}`, ...flags]);
    const rows = await until('all is delivered', async () => {
      const found = await query<{ n: number }>(site.clickhouse, 'SELECT count() AS n FROM events');
      return Number(found[0]?.n) === 1 + codecsUsed.length && found;
    });
    expect(rows).toHaveLength(1);
    const found = await query<Letter>(
      site.clickhouse,
      'SELECT offset, code, reason FROM dead_letters ORDER BY offset',
    );
    expect(found).toHaveLength(letters);
    for (const letter of found.slice(0, 2)) {
      expect(letter).toMatchObject({
        code: 0,
        reason: expect.stringMatching(/^BATCH_TOO_LARGE: .*offsets 1 to 2/),
      });
    }
    expect(peakOf(streamer)).toBeLessThan(600 * 1024 ** 2);
    expect(streamer.output.stderr).toContain('cannot be read');

    const verified = await runProgram(['verify', ...flags, '--json']);
    expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'ok' });
    expect(await streamer.stop()).toBe(0);

    // From the beginning again, as after a lost commit: nothing is stored twice.
    const again = [...flags.map((flag, i) => (flags[i - 1] === '--kafka-group' ? `${topic}-2` : flag))];
    const second = await start(['stream', '--stream-listen', `127.0.0.1:${port}`, ...again]);
    await until('the second has read all', async () => {
      const response = await fetch(`http://127.0.0.1:${port}/status`);
      const { partitions } = (await response.json()) as { partitions: { lag: number }[] };
      return partitions.length === 1 && partitions[0]?.lag === 0;
    });
    const counts = await query<{ events: number; letters: number }>(
      site.clickhouse,
      'SELECT (SELECT count() FROM events) AS events, (SELECT count() FROM dead_letters) AS letters',
    );
    expect(counts.map(({ events, letters: n }) => [Number(events), Number(n)])).toEqual([
      [1 + codecsUsed.length, letters],
    ]);
    expect(peakOf(second)).toBeLessThan(600 * 1024 ** 2);
    const replayed = await runProgram(['dead-letters', 'replay', ...clickhouse]);
    expect(replayed.stdout).toMatch(new RegExp(`^replayed 0\nstill refused ${letters}\n`));
  });
});
