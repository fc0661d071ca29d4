/** Buffers full of records, as collectors leave them for a streamer. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { importBuilt, importTool } from './program.mjs';

const classicEvent = '{"event":"view","os":"linux","browser":"chrome"}';
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Partitions of each buffer, as `millrace` makes them by default. */
export const partitionsOf = { kafka: 4, embedded: 1 };

/** The values of events: the classic one, or the lines of an NDJSON file. */
export function readValues(path) {
  if (path === undefined) return [Buffer.from(classicEvent)];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => Buffer.from(line));
}

/** A block of `rows` records as a reader gives them: these values in turn, offsets from `first` on. */
export function recordsOf(values, rows, first) {
  let end = 0;
  const ends = values.map((value) => (end += value.length));
  const column = (value) => Float64Array.from({ length: rows }, (_, i) => value(i));
  const now = Date.now();
  return {
    count: rows,
    bytes: Buffer.concat(values),
    starts: column((i) => ends[i % values.length] - values[i % values.length].length),
    ends: column((i) => ends[i % values.length]),
    offsets: column((i) => first + i),
    receivedAt: column(() => now),
  };
}

/** A block of records as the streamer sends it. @returns the columns and the body of the insert */
export async function encodeRows(block, identity, dataType) {
  const { BatchRows } = await importBuilt('clickhouse/rows/batch-rows.js');
  const { encodeNative } = await importBuilt('clickhouse/rows/native-block.js');
  const rows = new BatchRows(identity);
  for (let i = 0; i < block.count; i++) rows.add(block, i);
  return encodeNative(rows, [...Array(block.count).keys()], { dataType, withRaw: true });
}

/**
 * Starts a Kafka, or uses the one that KAFKA_BROKERS names: that one is left without our topics.
 * @returns its addresses, and what it is
 */
export async function startKafka(undo, topicPrefix) {
  const { startBroker } = await importTool('kafka-broker.js');
  const { kafkaVersion } = await importTool('kafka-settings.js');
  const broker = await startBroker({ port: 0, log: (line) => process.stderr.write(`${line}\n`) });
  undo.push(() => broker.stop());
  undo.push(() => deleteTopics(broker.brokers, topicPrefix));
  const kind = broker.how === 'environment' ? `at ${broker.brokers}` : `${kafkaVersion} (${broker.how})`;
  return { brokers: broker.brokers, kind };
}

async function deleteTopics(brokers, prefix) {
  const { Admin } = await import('@platformatic/kafka');
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: brokers.split(',') });
  const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
  if (topics.length > 0) await admin.deleteTopics({ topics });
  await admin.close();
}

/**
 * Opens a new buffer for writing.
 * @returns its writer, and flags of the program that lead to it
 */
export async function openBuffer(kind, site) {
  const { writer, flags } = await openers[kind](site);
  while (writer.partitions < partitionsOf[kind]) await sleep(20);
  return { writer, flags: ['--buffer', kind, '--kafka-topic', site.topic, ...flags] };
}

/**
 * Fills a buffer with `rows` events, `append` of them in each append: what a collector has when a partition is
 * idle again. Several streamers can read it, each with a group of its own.
 * @returns flags of the program that lead to it
 */
export async function fillBuffer(kind, site, load) {
  const { writer, flags } = await openBuffer(kind, site);
  const partitions = partitionsOf[kind];
  await Promise.all(
    Array.from({ length: partitions }, (_, p) =>
      fillPartition(writer, p, { ...load, rows: Math.floor((load.rows + p) / partitions) }),
    ),
  );
  await writer.close();
  return flags;
}

const openers = {
  async kafka({ brokers, topic }) {
    const { openKafkaWriter } = await importBuilt('buffer/kafka/writer.js');
    const writer = openKafkaWriter({
      brokers: brokers.split(','),
      topic,
      clientId: 'bench',
      compression: 'snappy',
      deliveryTimeoutMs: 10_000,
      createTopic: { partitions: partitionsOf.kafka, replication: 1, retentionMs: 86_400_000 },
      log: silent,
    });
    return { writer, flags: ['--kafka-brokers', brokers] };
  },
  async embedded({ dir, topic }) {
    const { openEmbeddedWriter } = await importBuilt('buffer/embedded/writer.js');
    const log = { dir: join(dir, 'log'), topic, partitions: partitionsOf.embedded };
    const writer = await openEmbeddedWriter({ ...log, maxBytes: 16 * 1024 ** 3, retentionMs: 86_400_000 });
    return { writer, flags: ['--data-dir', dir] };
  },
};

async function fillPartition(writer, partition, { rows, append, values }) {
  const { EventBatch } = await importBuilt('buffer/records.js');
  const batch = new EventBatch();
  for (let done = 0; done < rows; ) {
    batch.clear();
    const now = Date.now();
    const end = Math.min(rows, done + append);
    for (; done < end; done++) batch.add(values[done % values.length], now);
    await writer.append(partition, batch);
  }
}
