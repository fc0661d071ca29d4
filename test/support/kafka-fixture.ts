/** Topics, writers and readers for tests against a real Kafka. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { deleteTopicsV6 } from '@platformatic/kafka';
import { pino } from 'pino';
import type { BufferInspector, BufferReader, BufferWriter } from '../../src/buffer/buffer.ts';
import { BrokerLink, parseAddress } from '../../src/buffer/kafka/broker-link.ts';
import { openKafkaInspector } from '../../src/buffer/kafka/inspector.ts';
import { type KafkaReaderOptions, openKafkaReader } from '../../src/buffer/kafka/reader.ts';
import { describeTopic, ensureTopic } from '../../src/buffer/kafka/topics.ts';
import { type KafkaWriterOptions, openKafkaWriter } from '../../src/buffer/kafka/writer.ts';
import type { BufferFixture } from './buffer-conformance.ts';
import { until } from './program.ts';

/** Set MILLRACE_TEST_LOG=debug to see what the clients log. */
export const testLog = pino({ level: process.env.MILLRACE_TEST_LOG ?? 'silent' });

/** A new topic with `partitions` partitions, and how to open its ends and remove it. */
export async function createKafkaTopic(brokers: string, partitions = 2) {
  const topic = `test-${randomUUID()}`;
  const addresses = brokers.split(',');
  const settings = { partitions, replication: 1, retentionMs: 3_600_000 };
  await ensureTopic({ brokers: addresses, topic, clientId: 'test' }, settings);
  return {
    topic,
    /** Opens a writer and waits until it is ready. */
    async openWriter(options: Partial<KafkaWriterOptions> = {}): Promise<BufferWriter> {
      const writer = openKafkaWriter({
        brokers: addresses,
        topic,
        clientId: 'test-writer',
        compression: 'snappy',
        deliveryTimeoutMs: 10_000,
        log: testLog,
        ...options,
      });
      await waitUntil(() => writer.state().ok, 30_000);
      return writer;
    },
    openReader(group: string, options: Partial<KafkaReaderOptions> = {}): BufferReader {
      return openKafkaReader({
        brokers: addresses,
        topic,
        group,
        clientId: 'test-reader',
        sessionTimeoutMs: 10_000,
        log: testLog,
        ...options,
      });
    },
    openInspector(group: string): BufferInspector {
      return openKafkaInspector({
        brokers: addresses,
        topic,
        group,
        clientId: 'test-inspector',
        log: testLog,
      });
    },
    remove: () => removeTopic(brokers, topic),
  };
}

/** Deletes a topic. */
export async function removeTopic(brokers: string, topic: string): Promise<void> {
  const address = parseAddress(brokers.split(',')[0] ?? '');
  const link = new BrokerLink(address, { clientId: 'test', requestTimeoutMs: 10_000 });
  await link.request(deleteTopicsV6.api, [{ name: topic }], 10_000);
  link.close();
}

/** Waits until a deleted topic is gone: until then one of its name cannot be made. */
export async function waitForRemoval(brokers: string, topic: string): Promise<void> {
  const address = { brokers: brokers.split(','), topic, clientId: 'test' };
  await until(`the end of ${topic}`, async () => !(await describeTopic(address)).exists);
}

/** The fixture of the conformance suite. */
export async function createKafkaFixture(brokers: string): Promise<BufferFixture> {
  const topic = await createKafkaTopic(brokers);
  return {
    partitions: 2,
    createWriter: () => topic.openWriter(),
    createReader: async (group) => topic.openReader(group),
    createInspector: async (group) => topic.openInspector(group),
    cleanup: () => topic.remove(),
  };
}

/** Polls until the condition holds. @throws Error after `timeoutMs` */
export async function waitUntil(condition: () => boolean, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`nothing happened within ${timeoutMs} ms`);
    await sleep(10);
  }
}
