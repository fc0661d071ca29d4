/** Ownership of partitions: rebalances, lost members, fenced commits, against a real Kafka behind a proxy. */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { consumerGroupHeartbeatV0, deleteRecordsV2 } from '@platformatic/kafka';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import {
  type BufferReader,
  FencedError,
  OffsetOutOfRangeError,
  type OwnedPartition,
} from '../../src/buffer/buffer.ts';
import { BrokerLink, parseAddress } from '../../src/buffer/kafka/broker-link.ts';
import {
  assignRanges,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../src/buffer/kafka/group-protocol.ts';
import { ensureTopic } from '../../src/buffer/kafka/topics.ts';
import { kafkaVersion } from '../../tools/kafka-settings.ts';
import { holdPartitions, readRecords } from '../support/buffer-reading.ts';
import { batchOf, type FaultyKafka, startFaultyKafka } from '../support/kafka-faults.ts';
import { createKafkaTopic, removeTopic, waitForRemoval, waitUntil } from '../support/kafka-fixture.ts';
import { until } from '../support/program.ts';
import { apiKeys } from '../support/tcp-proxy.ts';

const waitMs = 30_000;
const partitions = 4;
/** Kafka 4 has them. */
const hasNewerGroups = Number(kafkaVersion.split('.')[0]) >= 4;
const hasKcat = spawnSync('kcat', ['-V']).error === undefined;

describe.skipIf(inject('kafkaBrokers') === undefined)('kafka reader', () => {
  let kafka: FaultyKafka;
  let topic: Awaited<ReturnType<typeof createKafkaTopic>>;
  let group: string;
  let open: BufferReader[];
  let cleanups: (() => Promise<void>)[];

  beforeAll(async () => {
    kafka = await startFaultyKafka();
  });
  afterAll(() => kafka.stop());
  beforeEach(async () => {
    topic = await createKafkaTopic(kafka.brokers, partitions);
    group = `group-${randomUUID()}`;
    open = [];
    cleanups = [];
  });
  afterEach(async () => {
    kafka.proxy.decide = () => 'pass';
    for (const cleanup of cleanups) await cleanup();
    for (const reader of open) await reader.close();
  });

  function openReader(clientId: string, sessionTimeoutMs = 6000): BufferReader {
    const reader = topic.openReader(group, { clientId, sessionTimeoutMs });
    open.push(reader);
    return reader;
  }

  async function fill(partition = 0, count = 10): Promise<void> {
    const writer = await topic.openWriter();
    await writer.append(partition, batchOf(Array.from({ length: count }, (_, i) => `{"n":${i}}`)));
    await writer.close();
  }

  test('two readers share the partitions, and no partition has two owners at once', async () => {
    const owners = new Map<number, string>();
    const overlaps: string[] = [];
    const gained: Record<string, number> = {};
    const deliverAs = (name: string) => async (owned: OwnedPartition) => {
      const other = owners.get(owned.partition);
      if (other !== undefined) overlaps.push(`${owned.partition}: ${other} and ${name}`);
      owners.set(owned.partition, name);
      gained[name] = (gained[name] ?? 0) + 1;
      await new Promise((resolve) => owned.signal.addEventListener('abort', resolve, { once: true }));
      // The insert in flight is finished, and what it did is recorded, before anybody else may own this.
      await sleep(300);
      await owned.commit(1, `by ${name}`);
      owners.delete(owned.partition);
    };
    const first = openReader('first');
    void first.run(deliverAs('first'));
    await waitUntil(() => owners.size === partitions, waitMs);
    const second = openReader('second');
    void second.run(deliverAs('second'));
    await waitUntil(
      () => gained.second === 2 && gained.first === partitions + 2 && owners.size === 4,
      waitMs,
    );
    expect([...owners.values()].sort()).toEqual(['first', 'first', 'second', 'second']);
    await second.close();
    await waitUntil(() => gained.first === 2 * partitions + 2 && owners.size === partitions, waitMs);
    expect(overlaps).toEqual([]);
  });

  test('a member that hears nothing gives up within the session timeout, and cannot commit', async () => {
    await fill();
    const cutOff = openReader('cut-off');
    const held = holdPartitions(cutOff);
    const stale = await held.get(0, waitMs);
    await stale.commit(0, 'plan of the first owner');
    kafka.proxy.decide = ({ clientId }) => (clientId === 'cut-off' ? 'stall' : 'pass');
    const stalledAt = performance.now();
    await waitUntil(() => stale.signal.aborted, 10_000);
    expect(performance.now() - stalledAt).toBeLessThan(6500);
    const takingOver = holdPartitions(openReader('second'));
    const taken = await takingOver.get(0, waitMs);
    expect(await taken.committed()).toEqual({ offset: 0, plan: 'plan of the first owner' });
    kafka.proxy.decide = () => 'pass';
    await expect(stale.commit(5, 'too late')).rejects.toThrow(FencedError);
    await expect(stale.read(0, { maxBytes: 1, maxWaitMs: 0 })).rejects.toThrow(FencedError);
    expect((await takingOver.get(0, waitMs)).signal.aborted).toBe(false);
    // It comes back as a member and gets its share again.
    await held.any(waitMs);
  });

  test('a commit whose answer was lost is repeated, in the same generation', async () => {
    await fill();
    const reader = openReader('reader');
    const owned = await holdPartitions(reader).get(0, waitMs);
    let left = 2;
    const generations = new Set<number>();
    kafka.proxy.decide = ({ apiKey, clientId, bytes }) => {
      if (apiKey !== apiKeys.offsetCommit) return 'pass';
      // header: 14 bytes, client id, tags; then the group as a compact string, and the generation
      const groupAt = 14 + clientId.length + 1;
      generations.add(bytes.readInt32BE(groupAt + 1 + group.length));
      return left-- > 0 ? 'lose-answer' : 'pass';
    };
    await owned.commit(7, 'plan');
    expect(await owned.committed()).toEqual({ offset: 7, plan: 'plan' });
    expect(left).toBe(-1);
    expect(generations.size).toBe(1);
    expect(owned.signal.aborted).toBe(false);
  });

  test('commits and reads go on after the broker was killed and started again', async () => {
    await fill(0, 10);
    const reader = openReader('reader', 20_000);
    const held = holdPartitions(reader);
    let owned = await held.get(0, waitMs);
    await owned.commit(4, 'before');
    await kafka.broker.kill();
    await waitUntil(() => !reader.state().ok, waitMs);
    expect(await owned.read(10, { maxBytes: 1000, maxWaitMs: 300 })).toEqual({ blocks: [], next: 10 });
    const committing = owned.commit(6, 'across').then(
      () => undefined,
      (error: unknown) => error,
    );
    await kafka.broker.restart();
    const result = await committing;
    owned = await held.get(0, waitMs);
    // The group may have gone on meanwhile; then nothing was committed.
    expect(result === undefined || result instanceof FencedError).toBe(true);
    const expected = result === undefined ? { offset: 6, plan: 'across' } : { offset: 4, plan: 'before' };
    expect(await owned.committed()).toEqual(expected);
    expect(await readRecords(owned, 0, 10, waitMs)).toHaveLength(10);
    await waitUntil(() => reader.state().ok, waitMs);
  });

  test('an offset that retention has passed is named, never skipped', async () => {
    await fill(0, 10);
    const owned = await holdPartitions(openReader('reader')).get(0, waitMs);
    const link = new BrokerLink(parseAddress(kafka.brokers), { clientId: 'test', requestTimeoutMs: 5000 });
    const upTo = [{ name: topic.topic, partitions: [{ partitionIndex: 0, offset: 6n }] }];
    await link.request(deleteRecordsV2.api, upTo, 5000);
    link.close();
    expect(await owned.bounds()).toEqual({ start: 6, end: 10 });
    const reading = owned.read(3, { maxBytes: 1000, maxWaitMs: 1000 });
    await expect(reading).rejects.toThrow(OffsetOutOfRangeError);
    await expect(reading).rejects.toMatchObject({ from: 3, start: 6, end: 10 });
  });

  test('a topic made anew ends the ownership, and is owned under its new id', async () => {
    await fill();
    const held = holdPartitions(openReader('reader'));
    const before = await held.get(0, waitMs);
    await removeTopic(kafka.brokers, topic.topic);
    await waitForRemoval(kafka.brokers, topic.topic);
    const settings = { partitions, replication: 1, retentionMs: 3_600_000 };
    await ensureTopic({ brokers: [kafka.brokers], topic: topic.topic, clientId: 'test' }, settings);
    await fill(0, 3);
    // Not one record of the new topic comes under the old id.
    const read = before.read(0, { maxBytes: 1000, maxWaitMs: 20_000 });
    await expect(read).rejects.toThrow(FencedError);
    const after = await held.get(0, waitMs);
    expect(after.topicId).not.toBe(before.topicId);
    expect(await readRecords(after, 0, 3, waitMs)).toHaveLength(3);
  });

  test('new partitions are owned when they appear', async () => {
    const held = holdPartitions(openReader('reader'));
    await held.get(3, waitMs);
    const admin = new Kafka({ brokers: [kafka.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.createPartitions({ topicPartitions: [{ topic: topic.topic, count: 6 }] });
    await admin.disconnect();
    for (const partition of [4, 5]) {
      const owned = await held.get(partition, waitMs);
      expect(await owned.bounds()).toEqual({ start: 0, end: 0 });
      await owned.commit(0, `of ${partition}`);
      expect(await owned.committed()).toEqual({ offset: 0, plan: `of ${partition}` });
    }
    expect((await held.get(3, waitMs)).signal.aborted).toBe(false);
  });

  /** kcat as a member of the group: it joins under the name that all other programs use. */
  function startKcat(): { lines: string[]; stop(): Promise<void> } {
    const lines: string[] = [];
    const child = spawn('kcat', ['-b', kafka.brokers, '-G', group, topic.topic], { stdio: 'pipe' });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', (line) => lines.push(line));
    }
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const stop = async () => {
      child.kill();
      await ended;
    };
    cleanups.push(stop);
    return { lines, stop };
  }

  test.skipIf(!hasKcat)('lets no other program in', async () => {
    await fill();
    const held = holdPartitions(openReader('reader'));
    const owned = await held.get(0, waitMs);
    const kcat = startKcat();
    await waitUntil(() => kcat.lines.some((line) => /inconsistent/i.test(line)), waitMs);
    expect(kcat.lines.filter((line) => line.startsWith('{'))).toEqual([]);
    for (let partition = 0; partition < partitions; partition++) {
      expect((await held.get(partition, waitMs)).signal.aborted).toBe(false);
    }
    await owned.commit(3, 'plan');
    expect(await owned.committed()).toEqual({ offset: 3, plan: 'plan' });
  });

  test.skipIf(!hasKcat)('says who is in its group instead, and owns it when they are gone', async () => {
    const kcat = startKcat();
    await waitUntil(() => kcat.lines.some((line) => /assigned/.test(line)), waitMs);
    const reader = openReader('reader');
    const held = holdPartitions(reader);
    await waitUntil(() => !reader.state().ok, waitMs);
    const pattern =
      /not streamers of Millrace: rdkafka at .*: stop them, or give the streamers a --kafka-group/;
    await waitUntil(() => {
      const state = reader.state();
      return !state.ok && pattern.test(state.detail);
    }, waitMs);
    await kcat.stop();
    await held.get(3, waitMs);
    await waitUntil(() => reader.state().ok, waitMs);
  });

  test('shares the partitions with a streamer of the former version, and with nobody once it is gone', async () => {
    const former = await joinAsFormer('reader');
    await waitUntil(() => former.shares.at(-1) === partitions, waitMs);
    const held = holdPartitions(openReader('reader'));
    await held.any(waitMs);
    await waitUntil(() => former.shares.at(-1) === partitions / 2, waitMs);
    await former.stop();
    for (let partition = 0; partition < partitions; partition++) await held.get(partition, waitMs);
    const stranger = await joinAsFormer('stranger');
    await waitUntil(
      () => stranger.failures.some((message) => message.includes('protocols are incompatible')),
      waitMs,
    );
    expect(stranger.shares).toEqual([]);
  });

  test('says so when a stranger got in beside a streamer of the former version', async () => {
    const reader = openReader('reader');
    const former = await joinAsFormer('reader');
    await waitUntil(() => former.shares.at(-1) === partitions, waitMs);
    const held = holdPartitions(reader);
    await held.any(waitMs);
    await joinAsFormer('stranger');
    await waitUntil(() => {
      const state = reader.state();
      return !state.ok && state.detail.includes('not streamers of Millrace: stranger at ');
    }, waitMs);
    expect((await held.any(waitMs)).signal.aborted).toBe(false);
  });

  /** A consumer of the newer group protocol of Kafka 4 joins (`epoch` 0) or leaves (-1). */
  async function beatAsNewer(epoch: number): Promise<void> {
    const link = new BrokerLink(parseAddress(kafka.brokers), { clientId: 'newer', requestTimeoutMs: 5000 });
    const { api } = consumerGroupHeartbeatV0;
    const [id, topics] = ['newer-member', [topic.topic]];
    await link
      .request(api, group, id, epoch, null, null, 5000, topics, null, null, [])
      .finally(() => link.close());
  }

  test.skipIf(!hasNewerGroups)('lets no consumer of the newer group protocol in', async () => {
    const held = holdPartitions(openReader('reader'));
    const owned = await held.get(0, waitMs);
    // It would be given half of the partitions by the broker, in a group that is no longer ours to share out.
    await expect(beatAsNewer(0)).rejects.toMatchObject({ errors: [{ apiId: 'GROUP_ID_NOT_FOUND' }] });
    await owned.commit(0, 'plan');
    expect(owned.signal.aborted).toBe(false);
  });

  test.skipIf(!hasNewerGroups)(
    'stays out of a group of the newer protocol, says so, and owns it when it is empty',
    async () => {
      await until('the newer member is in', () =>
        beatAsNewer(0).then(
          () => true,
          () => false,
        ),
      );
      const reader = openReader('reader');
      const held = holdPartitions(reader);
      await waitUntil(() => {
        const state = reader.state();
        return !state.ok && state.detail.includes('consumers of the newer group protocol');
      }, waitMs);
      await beatAsNewer(-1);
      await held.get(3, waitMs);
      await waitUntil(() => reader.state().ok, waitMs);
    },
  );

  /** A member as version 0.1 was one: under the name that all programs use. */
  async function joinAsFormer(clientId: string) {
    const shares: number[] = [];
    const failures: string[] = [];
    const client = new Kafka({
      ...{ brokers: [kafka.brokers], clientId },
      logLevel: logLevel.ERROR,
      logCreator:
        () =>
        ({ log }) => {
          failures.push(`${log.message} ${log.error}`);
        },
    });
    const consumer = client.consumer({
      groupId: group,
      retry: { initialRetryTime: 100, retries: 8, restartOnFailure: async () => false },
      ...{ heartbeatInterval: 300, maxWaitTimeInMs: 200, sessionTimeout: 10_000, rebalanceTimeout: 10_000 },
      partitionAssigners: [
        () => ({
          ...{ name: 'range', version: 0 },
          async assign({ members }) {
            const subscriptions = members.map(({ memberId, memberMetadata }) => ({
              memberId,
              topics: decodeSubscription(memberMetadata),
            }));
            const shares = assignRanges(subscriptions, new Map([[topic.topic, partitions]]));
            return [...shares].map(([memberId, share]) => ({
              memberId,
              memberAssignment: encodeAssignment(share),
            }));
          },
          protocol: () => ({ name: 'range', metadata: encodeSubscription([topic.topic]) }),
        }),
      ],
    });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      shares.push(payload.memberAssignment[topic.topic]?.length ?? 0);
    });
    await consumer.connect();
    await consumer.subscribe({ topic: topic.topic });
    await consumer.run({ autoCommit: false, eachMessage: async () => {} });
    const stop = () => consumer.disconnect();
    cleanups.push(stop);
    return { shares, failures, stop };
  }
});
