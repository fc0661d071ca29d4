/** Opens the buffer that the configuration names: the one place that knows all adapters. */
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BufferInspector, BufferReader, BufferWriter } from '../buffer/buffer.ts';
import { credentialsFor, type Role } from '../clickhouse/credentials.ts';
import type { TablesOptions } from '../clickhouse/table-definitions.ts';
import type { Config } from '../config/options.ts';
import { formatAddress } from '../config/types.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { prepareDataDirectory } from '../process/data-directory.ts';
import type { EventSchema } from '../schema/schema.ts';

/**
 * Opens the writing end.
 * @throws OperatorError exit 78 when the data directory is not for this user alone
 */
export async function openWriter(config: Config, log: Logger): Promise<BufferWriter> {
  if (config.buffer === 'kafka') {
    const { openKafkaWriter } = await import('../buffer/kafka/writer.ts');
    return openKafkaWriter({
      brokers: brokersOf(config),
      topic: config.kafkaTopic,
      clientId: 'millrace-collector',
      compression: config.kafkaCompression,
      deliveryTimeoutMs: config.kafkaDeliveryTimeout,
      createTopic: topicToCreate(config),
      log,
    });
  }
  prepareDataDirectory(config.dataDir, log);
  const { openEmbeddedWriter } = await import('../buffer/embedded/writer.ts');
  return openEmbeddedWriter({
    dir: logDirectory(config),
    topic: config.kafkaTopic,
    partitions: config.logPartitions,
    maxBytes: config.logMaxBytes,
    retentionMs: config.logRetention,
    log,
  });
}

/**
 * Opens the reading end.
 * @throws OperatorError exit 78 when the data directory is not for this user alone
 */
export async function openReader(config: Config, log: Logger): Promise<BufferReader> {
  if (config.buffer === 'kafka') {
    const { openKafkaReader } = await import('../buffer/kafka/reader.ts');
    return openKafkaReader({
      brokers: brokersOf(config),
      topic: config.kafkaTopic,
      group: config.kafkaGroup,
      clientId: 'millrace-streamer',
      sessionTimeoutMs: config.kafkaSessionTimeout,
      createTopic: topicToCreate(config),
      log,
    });
  }
  prepareDataDirectory(config.dataDir, log);
  const { openEmbeddedReader } = await import('../buffer/embedded/reader.ts');
  return openEmbeddedReader({
    dir: logDirectory(config),
    topic: config.kafkaTopic,
    partitions: config.logPartitions,
    maxBytes: config.logMaxBytes,
    group: config.kafkaGroup,
    log,
  });
}

/**
 * Opens the buffer for looking at it: nothing is created.
 * @throws OperatorError exit 69 when there is no embedded log, or it cannot be opened
 */
export async function openInspector(config: Config, log: Logger): Promise<BufferInspector> {
  if (config.buffer === 'kafka') {
    const { openKafkaInspector } = await import('../buffer/kafka/inspector.ts');
    return openKafkaInspector({
      brokers: brokersOf(config),
      topic: config.kafkaTopic,
      group: config.kafkaGroup,
      clientId: 'millrace-inspector',
      log,
    });
  }
  const { openEmbeddedInspector } = await import('../buffer/embedded/inspector.ts');
  return openEmbeddedInspector({
    dir: logDirectory(config),
    topic: config.kafkaTopic,
    maxBytes: config.logMaxBytes,
    group: config.kafkaGroup,
  });
}

/** Brokers as the Kafka client takes them. */
export function brokersOf(config: Config): string[] {
  return config.kafkaBrokers.map(formatAddress);
}

/** How to create the topic; undefined when that is not wanted. */
export function topicToCreate(config: Config) {
  if (!config.kafkaCreateTopic) return undefined;
  const { kafkaPartitions: partitions, kafkaReplication: replication, kafkaRetention: retentionMs } = config;
  return { partitions, replication, retentionMs };
}

/** Directory of the embedded log. */
function logDirectory(config: Config): string {
  return join(config.dataDir, 'log');
}

/** What `check` finds about the topic. */
interface TopicCheck {
  /** It does not exist. */
  readonly isMissing: boolean;
  /** It was made just now. */
  readonly isNew: boolean;
  readonly partitions: number;
  /** Partitions without a leader, which take no events now. */
  readonly leaderless: number;
}

/** Looks at the topic, and makes it when it is missing and `create` is true. */
export async function checkTopic(config: Config, create: boolean): Promise<TopicCheck> {
  const { describeTopic, ensureTopic } = await import('../buffer/kafka/topics.ts');
  const address = { brokers: brokersOf(config), topic: config.kafkaTopic, clientId: 'millrace-check' };
  const before = await describeTopic(address);
  if (before.exists || !create) return { ...before, isMissing: !before.exists, isNew: false };
  const { kafkaPartitions: partitions, kafkaReplication: replication, kafkaRetention: retentionMs } = config;
  const { created } = await ensureTopic(address, { partitions, replication, retentionMs });
  return { isMissing: false, isNew: created, partitions, leaderless: 0 };
}

/**
 * Refuses a spool beside the embedded log: that is no more away than the disk that the spool would be on.
 * @throws OperatorError exit 78
 */
export function checkOutage({ buffer, onOutage }: Config): void {
  if (buffer !== 'embedded' || onOutage !== 'spool') return;
  throw new OperatorError(
    '--on-outage spool needs --buffer kafka: the embedded log is already on the disk of this machine, where the spool ' +
      'would be. Leave it out, or give --buffer kafka',
    exitCodes.configuration,
  );
}

/**
 * How to reach ClickHouse by the configuration, and as whom.
 * @throws OperatorError exit 78 or 69 when the file of a password cannot be used
 */
export function clickhouseClientOptions(config: Config, database: string, role: Role = 'owner') {
  return {
    url: config.clickhouseUrl,
    database,
    ...credentialsFor(config, role),
    timeoutMs: config.clickhouseTimeout,
  };
}

/** How the tables are to be, by the configuration. */
export function tablesOptions(config: Config, { columns }: EventSchema): TablesOptions {
  const { clickhouseDatabase: database, clickhouseCluster: cluster, keepRaw, maxDynamicPaths } = config;
  return { database, cluster, columns, keepRaw, maxDynamicPaths };
}
