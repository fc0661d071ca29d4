/** A broker of one's own behind a proxy, for tests that kill it or lose its answers. */
import { randomUUID } from 'node:crypto';
import { EventBatch } from '../../src/buffer/records.ts';
import { type Broker, startBroker } from '../../tools/kafka-broker.ts';
import { holdPartitions, readRecords, type StoredRecord } from './buffer-reading.ts';
import { frame } from './fake-broker.ts';
import type { createKafkaTopic } from './kafka-fixture.ts';
import { apiKeys, type Fate, startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

/** A broker that clients reach through the proxy only. */
export interface FaultyKafka {
  readonly broker: Broker;
  readonly proxy: TcpProxy;
  /** Address of the proxy. */
  readonly brokers: string;
  stop(): Promise<void>;
}

/** Starts both. @throws OperatorError when no broker can be started here */
export async function startFaultyKafka(): Promise<FaultyKafka> {
  const proxy = await startTcpProxy();
  const broker = await startBroker({
    port: 0,
    advertisedPort: proxy.port,
    log: () => {},
    ways: ['docker', 'java'],
  });
  proxy.target = { host: '127.0.0.1', port: Number(broker.brokers.split(':')[1]) };
  return {
    broker,
    proxy,
    brokers: `127.0.0.1:${proxy.port}`,
    async stop() {
      await broker.stop();
      await proxy.close();
    },
  };
}

/** The answer to Produce 8 for one partition, with this code. */
function produceAnswer(topic: string, code: number): Buffer {
  const name = Buffer.alloc(2 + topic.length);
  name.writeInt16BE(topic.length, 0);
  name.write(topic, 2);
  const rest = Buffer.alloc(4 + 4 + 2 + 8 + 8 + 8 + 4 + 2 + 4);
  rest.writeInt32BE(1, 0); // partitions
  rest.writeInt16BE(code, 8);
  rest.writeBigInt64BE(-1n, 10);
  rest.writeInt16BE(-1, rest.length - 6); // no message; no throttle time behind it
  return Buffer.concat([Buffer.from([0, 0, 0, 1]), name, rest]);
}

/** What may become of a leader while a batch is on its way. */
export type LeaderFate = 'append, then NOT_LEADER' | 'leader away past the delivery time-out';

/**
 * The leader appends the next batch, and is lost: it answers that and every later one with NOT_LEADER_OR_FOLLOWER (or
 * another `code`), as one does that was replaced while it waited for its replicas; or it is never heard of again.
 * It is back when `proxy.decide` is another.
 */
export function loseLeader(
  { proxy }: FaultyKafka,
  { topic, fate, code = 6 }: { topic: string; fate: LeaderFate; code?: number },
): void {
  const [first, later] =
    fate === 'append, then NOT_LEADER'
      ? (['forge-answer', 'forge'] as const)
      : (['lose-answer', 'lose-request'] as const);
  let next: Fate = first;
  proxy.forged = ({ correlationId }) => frame(correlationId, produceAnswer(topic, code));
  proxy.decide = ({ apiKey }) => {
    if (apiKey !== apiKeys.produce) return 'pass';
    const now = next;
    next = later;
    return now;
  };
}

/** A batch with these values, received now. */
export function batchOf(values: readonly string[]): EventBatch {
  const batch = new EventBatch();
  for (const value of values) batch.add(Buffer.from(value), Date.now());
  return batch;
}

/** All records of the first `partitions` partitions, read with a new consumer group. */
export async function readAll(
  topic: Awaited<ReturnType<typeof createKafkaTopic>>,
  partitions: number,
): Promise<StoredRecord[][]> {
  const reader = topic.openReader(`check-${randomUUID()}`);
  const held = holdPartitions(reader);
  const all: StoredRecord[][] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const owned = await held.get(partition, 60_000);
    const { start, end } = await owned.bounds();
    all.push(end > start ? await readRecords(owned, start, end - start, 60_000) : []);
  }
  await reader.close();
  return all;
}
