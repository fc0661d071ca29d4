/**
 * The table of options. Flags, `MILLRACE_*` variables, the keys of the file, the `--help` text and
 * docs/configuration.md all come from it.
 */
import type { z } from 'zod';
import * as type from './types.ts';

/** One option. `flag` is `--name`, the variable is `MILLRACE_NAME`, the key in a file is `name`. */
export interface Option<T = unknown> {
  /** Parses and checks text or a value from a file. */
  readonly schema: z.ZodType<T>;
  /** Default, written as a user would write it. Undefined: there is none, and the option may be absent. */
  readonly default?: string;
  /** What a value looks like in `--help`: `<host:port>`. */
  readonly placeholder: string;
  /** What it does, its unit and range; one or two sentences. */
  readonly doc: string;
  /** Heading in the documentation. */
  readonly group: 'collector' | 'buffer' | 'kafka' | 'streamer' | 'clickhouse' | 'client' | 'general';
  /** Never printed and never a flag: only `MILLRACE_NAME` or `MILLRACE_NAME_FILE`. */
  readonly secret?: true;
}

function option<S extends z.ZodType>(definition: Omit<Option, 'schema'> & { readonly schema: S }) {
  return definition;
}

/** All options, keyed as in code; `optionName` gives the name that users write. */
export const options = {
  config: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'YAML or JSON file with options, by the names used here. Flags and variables come before it.',
    group: 'general',
  }),
  logLevel: option({
    schema: type.oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent'),
    default: 'info',
    placeholder: '<level>',
    doc: 'Least severe log line to write: trace, debug, info, warn, error or silent. Logs are JSON lines on standard error.',
    group: 'general',
  }),
  tracesEndpoint: option({
    schema: type.endpoint.optional(),
    placeholder: '<url>',
    doc: 'Where spans go, by OTLP over HTTP in JSON: http://127.0.0.1:4318, or with a path other than /v1/traces. Without it nothing is traced. See docs/tracing.md.',
    group: 'general',
  }),
  tracesSample: option({
    schema: type.ratio,
    default: '0.01',
    placeholder: '<ratio>',
    doc: 'Part of the posts without a trace of their own that are traced, 0 to 1. Those with a `traceparent` are when that says so.',
    group: 'general',
  }),
  sentryDsn: option({
    schema: type.dsn.optional(),
    placeholder: '',
    doc: 'Where errors are reported, as `https://<key>@<host>/<project>`: Sentry, or what speaks its protocol. Without it nowhere. See docs/logs.md.',
    group: 'general',
    secret: true,
  }),
  dataDir: option({
    schema: type.text,
    default: './data',
    placeholder: '<dir>',
    doc: 'Directory of the embedded log, the spool and the embedded ClickHouse.',
    group: 'general',
  }),
  schema: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'JSON Schema (2020-12) that events must match. Without it, the schema that comes with Millrace: schemas/event.json.',
    group: 'general',
  }),

  listen: option({
    schema: type.address,
    default: '127.0.0.1:8080',
    placeholder: '<host:port>',
    doc: 'Address of the collector. It has no authentication: listen on loopback, or behind a proxy that you trust.',
    group: 'collector',
  }),
  workers: option({
    schema: type.integer(1, 256),
    default: '1',
    placeholder: '<n>',
    doc: 'Collector processes that share the port, 1 to 256.',
    group: 'collector',
  }),
  keepRequestIds: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Look at the `X-Request-Id` of every post, so that one that fails late has it in its answer and in the log, too. Without this only those that are refused at once have, and others get an id of ours.',
    group: 'collector',
  }),
  statusHosts: option({
    schema: type.hostNames,
    default: '',
    placeholder: '<host,...>',
    doc: 'Host names under which collector and streamer give /status, /metrics and receipts, beside addresses, localhost, the name that they listen on and the name of the machine: for others a request gets 403, since its name may have been made to point here. What Prometheus or a proxy calls them by, as collector-1.',
    group: 'general',
  }),
  httpServer: option({
    schema: type.oneOf('auto', 'uws', 'node'),
    default: 'auto',
    placeholder: '<kind>',
    doc: 'HTTP server of the collector: uws (uWebSockets.js, a binary made by others: npm run check:uws compares it), node (the slower one of Node.js, nothing but JavaScript), or auto: uws where it can be loaded.',
    group: 'collector',
  }),
  maxBodyBytes: option({
    schema: type.bytes(1024, 256 * 1024 ** 2),
    default: '5MiB',
    placeholder: '<size>',
    doc: 'Largest request body, before and after decompression each. Larger: 413.',
    group: 'collector',
  }),
  maxEventBytes: option({
    schema: type.bytes(64, 16 * 1024 ** 2),
    default: '256KiB',
    placeholder: '<size>',
    doc: 'Largest single event. Larger: 413, or rejected within a batch.',
    group: 'collector',
  }),
  maxEventDepth: option({
    schema: type.integer(1, 256),
    default: '32',
    placeholder: '<n>',
    doc: 'Deepest nesting of objects and arrays within an event.',
    group: 'collector',
  }),
  maxEventKeys: option({
    schema: type.integer(1, 100_000),
    default: '2000',
    placeholder: '<n>',
    doc: 'Most keys of an event, those of nested objects and of objects in arrays included.',
    group: 'collector',
  }),
  maxBatchEvents: option({
    schema: type.integer(1, 1_000_000),
    default: '20000',
    placeholder: '<n>',
    doc: 'Most events in one request. More: 413.',
    group: 'collector',
  }),
  maxBodyValues: option({
    schema: type.integer(1_000, 100_000_000),
    default: '250000',
    placeholder: '<n>',
    doc: 'Most values in one request: properties and elements of arrays at any depth, of all its events together. Small ones cost far more time and memory than their bytes. More: 413.',
    group: 'collector',
  }),
  maxCompressionRatio: option({
    schema: type.integer(2, 10_000),
    default: '100',
    placeholder: '<n>',
    doc: 'How many times as large a compressed body may become, 2 to 10000; up to 64 KiB always. Events pack to a tenth, seldom to a fiftieth. More: 413.',
    group: 'collector',
  }),
  maxInFlightBytes: option({
    schema: type.bytes(1024 ** 2),
    default: '32MiB',
    placeholder: '<size>',
    doc: 'Most bytes of bodies and events that one collector process holds before the buffer has stored them. Above it: 503 with Retry-After.',
    group: 'collector',
  }),
  maxRequests: option({
    schema: type.integer(1),
    default: '20000',
    placeholder: '<n>',
    doc: 'Most requests in progress in one collector process. Above it: 503 with Retry-After.',
    group: 'collector',
  }),
  maxConnections: option({
    schema: type.integer(1, 1_000_000),
    default: '10000',
    placeholder: '<n>',
    doc: 'Most connections open to one collector process; less where the system allows it fewer open files. More are closed at once.',
    group: 'collector',
  }),
  appendInterval: option({
    schema: type.duration(0, 1_000),
    default: '2ms',
    placeholder: '<duration>',
    doc: 'Shortest time from one append to the next while more than two events come in it, fewer than 32 wait and no batch is full. Longer: an event costs less, and its answer comes up to that much later. 0ms: never wait.',
    group: 'collector',
  }),
  onOutage: option({
    schema: type.oneOf('reject', 'spool'),
    default: 'reject',
    placeholder: '<what>',
    doc: 'What the collector does with events while Kafka cannot be reached: reject (503, clients send them again), or spool: keep them on the disk of this machine, below --data-dir, and deliver them when Kafka is back. Only with --buffer kafka. See docs/outages.md.',
    group: 'collector',
  }),
  spoolMaxBytes: option({
    schema: type.bytes(16 * 1024 ** 2),
    default: '4GiB',
    placeholder: '<size>',
    doc: 'Largest size of the spool. When it is full, new events get 503.',
    group: 'collector',
  }),
  drainDelay: option({
    schema: type.duration(0, 600_000),
    default: '0ms',
    placeholder: '<duration>',
    doc: 'When stopping: how long the collector first goes on serving, with 503 at /readyz and each answer closing its connection, so that a balancer looks elsewhere before the port closes. Behind a balancer, longer than its health check takes to notice. --stop-timeout begins after it.',
    group: 'collector',
  }),
  stopTimeout: option({
    schema: type.duration(100, 3_600_000),
    default: '20s',
    placeholder: '<duration>',
    doc: 'How long stopping may take: finishing requests, flushing, committing. Then the process exits with 1.',
    group: 'general',
  }),

  buffer: option({
    schema: type.oneOf('embedded', 'kafka'),
    default: 'embedded',
    placeholder: '<kind>',
    doc: 'Where acknowledged events wait for ClickHouse: embedded (a log in the data directory) or kafka.',
    group: 'buffer',
  }),
  logPartitions: option({
    schema: type.integer(1, 256),
    default: '1',
    placeholder: '<n>',
    doc: 'Partitions of the embedded log when it is created.',
    group: 'buffer',
  }),
  logRetention: option({
    schema: type.duration(0),
    default: '1d',
    placeholder: '<duration>',
    doc: 'How long the embedded log keeps records that were delivered. What was not delivered is never removed.',
    group: 'buffer',
  }),
  logMaxBytes: option({
    schema: type.bytes(16 * 1024 ** 2),
    default: '16GiB',
    placeholder: '<size>',
    doc: 'Largest size of the embedded log. Delivered records go first; when only undelivered ones are left, new events get 503.',
    group: 'buffer',
  }),

  kafkaBrokers: option({
    schema: type.addresses,
    default: '127.0.0.1:9092',
    placeholder: '<host:port,...>',
    doc: 'Kafka brokers to start from.',
    group: 'kafka',
  }),
  kafkaTopic: option({
    schema: type.text,
    default: 'events',
    placeholder: '<topic>',
    doc: 'Topic of the events; also the name of the embedded log.',
    group: 'kafka',
  }),
  kafkaGroup: option({
    schema: type.text,
    default: 'millrace',
    placeholder: '<group>',
    doc: 'Consumer group of the streamers.',
    group: 'kafka',
  }),
  kafkaCreateTopic: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Create the topic at start when it does not exist.',
    group: 'kafka',
  }),
  create: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Let `check` make what is missing: the topic, the database, the tables, new columns.',
    group: 'general',
  }),
  kafkaPartitions: option({
    schema: type.integer(1, 10_000),
    default: '4',
    placeholder: '<n>',
    doc: 'Partitions of the topic when it is created.',
    group: 'kafka',
  }),
  kafkaReplication: option({
    schema: type.integer(1, 100),
    default: '1',
    placeholder: '<n>',
    doc: 'Replicas of the topic when it is created. Use 3 in production; min.insync.replicas becomes one less, at least 1.',
    group: 'kafka',
  }),
  kafkaRetention: option({
    schema: type.duration(60_000),
    default: '7d',
    placeholder: '<duration>',
    doc: 'Retention of the topic when it is created.',
    group: 'kafka',
  }),
  kafkaCompression: option({
    schema: type.oneOf('snappy', 'none'),
    default: 'snappy',
    placeholder: '<codec>',
    doc: 'Compression of record batches: snappy or none.',
    group: 'kafka',
  }),
  kafkaDeliveryTimeout: option({
    schema: type.duration(500, 600_000),
    default: '10s',
    placeholder: '<duration>',
    doc: 'How long a batch is tried before its requests get 503.',
    group: 'kafka',
  }),
  kafkaSessionTimeout: option({
    schema: type.duration(6_000, 300_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'Without a heartbeat for this long, a streamer loses its partitions.',
    group: 'kafka',
  }),

  deadLetterTopic: option({
    schema: type.optionalText.optional(),
    placeholder: '<topic>',
    doc: 'Topic that dead letters go to as well; created with one partition when it does not exist. Without it: the name of the topic followed by -dead-letters. Empty: none, the table is enough.',
    group: 'kafka',
  }),

  streamListen: option({
    schema: type.address,
    default: '127.0.0.1:8081',
    placeholder: '<host:port>',
    doc: "Address of the streamer's /status, /livez, /readyz and /metrics.",
    group: 'streamer',
  }),
  batchRows: option({
    schema: type.integer(1, 1_000_000),
    default: '500000',
    placeholder: '<n>',
    doc: 'Most rows of one insert.',
    group: 'streamer',
  }),
  batchBytes: option({
    schema: type.bytes(1024, 64 * 1024 ** 2),
    default: '32MiB',
    placeholder: '<size>',
    doc: 'Most bytes of events in one insert, up to 64 MiB; with their bytes in `raw`, it carries them twice. A partition holds up to two batches in memory, and a copy of what is sent.',
    group: 'streamer',
  }),
  batchAge: option({
    schema: type.duration(10, 600_000),
    default: '1s',
    placeholder: '<duration>',
    doc: 'Shortest time from one insert of a partition to the next, full batches aside; after a pause rows wait a tenth of it. Lower is fresher, higher makes fewer parts.',
    group: 'streamer',
  }),
  deduplicationWindow: option({
    schema: type.duration(0, 86_400_000),
    default: '10m',
    placeholder: '<duration>',
    doc: 'How long an id is remembered after it was last seen, by the receive times in the log: an event that comes with it again goes to `repeats`, not to `events`. 0: never.',
    group: 'streamer',
  }),
  deduplicationIds: option({
    schema: type.integer(1, 100_000_000),
    default: '1000000',
    placeholder: '<n>',
    doc: 'Most ids remembered for each partition, about 50 bytes of memory each; the oldest are forgotten first.',
    group: 'streamer',
  }),
  settleAfter: option({
    schema: type.duration(0, 86_400_000),
    default: '30m',
    placeholder: '<duration>',
    doc: 'A plan older than this is settled by asking ClickHouse which of its rows are there, since its token may be forgotten. Below the time in which the server gets 100,000 inserts into the table.',
    group: 'streamer',
  }),

  clickhouseUrl: option({
    schema: type.httpUrl,
    default: 'http://127.0.0.1:8123',
    placeholder: '<url>',
    doc: "ClickHouse's HTTP interface; also where `start` and `clickhouse` run the embedded one.",
    group: 'clickhouse',
  }),
  clickhouseDatabase: option({
    schema: type.text,
    default: 'default',
    placeholder: '<database>',
    doc: 'Database of the tables; created when it does not exist.',
    group: 'clickhouse',
  }),
  clickhouseUser: option({
    schema: type.text,
    default: 'default',
    placeholder: '<user>',
    doc: 'ClickHouse user. In the embedded ClickHouse it is the owner, who may create, insert and drop; beside it there is `reader`, who may SELECT, and as whom `tail` and `sql` ask unless a password is given.',
    group: 'clickhouse',
  }),
  clickhousePassword: option({
    schema: type.optionalText.optional(),
    placeholder: '',
    doc: 'Password of the ClickHouse user; empty: none. Without it, the embedded ClickHouse makes one and keeps it in `clickhouse-password` in --data-dir, where its clients on this machine find it.',
    group: 'clickhouse',
    secret: true,
  }),
  clickhouseReaderPassword: option({
    schema: type.optionalText.optional(),
    placeholder: '',
    doc: 'Password of the ClickHouse user `reader`, who may only read. Without it, the embedded ClickHouse makes one and keeps it in `clickhouse-reader-password` in --data-dir.',
    group: 'clickhouse',
    secret: true,
  }),
  clickhouseAuth: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Let the embedded ClickHouse ask for a password. With --no-clickhouse-auth everybody who reaches its port is its owner: every program and every user of this machine. Refused on an address that is not loopback.',
    group: 'clickhouse',
  }),
  clickhouseCluster: option({
    schema: type.text.optional(),
    placeholder: '<cluster>',
    doc: 'Cluster for ON CLUSTER; tables become ReplicatedMergeTree.',
    group: 'clickhouse',
  }),
  keepRaw: option({
    schema: type.keeping(60_000),
    default: 'always',
    placeholder: '<time>',
    doc: 'How long the column `raw` keeps the bytes of each event: always, never, or a duration of at least 1m after it was received. Without them, `verify --content` has nothing to compare. See docs/data.md.',
    group: 'clickhouse',
  }),
  maxDynamicPaths: option({
    schema: type.integer(0, 1024),
    default: '128',
    placeholder: '<n>',
    doc: 'Undeclared properties that have columns of their own in each part of table `events`, 0 to 1024; the others share some. For tables that are made: an existing one keeps its own. See docs/data.md.',
    group: 'clickhouse',
  }),
  clickhouseTimeout: option({
    schema: type.duration(1_000, 3_600_000),
    default: '120s',
    placeholder: '<duration>',
    doc: 'How long one request to ClickHouse may take before it is tried again with the same token.',
    group: 'clickhouse',
  }),
  clickhouseHosts: option({
    schema: type.hostNames,
    default: '',
    placeholder: '<name,...>',
    doc: 'Names by which the embedded ClickHouse may be called, beside the address that it listens on and loopback: requests with any other `Host` are refused, since a web page may have made that name lead here.',
    group: 'clickhouse',
  }),
  clickhouseOrigins: option({
    schema: type.origins,
    default: '',
    placeholder: '<origin,...>',
    doc: 'Web pages that may use the embedded ClickHouse, as https://console.example. Those of every other site are refused, whatever password they have.',
    group: 'clickhouse',
  }),
  clickhouseSandbox: option({
    schema: type.oneOf('auto', 'bubblewrap', 'landlock', 'systemd', 'none'),
    default: 'auto',
    placeholder: '<kind>',
    doc: 'What confines the process of the embedded ClickHouse to its own files: bubblewrap, landlock (by setpriv), systemd (the unit that it runs in), none, or auto: the first of these that works here. See docs/security.md.',
    group: 'clickhouse',
  }),
  embeddedClickhouse: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Let `start` run the embedded ClickHouse at --clickhouse-url.',
    group: 'clickhouse',
  }),

  url: option({
    schema: type.httpUrl,
    default: 'http://127.0.0.1:8080',
    placeholder: '<url>',
    doc: 'Collector to send to.',
    group: 'client',
  }),
  rate: option({
    schema: type.positiveNumber.optional(),
    placeholder: '<n>',
    doc: 'Events a second to send, whether or not the collector keeps up. Without it: as fast as it answers.',
    group: 'client',
  }),
  speed: option({
    schema: type.positiveNumber.optional(),
    placeholder: '<factor>',
    doc: "Follow the clock of the file, this many times as fast: 1 is real time. Takes each event's `time`; not with --rate.",
    group: 'client',
  }),
  batch: option({
    schema: type.integer(1, 1_000_000),
    default: '500',
    placeholder: '<n>',
    doc: 'Most events in one request; a request also ends at 1 MiB, and when paced at 100 ms. 1: single JSON posts.',
    group: 'client',
  }),
  concurrency: option({
    schema: type.integer(1, 1024),
    default: '4',
    placeholder: '<n>',
    doc: 'Most requests in flight, 1 to 1024. With 1, events are stored in the order of the file.',
    group: 'client',
  }),
  format: option({
    schema: type.oneOf('auto', 'ndjson', 'access-log'),
    default: 'auto',
    placeholder: '<format>',
    doc: 'What the file holds: ndjson (an event a line), access-log (combined format), or auto: ndjson when the first line starts with {.',
    group: 'client',
  }),
  file: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'File with SQL, in UTF-8; - is standard input. Statements with semicolons between run one after the other, up to the first that fails.',
    group: 'client',
  }),
  outputFormat: option({
    schema: type.text.optional(),
    placeholder: '<format>',
    doc: 'Format of the result: CSVWithNames, JSONEachRow, Parquet, Vertical or any other output format of ClickHouse. Without it PrettyCompact on a terminal, else TabSeparatedWithNames.',
    group: 'client',
  }),
  retryFor: option({
    schema: type.duration(0, 86_400_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'How long a request is tried again while the collector is busy or away. When an answer was lost, the retry may store an event twice, unless the event has an id.',
    group: 'client',
  }),
  skip: option({
    schema: type.integer(0),
    default: '0',
    placeholder: '<lines>',
    doc: 'Lines of the file to leave out at the start: how to go on after an interrupted run.',
    group: 'client',
  }),
  json: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Print JSON: the result as one line, dead letters one a line.',
    group: 'client',
  }),

  limit: option({
    schema: type.integer(0, 100_000),
    default: '10',
    placeholder: '<n>',
    doc: 'Most rows from the past to print; for `dead-letters list`, most dead letters.',
    group: 'client',
  }),
  follow: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Wait for new rows and print them as they arrive. --no-follow ends after those from the past.',
    group: 'client',
  }),
  filter: option({
    schema: type.text.optional(),
    placeholder: '<sql>',
    doc: 'SQL condition on table `events` that rows must meet, as "os = \'linux\'".',
    group: 'client',
  }),

  receipts: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'A client\'s own list of what was acknowledged, to compare as well: NDJSON of receipts, as {"partition":0,"offset":17}, or of whole answers of the collector; - is standard input.',
    group: 'client',
  }),
  since: option({
    schema: type.time.optional(),
    placeholder: '<time>',
    doc: 'Only what was received at this time or later: a duration ago, as 1h, or an RFC 3339 time.',
    group: 'client',
  }),
  until: option({
    schema: type.time.optional(),
    placeholder: '<time>',
    doc: 'Only what was received before this time: a duration ago, as 1h, or an RFC 3339 time.',
    group: 'client',
  }),
  partition: option({
    schema: type.integer(0).optional(),
    placeholder: '<n>',
    doc: 'Only dead letters of this partition.',
    group: 'client',
  }),
  offset: option({
    schema: type.range.optional(),
    placeholder: '<n[-m]>',
    doc: 'Only dead letters at this offset, as 12, or in this range, as 12-40, both ends included.',
    group: 'client',
  }),
  code: option({
    schema: type.integer(0, 2 ** 32 - 1).optional(),
    placeholder: '<n>',
    doc: 'Only dead letters refused with this error code of ClickHouse, as 117; 0: those that cannot be read.',
    group: 'client',
  }),
  reason: option({
    schema: type.text.optional(),
    placeholder: '<text>',
    doc: 'Only dead letters whose reason contains this text, in any case.',
    group: 'client',
  }),
  dryRun: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'For `dead-letters replay`: say what it would do, trying each row without storing it, and change nothing.',
    group: 'client',
  }),
  skipDuplicatePaths: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'For `dead-letters replay`: take events that have a key twice: the first value is kept, the others are dropped.',
    group: 'client',
  }),
  content: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Compare the bytes of every record with column `raw` as well, not only whether it is there. Reads both whole.',
    group: 'client',
  }),
  all: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Compare from offset 0 on, also what the buffer holds no longer. Rows that a TTL has removed look like loss there.',
    group: 'client',
  }),
  wait: option({
    schema: type.duration(0, 86_400_000),
    default: '0s',
    placeholder: '<duration>',
    doc: 'First wait, at most this long, until everything that is in the buffer now is delivered; exit code 99 when it is not. For `bench`: how long to wait until everything that was sent is stored; 0s stands for 60s there.',
    group: 'client',
  }),

  load: option({
    schema: type.text,
    default: 'const:1000:10s',
    placeholder: '<profile>',
    doc: 'Requests a second over time: const:RATE:DURATION, line:FROM:TO:DURATION, step:FROM:TO:BY:DURATION (of each step), or several of them with commas between, one after the other.',
    group: 'client',
  }),
  eventsPerPost: option({
    schema: type.integer(1, 20_000),
    default: '1',
    placeholder: '<n>',
    doc: 'Events in each request, 1 to 20000. 1: single JSON posts; more: NDJSON.',
    group: 'client',
  }),
  payload: option({
    schema: type.text,
    default: 'classic',
    placeholder: '<what>',
    doc: 'Events to send: classic (one small event), mix (some hundreds of different ones), or a file with a JSON event a line.',
    group: 'client',
  }),
  path: option({
    schema: type.urlPath,
    default: '/v1/events',
    placeholder: '<path>',
    doc: 'Where on the collector to post to: /v1/events or /post.',
    group: 'client',
  }),
  connections: option({
    schema: type.integer(1, 50_000),
    default: '64',
    placeholder: '<n>',
    doc: 'Most connections, each with one request at a time, 1 to 50000. Requests that find none free wait, and the wait counts.',
    group: 'client',
  }),
  freshConnections: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Make a new connection for each request, as clients do that post once.',
    group: 'client',
  }),
  tlsVerify: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Check the certificate of an https collector. --no-tls-verify takes any.',
    group: 'client',
  }),
  warmUp: option({
    schema: type.duration(0, 3_600_000),
    default: '2s',
    placeholder: '<duration>',
    doc: 'Load before each measured run, at its first rate, that no figure counts; its events are reconciled with the others.',
    group: 'client',
  }),
  answerTimeout: option({
    schema: type.duration(1, 3_600_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'How long an answer may take from when its request was sent; then the request counts as failed.',
    group: 'client',
  }),
  reconcile: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'At the end ask ClickHouse whether every acknowledged event is stored, exactly once.',
    group: 'client',
  }),
  streamerUrl: option({
    schema: type.httpUrl.optional(),
    placeholder: '<url>',
    doc: 'Where the streamer serves /metrics, for its lag and its cost. Without it: port 8081 of the host in --url; when nobody answers there, nothing is said about the streamer.',
    group: 'client',
  }),
  report: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'Write the result as JSON to this file, too, with every second of the run.',
    group: 'client',
  }),
  slo: option({
    schema: type.text.optional(),
    placeholder: '<terms>',
    doc: 'What must hold, terms with commas between: p50, p90, p99, p99.9 or max with a limit, as p99<100ms; errors<1%; loss=0. `bench` ends with 99 when one is missed; `bench max` finds the highest rate at which all hold, without this option for p99<100ms,loss=0.',
    group: 'client',
  }),
  startRate: option({
    schema: type.integer(1, 1_000_000),
    default: '1000',
    placeholder: '<n>',
    doc: 'For `bench max`: requests a second to begin with, 1 to 1000000.',
    group: 'client',
  }),
  stepTime: option({
    schema: type.duration(100, 3_600_000),
    default: '10s',
    placeholder: '<duration>',
    doc: 'For `bench max`: how long each rate is tried.',
    group: 'client',
  }),
  confirmTime: option({
    schema: type.duration(100, 86_400_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'For `bench max`: length of each of the three runs that confirm the rate found.',
    group: 'client',
  }),
  rounds: option({
    schema: type.integer(3, 1_000),
    default: '5',
    placeholder: '<n>',
    doc: 'For `bench compare`: how often both run, 3 to 1000. More rounds make the intervals narrower.',
    group: 'client',
  }),
} as const satisfies Record<string, Option>;

/** Name of an option in code. */
export type OptionKey = keyof typeof options;

/** All options, parsed. */
export type Config = { readonly [K in OptionKey]: z.output<(typeof options)[K]['schema']> };

/** The name that users write: `kafkaBrokers` is `kafka-brokers`. */
export function optionName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The environment variable of an option: `kafkaBrokers` is `MILLRACE_KAFKA_BROKERS`. */
export function variableName(key: string): string {
  return `MILLRACE_${optionName(key).replaceAll('-', '_').toUpperCase()}`;
}
