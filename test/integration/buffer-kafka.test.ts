import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { Producer, stringSerializers } from '@platformatic/kafka';
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { TicketLostError } from '../../src/buffer/buffer.ts';
import { BrokerLink } from '../../src/buffer/kafka/broker-link.ts';
import { Cluster } from '../../src/buffer/kafka/cluster.ts';
import { PartitionProducer } from '../../src/buffer/kafka/partition-producer.ts';
import { type Compression, RecordEncoder } from '../../src/buffer/kafka/record-encoder.ts';
import { describeTopic } from '../../src/buffer/kafka/topics.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import { describeBuffer } from '../support/buffer-conformance.ts';
import { holdPartitions } from '../support/buffer-reading.ts';
import { batchOf, readAll } from '../support/kafka-faults.ts';
import { createKafkaFixture, createKafkaTopic, testLog, waitUntil } from '../support/kafka-fixture.ts';
import { until } from '../support/program.ts';

const execute = promisify(execFile);
const brokers = inject('kafkaBrokers') ?? '';
const hasKcat = await execute('kcat', ['-V']).then(
  () => true,
  () => false,
);
if (!hasKcat) console.warn('kcat is not installed: what other clients read is not tested');

describe.skipIf(brokers === '')('with a real Kafka', () => {
  describeBuffer('kafka buffer', () => createKafkaFixture(brokers));

  describe('kafka topics', () => {
    test('are described', async () => {
      const topic = await createKafkaTopic(brokers, 3);
      const address = { brokers: [brokers], topic: topic.topic, clientId: 'test' };
      // A broker that has made a topic shows it a moment later.
      await until('the topic is shown with its leaders', async () => {
        const { exists, leaderless } = await describeTopic(address);
        return exists && leaderless === 0;
      });
      expect(await describeTopic(address)).toMatchObject({ exists: true, partitions: 3 });
      expect(await describeTopic({ ...address, topic: 'no-such-topic' })).toMatchObject({ exists: false });
      await expect(describeTopic({ ...address, brokers: ['127.0.0.1:1'] })).rejects.toThrow(
        /--kafka-brokers/,
      );
      await topic.remove();
    });
  });

  describe('kafka records', () => {
    let topic: Awaited<ReturnType<typeof createKafkaTopic>>;
    beforeEach(async () => {
      topic = await createKafkaTopic(brokers);
    });
    afterEach(() => topic.remove());

    test.skipIf(!hasKcat).each<Compression>(['snappy', 'none'])(
      'are plain values to kcat: %s',
      async (compression) => {
        const writer = await topic.openWriter({ compression });
        const values = Array.from({ length: 500 }, (_, i) => `{"event":"view","os":"linux","n":${i}}`);
        await writer.append(0, batchOf(values));
        const batch = new EventBatch();
        batch.add(Buffer.from('{"last":"ü"}'), 1_780_000_000_123, [['id', 'a-1']]);
        await writer.append(0, batch);
        await writer.close();
        const format = ['-q', '-C', '-e', '-t', topic.topic, '-p', '0', '-f', '%o %K %h %T %s\n'];
        const { stdout } = await execute('kcat', ['-b', brokers, ...format]);
        const lines = stdout.trimEnd().split('\n');
        expect(lines).toHaveLength(501);
        expect(lines[42]).toMatch(/^42 -1 {2}\d{13} \{"event":"view","os":"linux","n":42\}$/);
        expect(lines[500]).toBe('500 -1 id=a-1 1780000000123 {"last":"ü"}');
      },
    );

    test.skipIf(!hasKcat).each(['none', 'gzip', 'snappy', 'lz4'])('of kcat are read: %s', async (codec) => {
      const kcat = spawn('kcat', [
        '-b',
        brokers,
        '-P',
        '-t',
        topic.topic,
        '-p',
        '0',
        '-z',
        codec,
        '-Z',
        '-K:',
      ]);
      // A key, and a record without a value.
      kcat.stdin.end(`${Array.from({ length: 300 }, (_, i) => `k:{"n":${i}}`).join('\n')}\nk:\n`);
      await once(kcat, 'exit');
      const [records] = await readAll(topic, 1);
      expect(records).toHaveLength(301);
      expect(records?.[7]?.value.toString()).toBe('{"n":7}');
      expect(records?.[300]?.value).toHaveLength(0);
    });

    test('of a rolled back transaction are left out', async () => {
      const producer = new Producer({
        clientId: 'test',
        bootstrapBrokers: [brokers],
        serializers: stringSerializers,
        idempotent: true,
        transactionalId: topic.topic,
      });
      for (const [value, isKept] of [
        ['kept', true],
        ['rolled back', false],
        ['kept, too', true],
      ] as const) {
        const transaction = await producer.beginTransaction();
        await transaction.send({ messages: [{ topic: topic.topic, partition: 0, value }] });
        if (isKept) await transaction.commit();
        else await transaction.abort();
      }
      await producer.close();
      const writer = await topic.openWriter();
      await writer.append(0, batchOf(['ours']));
      await writer.close();
      const reader = topic.openReader('reader');
      const seen: string[] = [];
      let position = 0;
      void reader.run(async (owned) => {
        if (owned.partition !== 0) return;
        const { end } = await owned.bounds();
        while (position < end) {
          const { blocks, next } = await owned.read(position, { maxBytes: 1, maxWaitMs: 500 });
          for (const block of blocks)
            seen.push(Buffer.from(block.bytes.slice(block.starts[0], block.ends[0])).toString());
          position = next;
        }
      });
      await waitUntil(() => seen.length === 3, 30_000);
      expect(seen).toEqual(['kept', 'kept, too', 'ours']);
      // Three records, three markers, and ours.
      expect(position).toBe(7);
      await reader.close();
    });

    test('markers alone are no lag, and the lag of all partitions is asked of a leader at once', async () => {
      const producer = new Producer({
        ...{ clientId: 'test', bootstrapBrokers: [brokers], serializers: stringSerializers },
        ...{ idempotent: true, transactionalId: topic.topic },
      });
      const transaction = await producer.beginTransaction();
      await transaction.send({ messages: [{ topic: topic.topic, partition: 0, value: 'kept' }] });
      await transaction.commit();
      await producer.close();
      const reader = topic.openReader('reader');
      const owned = await holdPartitions(reader).get(0, 30_000);
      const lagOf = async () => {
        const lags = await reader.lag();
        return lags.map(({ partition, committed, end }) => [partition, end - committed]);
      };
      await until('the transaction is finished', async () => (await lagOf())[0]?.[1] === 2);
      const { blocks } = await owned.read(0, { maxBytes: 1_000, maxWaitMs: 5_000 });
      expect(blocks[0]?.count).toBe(1);
      await owned.read(blocks[0]?.count ?? 0, { maxBytes: 1_000, maxWaitMs: 500 });
      await owned.commit(1, '');
      expect(await lagOf()).toEqual([
        [0, 0],
        [1, 0],
      ]);
      const requests = vi.spyOn(BrokerLink.prototype, 'request');
      await lagOf();
      // Commits, ends, and the start of the partition that has no commit: not two questions for each.
      expect(requests).toHaveBeenCalledTimes(3);
      requests.mockRestore();
      await reader.close();
    });

    test('keep their sequence when its numbers wrap around', async () => {
      const cluster = new Cluster({ brokers: [brokers], topic: topic.topic, clientId: 'test', log: testLog });
      await waitUntil(() => cluster.state().ok, 10_000);
      const link = cluster.createLink(cluster.topic?.leaders[0] ?? { host: '', port: 0 }, 5000);
      const context = {
        cluster,
        encoder: new RecordEncoder('snappy'),
        deliveryTimeoutMs: 3000,
        leaderLink: () => link,
      };
      const stamp = { id: 4_000_000_000n, epoch: 0, sequence: 2 ** 31 - 5 };
      const producer = new PartitionProducer(context, 0, stamp);
      const bases: number[] = [];
      for (let i = 0; i < 4; i++) bases.push(await producer.append(batchOf(['a', 'b', 'c'])));
      expect(bases).toEqual([0, 3, 6, 9]);

      // Given numbers that the broker does not expect: it cannot tell whether the batch was sent before.
      const skipped = new PartitionProducer(context, 0, { ...stamp, sequence: 1000 });
      await expect(skipped.append(batchOf(['d']))).rejects.toThrow(TicketLostError);
      const fresh = new PartitionProducer(context, 0);
      expect(await fresh.append(batchOf(['d']))).toBe(12);
      expect(await fresh.append(batchOf(['e']))).toBe(13);

      // The numbers of the last batch again: the broker takes it for a repeat and answers with the first offset.
      const first = new PartitionProducer(context, 1, stamp);
      expect(await first.append(batchOf(['f', 'g']))).toBe(0);
      const again = new PartitionProducer(context, 1, stamp);
      expect(await again.append(batchOf(['f', 'g']))).toBe(0);
      expect((await readAll(topic, 2)).map((records) => records.length)).toEqual([14, 2]);
      link.close();
      await cluster.close();
    });
  });
});
