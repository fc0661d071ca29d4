import type { Logger } from 'pino';
import { createClickHouse } from '../clickhouse/client.ts';
import type { Config } from '../config/options.ts';
import { formatAddress } from '../config/types.ts';
import type { DeadLetterTopic } from '../dead-letters/dead-letter-topic.ts';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { flushReports } from '../logger.ts';
import { probePort } from '../process/hosts.ts';
import { announceReady, stopGracefully } from '../process/lifecycle.ts';
import { loadSchema } from '../schema/schema.ts';
import { type StreamerOptions, startStreamer } from '../streamer/streamer.ts';
import { openTracer } from '../tracing/open-tracer.ts';
import {
  type Command,
  clickhouseOptions,
  readerOptions,
  reportingOptions,
  streamerOptions,
} from './command.ts';
import {
  brokersOf,
  clickhouseClientOptions,
  openReader,
  tablesOptions,
  topicToCreate,
} from './open-buffer.ts';

/**
 * Above the number of partitions of a streamer: an insert must not wait for a connection after its lease was
 * looked at. They are opened as they are needed.
 */
const connections = 1_024;

/** `millrace stream`. */
export const stream: Command = {
  arguments: [],
  options: [
    ...readerOptions,
    ...clickhouseOptions,
    ...streamerOptions,
    'statusHosts',
    'schema',
    ...reportingOptions,
    'stopTimeout',
    'logLevel',
    'config',
  ],
  examples: [
    'millrace stream',
    'millrace stream --buffer kafka --kafka-brokers 10.0.0.1:9092 --clickhouse-url http://10.0.0.2:8123',
  ],
  async run({ config, log }) {
    const schema = loadSchema(config.schema);
    const port = await probePort(config.streamListen, 'stream-listen');
    const clickhouse = createClickHouse({ ...clickhouseClientOptions(config, ''), connections });
    const options: StreamerOptions = {
      listen: { host: config.streamListen.host, port },
      reader: await openReader(config, log),
      buffer: config.buffer,
      statusHosts: config.statusHosts,
      clickhouse,
      tables: tablesOptions(config, schema),
      limits: { rows: config.batchRows, bytes: config.batchBytes, ageMs: config.batchAge },
      idsLimits: { windowMs: config.deduplicationWindow, maxIds: config.deduplicationIds },
      settleAfterMs: config.settleAfter,
      deadLetterTopic: await openDeadLetters(config, log),
      tracer: await openTracer('stream', config, log),
      log,
    };
    const streamer = await startStreamer(options);
    stopGracefully(() => streamer.stop(), { log, timeoutMs: config.stopTimeout });
    const url = `http://${formatAddress({ host: config.streamListen.host, port: streamer.port })}`;
    log.info(
      { url },
      `streaming from ${config.buffer} to ${config.clickhouseUrl.origin}; status at ${url}/status`,
    );
    streamer.ready.then(
      () => announceReady({ port: streamer.port }),
      () => {},
    );
    streamer.done.catch((error: unknown) => {
      // An OperatorError says all there is to say.
      const fields = error instanceof OperatorError ? {} : { err: error };
      log.fatal(fields, `delivery cannot continue: ${messageOf(error)}`);
      const code = error instanceof Error && 'exitCode' in error ? Number(error.exitCode) : exitCodes.failure;
      void flushReports(log).finally(() => process.exit(code));
    });
    return undefined;
  },
};

/** On Kafka, dead letters also go to a topic. */
async function openDeadLetters(config: Config, log: Logger): Promise<DeadLetterTopic | undefined> {
  if (config.buffer !== 'kafka' || config.deadLetterTopic === '') return undefined;
  const { openDeadLetterTopic } = await import('../dead-letters/dead-letter-topic.ts');
  const topic = config.deadLetterTopic ?? `${config.kafkaTopic}-dead-letters`;
  const created = topicToCreate(config);
  return openDeadLetterTopic({
    brokers: brokersOf(config),
    topic,
    clientId: 'millrace-dead-letters',
    createTopic: created === undefined ? undefined : { ...created, partitions: 1 },
    deliveryTimeoutMs: config.kafkaDeliveryTimeout,
    log,
  });
}
