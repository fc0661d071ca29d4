/**
 * Compares Kafka clients for what Millrace does with Kafka: write batches, each to one partition with one in
 * flight per partition, and read them all. Runs are interleaved, each in a process of its own, so that
 * whatever else the machine does meets all of them.
 *
 *   npm run build
 *   npm run kafka                                   # in another terminal
 *   node bench/kafka-clients.mjs --brokers 127.0.0.1:9092 [--rounds 5] [--records 1000000]
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Consumer, ProduceAcks, Producer } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import pino from 'pino';
import snappy from 'snappy';
import { openKafkaReader } from '../dist/buffer/kafka/reader.js';
import { ensureTopic } from '../dist/buffer/kafka/topics.js';
import { openKafkaWriter } from '../dist/buffer/kafka/writer.js';
import { EventBatch } from '../dist/buffer/records.js';

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: (encoder) => snappy.compress(encoder.buffer),
  decompress: (buffer) => snappy.uncompress(buffer, { asBuffer: true }),
});

const event = Buffer.from('{"event":"view","os":"linux","browser":"chrome"}');
const partitions = 4;
const log = pino({ level: 'silent' });
const clients = ['millrace', '@platformatic/kafka', 'kafkajs'];

const { values: options } = parseArgs({
  options: {
    brokers: { type: 'string', default: '127.0.0.1:9092' },
    rounds: { type: 'string', default: '5' },
    records: { type: 'string', default: '1000000' },
    // For the child processes.
    role: { type: 'string' },
    client: { type: 'string' },
    size: { type: 'string' },
    topic: { type: 'string' },
  },
});
const brokers = options.brokers.split(',');
const records = Number(options.records);

/** Each gives `send(partition, size)`, which resolves when all in-sync replicas have the batch. */
const producers = {
  async millrace(topic) {
    const writer = await openReadyWriter(topic);
    const batches = Array.from({ length: partitions }, () => new EventBatch());
    return {
      send(partition, size) {
        const batch = batches[partition];
        batch.clear();
        const now = Date.now();
        for (let i = 0; i < size; i++) batch.add(event, now);
        return writer.append(partition, batch);
      },
      close: () => writer.close(),
    };
  },
  async '@platformatic/kafka'(topic) {
    const producer = new Producer({
      clientId: 'bench',
      bootstrapBrokers: brokers,
      compression: 'snappy',
      acks: ProduceAcks.ALL,
      idempotent: true,
    });
    return {
      send(partition, size) {
        const timestamp = BigInt(Date.now());
        const messages = [];
        for (let i = 0; i < size; i++) messages.push({ topic, partition, value: event, timestamp });
        return producer.send({ messages });
      },
      close: () => producer.close(),
    };
  },
  async kafkajs(topic) {
    // Not idempotent: its idempotent producer is not safe with several sends at a time.
    const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer();
    await producer.connect();
    return {
      send(partition, size) {
        const timestamp = String(Date.now());
        const messages = [];
        for (let i = 0; i < size; i++) messages.push({ partition, value: event, timestamp });
        return producer.send({ topic, acks: -1, compression: CompressionTypes.Snappy, messages });
      },
      close: () => producer.disconnect(),
    };
  },
};

/** Each reads a topic from its start and calls `onRecords(count, bytes)`. */
const consumers = {
  async millrace(topic, onRecords) {
    const group = randomUUID();
    const reader = openKafkaReader({
      brokers,
      topic,
      group,
      clientId: 'bench',
      sessionTimeoutMs: 30_000,
      log,
    });
    void reader.run(async (owned) => {
      for (let position = 0; !owned.signal.aborted; ) {
        const { blocks, next } = await owned.read(position, { maxBytes: 1024 * 1024, maxWaitMs: 1000 });
        for (const { count, starts, ends } of blocks) {
          let bytes = 0;
          for (let i = 0; i < count; i++) bytes += ends[i] - starts[i];
          onRecords(count, bytes);
        }
        position = next;
      }
    });
    return () => reader.close();
  },
  async '@platformatic/kafka'(topic, onRecords) {
    const consumer = new Consumer({ clientId: 'bench', groupId: randomUUID(), bootstrapBrokers: brokers });
    const stream = await consumer.consume({
      topics: [topic],
      mode: 'earliest',
      autocommit: false,
      maxWaitTime: 1000,
      maxBytes: 4 * 1024 * 1024,
    });
    stream.on('data', (message) => onRecords(1, message.value.length));
    return () => consumer.close(true);
  },
  async kafkajs(topic, onRecords) {
    const consumer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).consumer({
      groupId: randomUUID(),
      maxWaitTimeInMs: 1000,
    });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: partitions,
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch }) => {
        let bytes = 0;
        for (const message of batch.messages) bytes += message.value.length;
        onRecords(batch.messages.length, bytes);
      },
    });
    return () => consumer.disconnect();
  },
};

async function openReadyWriter(topic) {
  const compression = 'snappy';
  const writer = openKafkaWriter({
    brokers,
    topic,
    clientId: 'bench',
    compression,
    deliveryTimeoutMs: 30_000,
    log,
  });
  while (!writer.state().ok) await new Promise((resolve) => setTimeout(resolve, 10));
  return writer;
}

async function createTopic() {
  const topic = `bench-${randomUUID()}`;
  const settings = { partitions, replication: 1, retentionMs: 600_000 };
  await ensureTopic({ brokers, topic, clientId: 'bench' }, settings);
  return topic;
}

async function sendAll(producer, size, total) {
  const rounds = Math.ceil(total / size / partitions);
  const loops = Array.from({ length: partitions }, async (_, partition) => {
    for (let i = 0; i < rounds; i++) await producer.send(partition, size);
  });
  await Promise.all(loops);
  return rounds * size * partitions;
}

function startMeter() {
  const cpu = process.cpuUsage();
  const time = performance.now();
  return (count) => {
    const seconds = (performance.now() - time) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { recordsPerSecond: count / seconds, cpuMicros: (user + system) / count };
  };
}

async function measureProducer(client, size) {
  const producer = await producers[client](await createTopic());
  await sendAll(producer, size, records / 2);
  const stop = startMeter();
  const result = stop(await sendAll(producer, size, records));
  await producer.close();
  return result;
}

async function measureConsumer(client, topic, total) {
  let seen = 0;
  let stop;
  const warm = total / 3;
  let warmed = 0;
  let close;
  const result = await new Promise((resolve) => {
    close = consumers[client](topic, (count) => {
      seen += count;
      if (stop === undefined && seen >= warm) {
        warmed = seen;
        stop = startMeter();
      }
      if (seen >= total) resolve(stop(seen - warmed));
    });
  });
  await (await close)();
  return result;
}

function median(numbers) {
  return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

async function runChild(role, client, size, topic) {
  const self = fileURLToPath(import.meta.url);
  const args = ['--role', role, '--client', client, '--size', String(size), '--records', String(records)];
  const { stdout } = await promisify(execFile)(process.execPath, [
    self,
    '--brokers',
    options.brokers,
    ...args,
    ...(topic === undefined ? [] : ['--topic', topic]),
  ]);
  return JSON.parse(stdout);
}

async function compare() {
  const require = createRequire(import.meta.url);
  const versionOf = (name) => require(`../node_modules/${name}/package.json`).version;
  const [cpu] = cpus();
  console.log(`${cpus().length} x ${cpu.model}; Node ${process.versions.node}`);
  console.log(`@platformatic/kafka ${versionOf('@platformatic/kafka')}, kafkajs ${versionOf('kafkajs')}`);
  console.log(`${partitions} partitions, one replica, acks=all, snappy, one batch in flight per partition`);
  console.log('idempotent: millrace and @platformatic/kafka; not kafkajs');
  console.log(`medians of ${options.rounds} interleaved runs of ${records} records\n`);
  console.log('| role | batch | client | records/s | CPU µs a record | against millrace |');
  console.log('|---|---|---|---|---|---|');
  for (const role of ['producer', 'consumer']) {
    for (const size of [100, 1000]) {
      let topic;
      if (role === 'consumer') {
        topic = await createTopic();
        const producer = await producers.millrace(topic);
        await sendAll(producer, size, records);
        await producer.close();
      }
      const results = new Map(clients.map((client) => [client, []]));
      for (let round = 0; round < Number(options.rounds); round++) {
        for (const client of clients) results.get(client).push(await runChild(role, client, size, topic));
      }
      const base = median(results.get('millrace').map((result) => result.cpuMicros));
      for (const [client, runs] of results) {
        const rate = median(runs.map((run) => run.recordsPerSecond));
        const micros = median(runs.map((run) => run.cpuMicros));
        const ratio = (micros / base).toFixed(1);
        console.log(
          `| ${role} | ${size} | ${client} | ${Math.round(rate)} | ${micros.toFixed(2)} | ${ratio} |`,
        );
      }
    }
  }
}

if (options.role === undefined) {
  await compare();
} else {
  const { role, client, topic } = options;
  const size = Number(options.size);
  const total = Math.ceil(records / size / partitions) * size * partitions;
  const result =
    role === 'producer' ? await measureProducer(client, size) : await measureConsumer(client, topic, total);
  process.stdout.write(JSON.stringify(result), () => process.exit());
}
