/** What must never happen to an append, whatever happens on the way: loss after success, and a repeat. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import {
  BufferUnavailableError,
  type BufferWriter,
  OutcomeUnknownError,
  RecordsRefusedError,
} from '../../src/buffer/buffer.ts';
import { ensureTopic } from '../../src/buffer/kafka/topics.ts';
import { openKafkaWriter } from '../../src/buffer/kafka/writer.ts';
import { createRandom } from '../support/faults/random.ts';
import { batchOf, type FaultyKafka, loseLeader, readAll, startFaultyKafka } from '../support/kafka-faults.ts';
import {
  createKafkaTopic,
  removeTopic,
  testLog,
  waitForRemoval,
  waitUntil,
} from '../support/kafka-fixture.ts';
import { apiKeys, type Fate } from '../support/tcp-proxy.ts';

const partitions = 3;
const seed = Number(process.env.TEST_SEED);

/** An append that succeeded. */
interface Receipt {
  partition: number;
  base: number;
  values: string[];
}

describe.skipIf(inject('kafkaBrokers') === undefined)('kafka writer under faults', () => {
  let kafka: FaultyKafka;
  let topic: Awaited<ReturnType<typeof createKafkaTopic>>;
  let writer: BufferWriter;

  beforeAll(async () => {
    kafka = await startFaultyKafka();
  });
  afterAll(() => kafka.stop());
  beforeEach(async () => {
    topic = await createKafkaTopic(kafka.brokers, partitions);
    writer = await topic.openWriter();
  });
  afterEach(async () => {
    kafka.proxy.decide = () => 'pass';
    await writer.close();
  });

  /** Appends to all partitions at once until told to stop. */
  function load(prefix: string) {
    const receipts: Receipt[] = [];
    const failed: string[] = [];
    let isStopping = false;
    const loops = Array.from({ length: partitions }, async (_, partition) => {
      for (let round = 0; !isStopping; round++) {
        const values = Array.from(
          { length: 1 + (round % 20) },
          (_, i) => `${prefix}-${partition}-${round}-${i}`,
        );
        try {
          receipts.push({ partition, base: await writer.append(partition, batchOf(values)), values });
        } catch (error) {
          expect(error).toBeInstanceOf(BufferUnavailableError);
          failed.push(...values);
        }
        await sleep(2);
      }
    });
    return {
      receipts,
      failed,
      async stop() {
        isStopping = true;
        await Promise.all(loops);
      },
    };
  }

  /** Each acknowledged value is at its offset, none is there twice, and nothing is there that nobody wrote. */
  async function expectExactlyOnce(receipts: readonly Receipt[], failed: readonly string[]): Promise<void> {
    const stored = await readAll(topic, partitions);
    for (const { partition, base, values } of receipts) {
      const found = values.map((_, i) => stored[partition]?.[base + i]?.value.toString());
      expect(found).toEqual(values);
    }
    const all = stored.flat().map((record) => record.value.toString());
    expect(new Set(all).size).toBe(all.length);
    const known = new Set([...receipts.flatMap(({ values }) => values), ...failed]);
    expect(all.filter((value) => !known.has(value))).toEqual([]);
  }

  /** Lets the first `times` produce requests meet this fate. */
  function loseProduces(fate: Fate, times = 1): void {
    let left = times;
    kafka.proxy.decide = ({ apiKey }) => (apiKey === apiKeys.produce && left-- > 0 ? fate : 'pass');
  }

  test('a lost answer gives no second record, and the receipt of the first', async () => {
    await writer.append(0, batchOf(['a']));
    loseProduces('lose-answer', 3);
    expect(await writer.append(0, batchOf(['b', 'c']))).toBe(1);
    expect(kafka.proxy.counts['lose-answer']).toBeGreaterThanOrEqual(3);
    expect(await writer.append(0, batchOf(['d']))).toBe(3);
    const [records] = await readAll(topic, 1);
    expect(records?.map((record) => record.value.toString())).toEqual(['a', 'b', 'c', 'd']);
  });

  test('the very first batch of a producer survives a lost answer, too', async () => {
    loseProduces('lose-answer');
    expect(await writer.append(1, batchOf(['a', 'b']))).toBe(0);
    expect((await readAll(topic, partitions))[1]).toHaveLength(2);
  });

  test('a lost request is sent again', async () => {
    loseProduces('lose-request', 2);
    expect(await writer.append(0, batchOf(['a']))).toBe(0);
    expect(await writer.append(0, batchOf(['b']))).toBe(1);
  });

  test('an outcome that stays unknown rejects in time, and costs the next batch nothing', async () => {
    await writer.close();
    writer = await topic.openWriter({ deliveryTimeoutMs: 1500 });
    await writer.append(0, batchOf(['a']));
    loseProduces('lose-answer', Number.MAX_SAFE_INTEGER);
    const before = performance.now();
    await expect(writer.append(0, batchOf(['b', 'c']))).rejects.toThrow(
      /it is not known whether it was stored/,
    );
    expect(performance.now() - before).toBeLessThan(2500);
    kafka.proxy.decide = () => 'pass';
    // A client that kept its numbers would have this one taken for the repeat of b and c, and lose it.
    const base = await writer.append(0, batchOf(['d', 'e']));
    const [records] = await readAll(topic, 1);
    expect(base).toBe(3);
    expect(records?.map((record) => record.value.toString())).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test.each([
    ['append, then NOT_LEADER', 'NOT_LEADER_OR_FOLLOWER', 6],
    ['append, then NOT_LEADER', 'UNKNOWN_TOPIC_OR_PARTITION', 3],
    ['append, then NOT_LEADER', 'KAFKA_STORAGE_ERROR', 56],
    ['leader away past the delivery time-out', 'nothing', 0],
  ] as const)('%s (%s): unknown whether it is stored, and what comes next is', async (fate, _name, code) => {
    await writer.close();
    writer = await topic.openWriter({ deliveryTimeoutMs: 1500 });
    await writer.append(0, batchOf(['a']));
    loseLeader(kafka, { topic: topic.topic, fate, code });
    await expect(writer.append(0, batchOf(['b']))).rejects.toThrow(OutcomeUnknownError);
    kafka.proxy.decide = () => 'pass';
    // As many records as before: under the same numbers they would get the offset of b, and be nowhere.
    expect(await writer.append(0, batchOf(['c']))).toBe(2);
    await expectExactlyOnce([{ partition: 0, base: 2, values: ['c'] }], ['a', 'b']);
  });

  test('a broker that hangs does not hold an append for longer than its time', async () => {
    await writer.close();
    writer = await topic.openWriter({ deliveryTimeoutMs: 2000 });
    await writer.append(0, batchOf(['a']));
    loseProduces('stall', 1);
    // The first try hangs; half the time is left for a second one, over a new connection.
    expect(await writer.append(0, batchOf(['b']))).toBe(1);
    loseProduces('stall', Number.MAX_SAFE_INTEGER);
    const before = performance.now();
    await expect(writer.append(0, batchOf(['c']))).rejects.toThrow(BufferUnavailableError);
    expect(performance.now() - before).toBeLessThan(3000);
    kafka.proxy.decide = () => 'pass';
    expect(await writer.append(0, batchOf(['d']))).toBe(2);
  });

  test('connections cut at random lose nothing and repeat nothing', async () => {
    const running = load('cut');
    const random = createRandom(seed);
    process.stdout.write(`connections are cut with TEST_SEED=${seed}\n`);
    kafka.proxy.decide = ({ apiKey }) => {
      if (apiKey !== apiKeys.produce || !random.chance(0.2)) return 'pass';
      return random.chance(0.5) ? 'lose-answer' : 'lose-request';
    };
    const { counts } = kafka.proxy;
    const before = { ...counts };
    const met = (fate: 'lose-answer' | 'lose-request') => counts[fate] - before[fate];
    await waitUntil(() => Math.min(met('lose-answer'), met('lose-request')) >= 15, 60_000);
    await waitUntil(() => running.receipts.length > 50, 60_000);
    kafka.proxy.decide = () => 'pass';
    await running.stop();
    expect(running.failed).toEqual([]);
    await expectExactlyOnce(running.receipts, running.failed);
  });

  test('a broker killed and started again loses nothing and repeats nothing', async () => {
    const running = load('kill');
    const more = (count: number) => {
      const before = running.receipts.length;
      return waitUntil(() => running.receipts.length >= before + count, 30_000);
    };
    for (let round = 0; round < 2; round++) {
      await more(20);
      await kafka.broker.kill();
      await waitUntil(() => !writer.state().ok, 10_000);
      const state = writer.state();
      expect(state.ok ? '' : state.detail).toContain('--kafka-brokers');
      await kafka.broker.restart();
    }
    await waitUntil(() => writer.state().ok, 30_000);
    await more(20);
    await running.stop();
    await expectExactlyOnce(running.receipts, running.failed);
  });

  test('a batch larger than the topic allows is refused for good, and the next one goes through', async () => {
    const uncompressed = await topic.openWriter({ compression: 'none' });
    await uncompressed.append(0, batchOf(['a']));
    let tries = 0;
    kafka.proxy.decide = ({ apiKey }) => {
      if (apiKey === apiKeys.produce) tries++;
      return 'pass';
    };
    const large = uncompressed.append(0, batchOf(['x'.repeat(2_000_000)]));
    await expect(large).rejects.toThrow(RecordsRefusedError);
    expect(tries).toBeLessThanOrEqual(1);
    expect(await uncompressed.append(0, batchOf(['b']))).toBe(1);
    await uncompressed.close();
  });

  test('a topic made anew is written to again', async () => {
    await writer.append(0, batchOf(['a', 'b']));
    await removeTopic(kafka.brokers, topic.topic);
    await waitForRemoval(kafka.brokers, topic.topic);
    const settings = { partitions, replication: 1, retentionMs: 3_600_000 };
    await ensureTopic({ brokers: [kafka.brokers], topic: topic.topic, clientId: 'test' }, settings);
    expect(await writer.append(0, batchOf(['c']))).toBe(0);
    expect(await writer.append(0, batchOf(['d']))).toBe(1);
  });

  test('opens while Kafka is away, says so, and connects when it is there', async () => {
    const { target } = kafka.proxy;
    kafka.proxy.target = { host: '127.0.0.1', port: 1 };
    kafka.proxy.cutAll();
    const early = openKafkaWriter({
      brokers: [kafka.brokers],
      topic: `${topic.topic}-late`,
      clientId: 'test',
      compression: 'none',
      deliveryTimeoutMs: 1000,
      createTopic: { partitions: 2, replication: 1, retentionMs: 3_600_000 },
      log: testLog,
    });
    expect(early.partitions).toBe(0);
    expect(early.state().ok).toBe(false);
    await expect(early.append(0, batchOf(['a']))).rejects.toThrow(BufferUnavailableError);
    await waitUntil(() => {
      const state = early.state();
      return !state.ok && state.detail.includes('--kafka-brokers');
    }, 10_000);
    kafka.proxy.target = target;
    await waitUntil(() => early.state().ok, 10_000);
    expect(early.partitions).toBe(2);
    expect(await early.append(1, batchOf(['a']))).toBe(0);
    await early.close();
  });
});
