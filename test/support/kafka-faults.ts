/** A broker of one's own behind a proxy, for tests that kill it or lose its answers. */
import { randomUUID } from 'node:crypto';
import { EventBatch } from '../../src/buffer/event-batch.ts';
import { type Broker, startBroker } from '../../src/tools/kafka-broker.ts';
import { holdPartitions, readRecords, type StoredRecord } from './buffer-reading.ts';
import type { createKafkaTopic } from './kafka-fixture.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

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
