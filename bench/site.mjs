/** Where a benchmark of the collector happens: a directory, and a Kafka if one is wanted. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { importBuilt, importTool } from './program.mjs';

/** Topics of this run begin so. */
export const topicPrefix = `bench-${process.pid}-${Date.now()}`;

/** Partitions of a topic in Kafka. */
export const partitions = 4;

/**
 * @param dir the directory of the site is made in it
 * @returns `dir`; `kafka`, a word on what it is; `brokers`, unless `needsKafka` is false
 * @throws OperatorError (exit 69) when no Kafka can be had
 */
export async function openSite({ dir: parent, needsKafka }, undo) {
  await importBuilt('version.js');
  const dir = await mkdtemp(join(parent, 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  if (!needsKafka) return { dir, kafka: 'not used' };
  const { startBroker } = await importTool('kafka-broker.js');
  const { kafkaVersion } = await importTool('kafka-settings.js');
  const broker = await startBroker({ port: 0, log: (line) => process.stderr.write(`${line}\n`) });
  undo.push(() => broker.stop());
  undo.push(() => deleteTopics(broker.brokers));
  const kafka = broker.how === 'environment' ? `at ${broker.brokers}` : `${kafkaVersion} (${broker.how})`;
  return { dir, kafka, brokers: broker.brokers };
}

/** For a program that does not make its topic itself. */
export async function createTopic(brokers, topic) {
  const { ensureTopic } = await importBuilt('buffer/kafka/topics.js');
  const address = { brokers: brokers.split(','), topic, clientId: 'bench' };
  await ensureTopic(address, { partitions, replication: 1, retentionMs: 3_600_000 });
}

/** A broker that was there before is left as it was. */
async function deleteTopics(brokers) {
  const { Admin } = await import('@platformatic/kafka');
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: brokers.split(',') });
  const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(topicPrefix));
  if (topics.length > 0) await admin.deleteTopics({ topics });
  await admin.close();
}
