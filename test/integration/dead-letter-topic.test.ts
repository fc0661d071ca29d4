import { randomBytes, randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { BufferUnavailableError } from '../../src/buffer/buffer.ts';
import { describeTopic } from '../../src/buffer/kafka/topics.ts';
import type { DeadLetter } from '../../src/clickhouse/rows/dead-letter.ts';
import { type DeadLetterTopic, openDeadLetterTopic } from '../../src/dead-letters/dead-letter-topic.ts';
import { readAll } from '../support/kafka-faults.ts';
import { createKafkaTopic, removeTopic, testLog } from '../support/kafka-fixture.ts';

const brokers = inject('kafkaBrokers') ?? '';

function letterOf(offset: number, raw: Buffer | string, change: Partial<DeadLetter> = {}): DeadLetter {
  return {
    topic: 'events',
    topicId: 'T',
    partition: 3,
    offset,
    receivedAt: 1_763_690_000_123,
    eventId: '',
    code: 117,
    column: 'status',
    reason: 'cannot convert Int64 value 300 to UInt8',
    raw: Buffer.from(raw),
    ...change,
  };
}

/** A log that keeps its lines. */
function createLog() {
  const lines: { level: number; msg: string; letters?: number }[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}

test('rejects when Kafka is away', async () => {
  const options = { brokers: ['127.0.0.1:1'], topic: 't', clientId: 'test', deliveryTimeoutMs: 500 };
  const topic = openDeadLetterTopic({ ...options, log: testLog });
  await expect(topic.publish([letterOf(1, 'a')])).rejects.toBeInstanceOf(BufferUnavailableError);
  expect(topic.state().ok).toBe(false);
  await topic.close();
});

describe.skipIf(brokers === '')('with a real Kafka', () => {
  let existing: Awaited<ReturnType<typeof createKafkaTopic>>;
  let letters: DeadLetterTopic;
  let logged: ReturnType<typeof createLog>;

  beforeEach(async () => {
    existing = await createKafkaTopic(brokers, 2);
    logged = createLog();
    letters = open(existing.topic);
  });
  afterEach(async () => {
    await letters.close();
    await existing.remove();
  });

  function open(topic: string, createTopic?: { replication: number; retentionMs: number }): DeadLetterTopic {
    const options = { brokers: brokers.split(','), clientId: 'test', deliveryTimeoutMs: 20_000 };
    return openDeadLetterTopic({ ...options, topic, createTopic, log: logged.log });
  }

  test('a dead letter is a record with the same bytes, and headers that say where it is from and why', async () => {
    const raw = Buffer.from([0x7b, 0xff, 0x00, 0xfe, 0x7d]);
    await letters.publish([
      letterOf(7, raw, { eventId: 'ä-1', reason: 'x'.repeat(5_000) }),
      letterOf(9, '', { column: '' }),
    ]);
    const [, records] = await readAll(existing, 2);
    expect(records?.map(({ value }) => value)).toEqual([raw, Buffer.alloc(0)]);
    expect(Object.fromEntries(records?.[0]?.headers ?? [])).toEqual({
      topic: 'events',
      'topic-id': 'T',
      partition: '3',
      offset: '7',
      'received-at': '1763690000123',
      code: '117',
      column: 'status',
      reason: 'x'.repeat(1_000),
      id: 'ä-1',
    });
    expect(Object.fromEntries(records?.[1]?.headers ?? [])).not.toHaveProperty('id');
  });

  test('is made with one partition when it does not exist', async () => {
    const name = `test-${randomUUID()}-dead-letters`;
    const made = open(name, { replication: 1, retentionMs: 3_600_000 });
    await made.publish([letterOf(1, 'a'), letterOf(2, 'b', { partition: 8 })]);
    await made.close();
    expect(await describeTopic({ brokers: [brokers], topic: name, clientId: 'test' })).toMatchObject({
      exists: true,
      partitions: 1,
    });
    await removeTopic(brokers, name);
  });

  test('many at once, from several partitions at the same time, are all there, each partition in order', async () => {
    const publish = (partition: number) =>
      letters.publish(Array.from({ length: 300 }, (_, i) => letterOf(i, randomBytes(8_000), { partition })));
    await Promise.all([publish(0), publish(1), publish(2)]);
    const offsets = new Map<string | undefined, string[]>();
    for (const { headers } of (await readAll(existing, 2)).flat()) {
      const { partition, offset } = Object.fromEntries(headers ?? []);
      offsets.set(partition, [...(offsets.get(partition) ?? []), String(offset)]);
    }
    const wanted = Array.from({ length: 300 }, (_, i) => String(i));
    expect(Object.fromEntries(offsets)).toEqual({ 0: wanted, 1: wanted, 2: wanted });
    expect(logged.lines).toEqual([]);
  });

  test('what Kafka refuses is logged and left out; the others go through', async () => {
    const tooLarge = randomBytes(2 * 1024 ** 2);
    await letters.publish([letterOf(1, 'a'), letterOf(2, tooLarge), letterOf(3, 'b')]);
    const [, records] = await readAll(existing, 2);
    expect(records?.map(({ value }) => value.toString())).toEqual(['a', 'b']);
    expect(logged.lines).toMatchObject([{ level: 50, letters: 1, offset: 2 }]);
    expect(logged.lines[0]?.msg).toMatch(/in table dead_letters only.*max\.message\.bytes/);
  });
});
