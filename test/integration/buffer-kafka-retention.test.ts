import { randomUUID } from 'node:crypto';
import {
  ConfigResourceTypes,
  deleteRecordsV2,
  IncrementalAlterConfigOperationTypes,
  incrementalAlterConfigsV1,
} from '@platformatic/kafka';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { BufferReader } from '../../src/buffer/buffer.ts';
import { BrokerLink, parseAddress } from '../../src/buffer/kafka/broker-link.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import { watchRetention } from '../../src/streamer/health/retention-watch.ts';
import { holdPartitions } from '../support/buffer-reading.ts';
import { createKafkaTopic, testLog } from '../support/kafka-fixture.ts';

const brokers = inject('kafkaBrokers') ?? '';
const hour = 3_600_000;
const waitMs = 30_000;

/** Topics of the fixture keep records for an hour. */
describe.skipIf(brokers === '')('retention of a real Kafka topic', () => {
  let topic: Awaited<ReturnType<typeof createKafkaTopic>>;
  let link: BrokerLink;
  let open: { close(): Promise<void> }[];

  beforeEach(async () => {
    topic = await createKafkaTopic(brokers);
    link = new BrokerLink(parseAddress(brokers), { clientId: 'test', requestTimeoutMs: 10_000 });
    open = [];
  });

  afterEach(async () => {
    for (const end of open.reverse()) await end.close();
    link.close();
    await topic.remove();
  });

  async function append(partition: number, receivedAt: readonly number[]): Promise<void> {
    const writer = await topic.openWriter();
    for (const time of receivedAt) {
      const batch = new EventBatch();
      batch.add(Buffer.from('{"event":"a"}'), time);
      await writer.append(partition, batch);
    }
    await writer.close();
  }

  function openReader(): BufferReader {
    const reader = topic.openReader(randomUUID());
    open.push(reader);
    return reader;
  }

  const setTopic = (name: string, value: string) =>
    link.request(
      incrementalAlterConfigsV1.api,
      [
        {
          resourceType: ConfigResourceTypes.TOPIC,
          resourceName: topic.topic,
          configs: [{ name, configOperation: IncrementalAlterConfigOperationTypes.SET, value }],
        },
      ],
      false,
    );

  test('counts from the oldest undelivered record of each partition', async () => {
    const [first, second] = [Date.now() - 50 * 60_000, Date.now() - 10 * 60_000];
    await append(0, [first, second]);
    const reader = openReader();
    expect(await reader.expiries()).toEqual([]);
    const held = holdPartitions(reader);
    const owned = await held.get(0, waitMs);
    await held.get(1, waitMs);
    const before = Date.now();
    const [busy, idle] = await reader.expiries();
    expect(busy).toEqual({
      topic: topic.topic,
      partition: 0,
      lag: 2,
      retentionMs: hour,
      expiresAt: first + hour,
    });
    expect(idle).toMatchObject({ partition: 1, lag: 0, retentionMs: hour });
    expect(idle?.expiresAt).toBeGreaterThanOrEqual(before + hour);

    await owned.commit(1, '');
    expect((await reader.expiries())[0]).toMatchObject({ lag: 1, expiresAt: second + hour });
    await owned.commit(2, '');
    expect((await reader.expiries())[0]?.expiresAt).toBeGreaterThanOrEqual(before + hour);
  });

  test('is over when records were removed before they were delivered', async () => {
    await append(0, [Date.now(), Date.now(), Date.now()]);
    const reader = openReader();
    const owned = await holdPartitions(reader).get(0, waitMs);
    await owned.commit(0, '');
    const partitions = [{ partitionIndex: 0, offset: 2n }];
    await link.request(deleteRecordsV2.api, [{ name: topic.topic, partitions }], 10_000);
    const [expiry] = await reader.expiries();
    expect(expiry?.lag).toBe(3);
    expect(expiry?.expiresAt).toBeLessThan(Date.now());
  });

  test.each([
    ['retention.ms', '-1'],
    ['cleanup.policy', 'compact'],
  ])('is none with %s=%s', async (name, value) => {
    await setTopic(name, value);
    await append(0, [Date.now()]).catch(() => {});
    const reader = openReader();
    await holdPartitions(reader).get(0, waitMs);
    expect(await reader.expiries()).toEqual([]);
  });

  test('becomes seconds by partition, and a line in the log when they are few', async () => {
    await append(0, [Date.now() - 59 * 60_000]);
    const reader = openReader();
    const held = holdPartitions(reader);
    await held.get(0, waitMs);
    await held.get(1, waitMs);
    const lines: string[] = [];
    const log = testLog.child({}, { level: 'warn' });
    log.error = ((_: unknown, line: string) => void lines.push(line)) as typeof log.error;
    const watch = watchRetention(reader, log, (fault) => {
      throw fault;
    });
    await watch.sample();
    watch.stop();
    const [busy, idle] = watch.secondsLeft.samples();
    expect(busy).toMatchObject({ labels: { partition: '0' } });
    expect(busy?.value).toBeLessThanOrEqual(60);
    expect(idle?.value).toBeGreaterThan(3_500);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`${topic.topic}/0: 1 events are not delivered`);
  });
});
