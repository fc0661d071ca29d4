/** A spool against a real Kafka that goes away, loses answers, or outlives whoever drains. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { BufferFullError, type ResumableWriter } from '../../src/buffer/buffer.ts';
import { openKafkaWriter } from '../../src/buffer/kafka/writer.ts';
import { EventBatch, partitionOf } from '../../src/buffer/records.ts';
import { Batcher } from '../../src/collector/batcher.ts';
import type { Waiter } from '../../src/collector/open-batch.ts';
import { spoolEventId } from '../../src/spool/chunk.ts';
import { type DurableSpool, openSpool } from '../../src/spool/spool.ts';
import type { StoredRecord } from '../support/buffer-reading.ts';
import { type FaultyKafka, readAll, startFaultyKafka } from '../support/kafka-faults.ts';
import { createKafkaTopic, testLog, waitUntil } from '../support/kafka-fixture.ts';
import { temporaryDirectory } from '../support/program.ts';
import { mountSmallDisk } from '../support/small-disk.ts';
import { apiKeys, type Fate } from '../support/tcp-proxy.ts';

const partitions = 3;
/** Recent: the topic removes what is older than its retention. */
const receivedFrom = Date.now() - 60_000;
const drainer = fileURLToPath(new URL('../support/spool-drainer.mjs', import.meta.url));

describe.skipIf(inject('kafkaBrokers') === undefined)('spool', () => {
  let kafka: FaultyKafka;
  let broker: { host: string; port: number };
  let topic: Awaited<ReturnType<typeof createKafkaTopic>>;
  let directory: ReturnType<typeof temporaryDirectory>;
  let writer: ResumableWriter;
  let spool: DurableSpool;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    kafka = await startFaultyKafka();
    broker = kafka.proxy.target;
  });
  afterAll(() => kafka.stop());
  beforeEach(async () => {
    topic = await createKafkaTopic(kafka.brokers, partitions);
    directory = temporaryDirectory();
    await open();
  });
  afterEach(async () => {
    bringBack();
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await close();
    directory.remove();
  });

  async function open(maxBytes = 1024 ** 3, dir = directory.path): Promise<void> {
    writer = openKafkaWriter({
      ...{ brokers: [kafka.brokers], topic: topic.topic, clientId: 'spool', log: testLog },
      ...{ compression: 'snappy', deliveryTimeoutMs: 5_000 },
    });
    spool = await openSpool({ dir, maxBytes, writer, takesEvents: true, log: testLog });
  }

  async function close(): Promise<void> {
    await spool.close();
    await writer.close();
  }

  async function takeAway(): Promise<void> {
    kafka.proxy.target = { host: '127.0.0.1', port: 1 };
    kafka.proxy.cutAll();
    await waitUntil(() => !writer.state().ok, 10_000);
  }

  function bringBack(): void {
    kafka.proxy.decide = () => 'pass';
    kafka.proxy.target = broker;
  }

  const isDrained = () => waitUntil(() => !spool.isOpen(), 60_000);

  /** Spools `count` events of about `bytes` bytes; every third has an id. Gives the number of events before. */
  async function fill(count: number, bytes = 1_000): Promise<void> {
    for (let from = 0; from < count; from += 100) {
      const batch = new EventBatch();
      for (let i = from; i < Math.min(from + 100, count); i++) {
        const value = Buffer.from(JSON.stringify({ event: 'a', i, filler: 'x'.repeat(bytes) }));
        batch.add(value, receivedFrom + i, i % 3 === 0 ? [['id', `client-${i}`]] : undefined);
      }
      expect(await spool.append(batch)).toBe(from);
    }
  }

  /** Each event is in Kafka exactly once, with its time and an id, in its partition, in order. */
  async function expectExactlyOnce(count: number): Promise<void> {
    const stored = await readAll(topic, partitions);
    const seen = new Set<number>();
    for (const [partition, records] of stored.entries()) {
      let before = -1;
      for (const record of records) {
        const i = numberOf(record);
        expect(i).toBeGreaterThan(before);
        before = i;
        seen.add(i);
        const id = i % 3 === 0 ? `client-${i}` : spoolEventId(spool.id, i);
        expect(record.headers).toEqual([['id', id]]);
        expect(record.receivedAt).toBe(receivedFrom + i);
        if (i % 3 === 0) expect(partition).toBe(partitionOf(id, partitions));
      }
    }
    expect(stored.flat()).toHaveLength(count);
    expect(seen.size).toBe(count);
  }

  async function startDrainer(clientId: string): Promise<ChildProcess> {
    const options = { dir: directory.path, topic: topic.topic, brokers: kafka.brokers, clientId };
    const child = fork(drainer, [JSON.stringify(options)]);
    children.push(child);
    await once(child, 'message');
    return child;
  }

  test('takes events while Kafka is away, and delivers them by itself when it is back', async () => {
    await waitUntil(() => writer.state().ok, 30_000);
    expect(spool.isOpen()).toBe(false);
    await takeAway();
    expect(spool.isOpen()).toBe(true);
    await fill(2_500);
    expect(spool.figures()).toMatchObject({ events: 2_500, oldestMs: expect.any(Number) });
    expect(spool.state()).toEqual({ ok: true });
    bringBack();
    await isDrained();
    expect(spool.counts()).toEqual({ spooled: 2_500, drained: 2_500, unsure: 0 });
    expect(spool.figures()).toEqual({ events: 0, bytes: 0, oldestMs: undefined });
    await expectExactlyOnce(2_500);
  });

  test('what an earlier run left is delivered by the next one', async () => {
    await takeAway();
    await fill(300);
    await close();
    await open();
    expect(spool.isOpen()).toBe(true);
    bringBack();
    await isDrained();
    await expectExactlyOnce(300);
  });

  test('events that come in while it drains go behind the ones that wait', async () => {
    await takeAway();
    const halves = 1_000;
    await fill(halves);
    bringBack();
    let next = halves;
    while (spool.isOpen() && next < halves + 3_000) {
      const batch = new EventBatch();
      for (let i = next; i < next + 10; i++) {
        const id: [string, string][] | undefined = i % 3 === 0 ? [['id', `client-${i}`]] : undefined;
        batch.add(Buffer.from(JSON.stringify({ event: 'a', i })), receivedFrom + i, id);
      }
      expect(await spool.append(batch)).toBe(next);
      next += 10;
    }
    expect(next).toBeGreaterThan(halves);
    await isDrained();
    await expectExactlyOnce(next);
  });

  test('under a load that never pauses it is drained and left, and the order is kept', async () => {
    await takeAway();
    const observer = { appended: () => {}, appendFailed: () => {} };
    const batcher = new Batcher(writer, { maxBytes: 512 * 1024, maxEvents: 10_000 }, { observer, spool });
    const told = { stored: 0, spooled: 0, failed: 0 };
    const waiter: Waiter = {
      added: 0,
      stored: (_partition, _offset, { count }) => (told.stored += count),
      spooled: (_spool, _offset, { count }) => (told.spooled += count),
      failed: (_error, { count }) => (told.failed += count),
    };
    const load = setInterval(() => {
      for (let n = 0; n < 10; n++) {
        const i = waiter.added;
        const value = Buffer.from(JSON.stringify({ event: 'a', i, filler: 'x'.repeat(200) }));
        batcher.add(value, receivedFrom + i, waiter, [['id', `client-${i}`]]);
      }
    }, 1);
    try {
      await waitUntil(() => told.spooled > 3_000, 30_000);
      bringBack();
      await waitUntil(() => told.stored > 1_000, 30_000);
    } finally {
      clearInterval(load);
      await batcher.drain();
    }
    await isDrained();
    expect(told.failed).toBe(0);
    const stored = await readAll(topic, partitions);
    for (const records of stored) {
      const numbers = records.map(numberOf);
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
    const all = stored.flat().map(numberOf);
    expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: waiter.added }, (_, i) => i));
  });

  test('lost answers, lost requests and a hanging broker in mid-drain repeat nothing', async () => {
    await takeAway();
    await fill(12_000);
    bringBack();
    const fates: Fate[] = ['lose-answer', 'lose-answer', 'lose-request', 'pass'];
    let produced = 0;
    kafka.proxy.decide = ({ apiKey }) => {
      if (apiKey !== apiKeys.produce) return 'pass';
      produced++;
      if (produced > 24) return 'pass';
      return produced === 5 ? 'stall' : (fates[produced % fates.length] ?? 'pass');
    };
    await isDrained();
    expect(kafka.proxy.counts['lose-answer']).toBeGreaterThan(5);
    expect(spool.counts()).toMatchObject({ drained: 12_000, unsure: 0 });
    await expectExactlyOnce(12_000);
  });

  test('a broker killed in mid-drain and started again repeats nothing', async () => {
    await takeAway();
    await fill(12_000);
    bringBack();
    let produced = 0;
    kafka.proxy.decide = ({ apiKey }) => {
      if (apiKey === apiKeys.produce && ++produced === 4) void kafka.broker.kill();
      return 'pass';
    };
    await waitUntil(() => produced >= 4, 30_000);
    await waitUntil(() => !writer.state().ok, 30_000);
    expect(spool.isOpen()).toBe(true);
    await kafka.broker.restart();
    await isDrained();
    await expectExactlyOnce(12_000);
  });

  test('kill -9 of whoever drains, round after round, repeats nothing and loses nothing', async () => {
    await takeAway();
    const count = 20_000;
    await fill(count);
    await close();
    bringBack();
    for (let round = 0; round < 6; round++) {
      const clientId = `drainer-${round}`;
      const child = await startDrainer(clientId);
      let produced = 0;
      kafka.proxy.decide = (request) => {
        // It dies as the broker gets the request: before the answer, before the end is committed.
        if (request.apiKey !== apiKeys.produce || request.clientId !== clientId) return 'pass';
        if (++produced === 1 + round) child.kill('SIGKILL');
        return 'pass';
      };
      await once(child, 'exit');
      expect(produced).toBeGreaterThan(round);
    }
    await open();
    expect(spool.isOpen()).toBe(true);
    await isDrained();
    expect(spool.counts().unsure).toBe(0);
    await expectExactlyOnce(count);
  });

  test('one of two processes drains; when it hangs the other takes over, and it does no harm when it wakes up', async () => {
    await takeAway();
    const count = 20_000;
    await fill(count);
    await close();
    bringBack();
    const sleeper = await startDrainer('sleeper');
    let produced = 0;
    let byOther = 0;
    kafka.proxy.decide = ({ apiKey, clientId }) => {
      if (apiKey !== apiKeys.produce) return 'pass';
      if (clientId === 'sleeper' && ++produced === 4) sleeper.kill('SIGSTOP');
      if (clientId !== 'sleeper') byOther++;
      return 'pass';
    };
    await waitUntil(() => produced >= 4, 30_000);
    await open();
    await waitUntil(() => byOther > 3, 30_000);
    sleeper.kill('SIGCONT');
    await isDrained();
    await expectExactlyOnce(count);
  });

  test('is full when it is full, says so, and takes events again when Kafka is back', async () => {
    await close();
    await open(2 * 1024 ** 2);
    await takeAway();
    const batch = new EventBatch();
    for (let i = 0; i < 100; i++) batch.add(Buffer.alloc(1_000, 'x'), Date.now());
    let stored = 0;
    await expect(
      (async () => {
        for (; ; stored += 100) await spool.append(batch);
      })(),
    ).rejects.toThrow(BufferFullError);
    expect(stored).toBeGreaterThan(1_000);
    const state = spool.state();
    expect(state.ok ? '' : state.detail).toContain('--spool-max-bytes');
    bringBack();
    await isDrained();
    await waitUntil(() => spool.state().ok, 10_000);
    expect(await spool.append(batch)).toBe(stored);
    await isDrained();
    expect((await readAll(topic, partitions)).flat()).toHaveLength(stored + 100);
  });

  test('on a full disk it refuses, keeps what it acknowledged, and drains all the same', async (context) => {
    const disk = mountSmallDisk(8);
    if (disk === undefined) return context.skip('a tmpfs cannot be mounted here');
    await close();
    await open(1024 ** 3, disk.path);
    await takeAway();
    await fill(1_000);
    disk.fill();
    const batch = new EventBatch();
    for (let i = 0; i < 100; i++) batch.add(Buffer.alloc(10_000, 'x'), Date.now());
    await expect(spool.append(batch)).rejects.toThrow(/disk space/);
    expect(spool.state().ok).toBe(false);
    bringBack();
    await isDrained();
    await expectExactlyOnce(1_000);
    disk.free();
    await waitUntil(() => spool.state().ok, 10_000);
    expect(await spool.append(batch)).toBe(1_000);
    await close();
    disk.remove();
    await open();
  });
});

function numberOf(record: StoredRecord): number {
  return (JSON.parse(record.value.toString()) as { i: number }).i;
}
