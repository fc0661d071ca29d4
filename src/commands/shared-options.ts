/** Options that several commands take. */
import type { OptionKey } from '../config/options.ts';

/** Options of everything that writes to the buffer. */
export const bufferOptions = [
  'buffer',
  'dataDir',
  'logPartitions',
  'logRetention',
  'logMaxBytes',
  'kafkaBrokers',
  'kafkaTopic',
  'kafkaCreateTopic',
  'kafkaPartitions',
  'kafkaReplication',
  'kafkaRetention',
  'kafkaCompression',
  'kafkaDeliveryTimeout',
] as const satisfies readonly OptionKey[];

/** Options of the collector alone. */
export const collectorOptions = [
  'listen',
  'statusHosts',
  'workers',
  'schema',
  'httpServer',
  'keepRequestIds',
  'maxBodyBytes',
  'maxEventBytes',
  'maxEventDepth',
  'maxEventKeys',
  'maxBatchEvents',
  'maxBodyValues',
  'maxCompressionRatio',
  'maxInFlightBytes',
  'maxRequests',
  'maxConnections',
  'appendInterval',
  'onOutage',
  'spoolMaxBytes',
  'drainDelay',
] as const satisfies readonly OptionKey[];

/** Options of everything that reads the buffer. */
export const readerOptions = [
  'buffer',
  'dataDir',
  'logPartitions',
  'logMaxBytes',
  'kafkaBrokers',
  'kafkaTopic',
  'kafkaGroup',
  'kafkaCreateTopic',
  'kafkaPartitions',
  'kafkaReplication',
  'kafkaRetention',
  'kafkaSessionTimeout',
  'kafkaDeliveryTimeout',
  'deadLetterTopic',
] as const satisfies readonly OptionKey[];

/** Options of the streamer alone. */
export const streamerOptions = [
  'streamListen',
  'batchRows',
  'batchBytes',
  'batchAge',
  'deduplicationWindow',
  'deduplicationIds',
  'settleAfter',
  'keepRaw',
  'maxDynamicPaths',
] as const satisfies readonly OptionKey[];

/** Options of everything that talks to ClickHouse. */
export const clickhouseOptions = [
  'clickhouseUrl',
  'clickhouseDatabase',
  'clickhouseUser',
  'clickhousePassword',
  'clickhouseReaderPassword',
  'clickhouseAuth',
  'clickhouseCluster',
  'clickhouseTimeout',
] as const satisfies readonly OptionKey[];

/** Options of the embedded ClickHouse alone. */
export const engineOptions = [
  'clickhouseReaderPassword',
  'clickhouseAuth',
  'clickhouseHosts',
  'clickhouseOrigins',
  'clickhouseSandbox',
] as const satisfies readonly OptionKey[];

/** Options of what is told to others about this process. */
export const reportingOptions = [
  'tracesEndpoint',
  'tracesSample',
  'sentryDsn',
] as const satisfies readonly OptionKey[];
