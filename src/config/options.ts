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
    doc: 'YAML or JSON file with options, under the names used here. Flags and variables override it.',
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
    doc: 'Receiver of spans, by OTLP over HTTP in JSON: http://127.0.0.1:4318, or with a path other than /v1/traces. Without it nothing is traced. See docs/tracing.md.',
    group: 'general',
  }),
  tracesSample: option({
    schema: type.ratio,
    default: '0.01',
    placeholder: '<ratio>',
    doc: 'Share of posts without a trace of their own that are traced, 0 to 1. A post with a `traceparent` is traced when that header says so.',
    group: 'general',
  }),
  sentryDsn: option({
    schema: type.dsn.optional(),
    placeholder: '',
    doc: 'Where errors are reported, as `https://<key>@<host>/<project>`: Sentry, or a server that speaks its protocol. Without it errors are only logged. See docs/logs.md.',
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
    doc: 'JSON Schema (2020-12) that events must match. The default is the schema that comes with Millrace: schemas/event.json.',
    group: 'general',
  }),

  listen: option({
    schema: type.address,
    default: '127.0.0.1:8080',
    placeholder: '<host:port>',
    doc: 'Address of the collector. It has no authentication: listen on a loopback address, or behind a proxy that you trust.',
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
    doc: 'Read the `X-Request-Id` of every post, so that a late failure carries it in the answer and the log. Without this, only posts refused at once carry it; the others get an id that the collector generates.',
    group: 'collector',
  }),
  statusHosts: option({
    schema: type.hostNames,
    default: '',
    placeholder: '<host,...>',
    doc: 'Host names under which the collector and the streamer serve /status, /metrics and receipts, in addition to IP addresses, localhost, the name that they listen on and the name of the machine. A request under any other name gets 403, since anybody can make a name point here. List the names that Prometheus or a proxy uses, such as collector-1.',
    group: 'general',
  }),
  httpServer: option({
    schema: type.oneOf('auto', 'uws', 'node'),
    default: 'auto',
    placeholder: '<kind>',
    doc: 'HTTP server of the collector: uws (uWebSockets.js, a binary built by others, which npm run check:uws compares), node (the slower server of Node.js, without that binary), or auto: uws where it can be loaded, otherwise node.',
    group: 'collector',
  }),
  maxBodyBytes: option({
    schema: type.bytes(1024, 256 * 1024 ** 2),
    default: '5MiB',
    placeholder: '<size>',
    doc: 'Largest request body, both before and after decompression. A larger one gets 413.',
    group: 'collector',
  }),
  maxEventBytes: option({
    schema: type.bytes(64, 16 * 1024 ** 2),
    default: '256KiB',
    placeholder: '<size>',
    doc: 'Largest single event. A larger one gets 413, or is rejected within a batch.',
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
    doc: 'Maximum number of keys in an event, counting those of nested objects and of objects in arrays.',
    group: 'collector',
  }),
  maxBatchEvents: option({
    schema: type.integer(1, 1_000_000),
    default: '20000',
    placeholder: '<n>',
    doc: 'Maximum number of events in one request. More get 413.',
    group: 'collector',
  }),
  maxBodyValues: option({
    schema: type.integer(1_000, 100_000_000),
    default: '250000',
    placeholder: '<n>',
    doc: 'Maximum number of values in one request: properties and array elements at any depth, of all its events together. Small values cost far more time and memory than their bytes suggest. More get 413.',
    group: 'collector',
  }),
  maxCompressionRatio: option({
    schema: type.integer(2, 10_000),
    default: '100',
    placeholder: '<n>',
    doc: 'How many times its compressed size a body may grow to, 2 to 10000. Up to 64 KiB is always allowed. Events typically compress to a tenth, rarely to a fiftieth. A body that grows further gets 413.',
    group: 'collector',
  }),
  maxInFlightBytes: option({
    schema: type.bytes(1024 ** 2),
    default: '32MiB',
    placeholder: '<size>',
    doc: 'Maximum bytes of bodies and events that one collector process holds until the buffer has stored them. Above it, requests get 503 with Retry-After.',
    group: 'collector',
  }),
  maxRequests: option({
    schema: type.integer(1),
    default: '20000',
    placeholder: '<n>',
    doc: 'Maximum number of requests in progress in one collector process. Above it, requests get 503 with Retry-After.',
    group: 'collector',
  }),
  maxConnections: option({
    schema: type.integer(1, 1_000_000),
    default: '10000',
    placeholder: '<n>',
    doc: 'Maximum number of connections open to one collector process; fewer where the system allows it fewer open files. Further connections are closed at once.',
    group: 'collector',
  }),
  appendInterval: option({
    schema: type.duration(0, 1_000),
    default: '2ms',
    placeholder: '<duration>',
    doc: 'Shortest time between two appends. It applies while more than two events arrive within it, fewer than 32 wait and no batch is full. Longer: lower cost per event, up to that much more latency. 0ms: never wait.',
    group: 'collector',
  }),
  onOutage: option({
    schema: type.oneOf('reject', 'spool'),
    default: 'reject',
    placeholder: '<what>',
    doc: 'How the collector treats events while Kafka cannot be reached: reject (503, clients send them again), or spool: keep them on the disk of this machine, under --data-dir, and deliver them when Kafka is back. spool needs --buffer kafka. See docs/outages.md.',
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
    doc: 'How long the collector keeps serving when it is told to stop. Meanwhile /readyz answers 503 and each answer closes its connection, so that a load balancer moves to other collectors before the port closes. Behind a load balancer, set it longer than the health check takes to notice. --stop-timeout begins after it.',
    group: 'collector',
  }),
  stopTimeout: option({
    schema: type.duration(100, 3_600_000),
    default: '20s',
    placeholder: '<duration>',
    doc: 'How long stopping may take: finishing requests, flushing, committing. After that the process exits with 1.',
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
    doc: 'How long the embedded log keeps records that were delivered. Undelivered records are never removed.',
    group: 'buffer',
  }),
  logMaxBytes: option({
    schema: type.bytes(16 * 1024 ** 2),
    default: '16GiB',
    placeholder: '<size>',
    doc: 'Largest size of the embedded log. Delivered records are removed first; when only undelivered ones are left, new events get 503.',
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
    doc: 'Let `check` create what is missing: the topic, the database, the tables, new columns.',
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
    doc: 'How long the collector tries to send a batch before its requests get 503.',
    group: 'kafka',
  }),
  kafkaSessionTimeout: option({
    schema: type.duration(6_000, 300_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'A streamer that sends no heartbeat for this long loses its partitions.',
    group: 'kafka',
  }),

  deadLetterTopic: option({
    schema: type.optionalText.optional(),
    placeholder: '<topic>',
    doc: 'Topic that also receives dead letters; created with one partition when it does not exist. The default is the name of the topic followed by -dead-letters. Empty: no topic, dead letters go to the table only.',
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
    doc: 'Maximum number of rows in one insert.',
    group: 'streamer',
  }),
  batchBytes: option({
    schema: type.bytes(1024, 64 * 1024 ** 2),
    default: '32MiB',
    placeholder: '<size>',
    doc: 'Maximum bytes of events in one insert, up to 64 MiB. An insert that also fills `raw` carries them twice. A partition holds up to two batches in memory, and a copy of the one being sent.',
    group: 'streamer',
  }),
  batchAge: option({
    schema: type.duration(10, 600_000),
    default: '1s',
    placeholder: '<duration>',
    doc: 'Shortest time between two inserts of a partition, except for full batches; after an idle period rows wait a tenth of this. Lower is fresher, higher makes fewer parts.',
    group: 'streamer',
  }),
  deduplicationWindow: option({
    schema: type.duration(0, 86_400_000),
    default: '10m',
    placeholder: '<duration>',
    doc: 'How long an id is remembered after it was last seen, measured by the receive times in the log. Meanwhile another event with the same id goes to `repeats`, not to `events`. 0: ids are not remembered.',
    group: 'streamer',
  }),
  deduplicationIds: option({
    schema: type.integer(1, 100_000_000),
    default: '1000000',
    placeholder: '<n>',
    doc: 'Maximum number of ids remembered for each partition, about 50 bytes of memory each; the oldest are forgotten first.',
    group: 'streamer',
  }),
  settleAfter: option({
    schema: type.duration(0, 86_400_000),
    default: '30m',
    placeholder: '<duration>',
    doc: 'A plan older than this is settled by asking ClickHouse which of its rows are there, since ClickHouse may have forgotten its token. Keep it below the time in which the server gets 100,000 inserts into the table.',
    group: 'streamer',
  }),

  clickhouseUrl: option({
    schema: type.httpUrl,
    default: 'http://127.0.0.1:8123',
    placeholder: '<url>',
    doc: "URL of ClickHouse's HTTP interface; `start` and `clickhouse` run the embedded one there.",
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
    doc: 'ClickHouse user. In the embedded ClickHouse it is the owner, who may create, insert and drop. A second user, `reader`, may only SELECT; `tail` and `sql` log in as `reader` unless a password is given.',
    group: 'clickhouse',
  }),
  clickhousePassword: option({
    schema: type.optionalText.optional(),
    placeholder: '',
    doc: 'Password of the ClickHouse user; empty: none. If it is not set, the embedded ClickHouse generates one and keeps it in `clickhouse-password` in --data-dir, where its clients on this machine find it.',
    group: 'clickhouse',
    secret: true,
  }),
  clickhouseReaderPassword: option({
    schema: type.optionalText.optional(),
    placeholder: '',
    doc: 'Password of the ClickHouse user `reader`, who may only read. If it is not set, the embedded ClickHouse generates one and keeps it in `clickhouse-reader-password` in --data-dir.',
    group: 'clickhouse',
    secret: true,
  }),
  clickhouseAuth: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Let the embedded ClickHouse ask for a password. With --no-clickhouse-auth, anyone who reaches its port is its owner: every program and every user of this machine. --no-clickhouse-auth is refused on an address that is not loopback.',
    group: 'clickhouse',
  }),
  clickhouseCluster: option({
    schema: type.text.optional(),
    placeholder: '<cluster>',
    doc: 'Cluster name for ON CLUSTER; the tables become ReplicatedMergeTree.',
    group: 'clickhouse',
  }),
  keepRaw: option({
    schema: type.keeping(60_000),
    default: 'always',
    placeholder: '<time>',
    doc: 'How long the column `raw` keeps the bytes of each event: always, never, or a duration of at least 1m, counted from when the event was received. Without these bytes `verify --content` has nothing to compare. See docs/data.md.',
    group: 'clickhouse',
  }),
  maxDynamicPaths: option({
    schema: type.integer(0, 1024),
    default: '128',
    placeholder: '<n>',
    doc: 'Number of undeclared properties that have columns of their own in each part of table `events`, 0 to 1024; the others share columns. It applies to new tables: an existing table keeps its own number. See docs/data.md.',
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
    doc: 'Host names under which the embedded ClickHouse may be called, in addition to the address that it listens on and loopback. Requests with any other `Host` are refused, since a web page can make a name point here.',
    group: 'clickhouse',
  }),
  clickhouseOrigins: option({
    schema: type.origins,
    default: '',
    placeholder: '<origin,...>',
    doc: 'Web pages that may use the embedded ClickHouse, by origin, such as https://console.example. Pages of all other sites are refused, even with the right password.',
    group: 'clickhouse',
  }),
  clickhouseSandbox: option({
    schema: type.oneOf('auto', 'bubblewrap', 'landlock', 'systemd', 'none'),
    default: 'auto',
    placeholder: '<kind>',
    doc: 'Sandbox that confines the process of the embedded ClickHouse to its own files: bubblewrap, landlock (through setpriv), systemd (the unit that it runs in), none, or auto: the first of these that works here. See docs/security.md.',
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
    doc: 'Events per second to send, whether or not the collector keeps up. The default is as fast as it answers.',
    group: 'client',
  }),
  speed: option({
    schema: type.positiveNumber.optional(),
    placeholder: '<factor>',
    doc: "Send events at the pace of their own times, this many times as fast: 1 is real time. Reads each event's `time`; excludes --rate.",
    group: 'client',
  }),
  batch: option({
    schema: type.integer(1, 1_000_000),
    default: '500',
    placeholder: '<n>',
    doc: 'Maximum number of events in one request. A request also ends at 1 MiB and, with --rate or --speed, after 100 ms. 1: single JSON posts.',
    group: 'client',
  }),
  concurrency: option({
    schema: type.integer(1, 1024),
    default: '4',
    placeholder: '<n>',
    doc: 'Maximum number of requests in flight, 1 to 1024. With 1, events are stored in the order of the file.',
    group: 'client',
  }),
  format: option({
    schema: type.oneOf('auto', 'ndjson', 'access-log'),
    default: 'auto',
    placeholder: '<format>',
    doc: 'Format of the file: ndjson (one event per line), access-log (combined format), or auto: ndjson when the first line starts with {, otherwise access-log.',
    group: 'client',
  }),
  file: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'File with SQL, in UTF-8; - is standard input. Statements separated by semicolons run one after the other, up to the first that fails.',
    group: 'client',
  }),
  outputFormat: option({
    schema: type.text.optional(),
    placeholder: '<format>',
    doc: 'Format of the result: CSVWithNames, JSONEachRow, Parquet, Vertical or any other output format of ClickHouse. The default is PrettyCompact on a terminal, otherwise TabSeparatedWithNames.',
    group: 'client',
  }),
  retryFor: option({
    schema: type.duration(0, 86_400_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'How long a request is retried while the collector is busy or unreachable. When an answer was lost, a retry may store an event twice, unless the event has an id.',
    group: 'client',
  }),
  skip: option({
    schema: type.integer(0),
    default: '0',
    placeholder: '<lines>',
    doc: 'Number of lines to skip at the start of the file, to continue after an interrupted run.',
    group: 'client',
  }),
  json: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Print JSON: the result on one line, or one dead letter per line.',
    group: 'client',
  }),

  limit: option({
    schema: type.integer(0, 100_000),
    default: '10',
    placeholder: '<n>',
    doc: 'Maximum number of past rows to print; for `dead-letters list`, of dead letters.',
    group: 'client',
  }),
  follow: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Wait for new rows and print them as they arrive. --no-follow ends after the past rows.',
    group: 'client',
  }),
  filter: option({
    schema: type.text.optional(),
    placeholder: '<sql>',
    doc: 'SQL condition on table `events` that rows must meet, such as "os = \'linux\'".',
    group: 'client',
  }),

  receipts: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'A client\'s own list of acknowledged events, to compare as well: NDJSON of receipts, such as {"partition":0,"offset":17}, or of whole answers of the collector; - is standard input.',
    group: 'client',
  }),
  since: option({
    schema: type.time.optional(),
    placeholder: '<time>',
    doc: 'Only events received at this time or later: a duration ago, such as 1h, or an RFC 3339 time.',
    group: 'client',
  }),
  until: option({
    schema: type.time.optional(),
    placeholder: '<time>',
    doc: 'Only events received before this time: a duration ago, such as 1h, or an RFC 3339 time.',
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
    doc: 'Only dead letters at this offset, such as 12, or in this range, such as 12-40, both ends included.',
    group: 'client',
  }),
  code: option({
    schema: type.integer(0, 2 ** 32 - 1).optional(),
    placeholder: '<n>',
    doc: 'Only dead letters refused with this error code of ClickHouse, such as 117; 0: those that cannot be read.',
    group: 'client',
  }),
  reason: option({
    schema: type.text.optional(),
    placeholder: '<text>',
    doc: 'Only dead letters whose reason contains this text, ignoring case.',
    group: 'client',
  }),
  dryRun: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'For `dead-letters replay`: report what it would do, trying each row without storing it, and change nothing.',
    group: 'client',
  }),
  skipDuplicatePaths: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'For `dead-letters replay`: accept events that have the same key twice; the first value is kept, the others are dropped.',
    group: 'client',
  }),
  content: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Also compare the bytes of every record with column `raw`, not only whether it is there. This reads both in full.',
    group: 'client',
  }),
  all: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Compare from offset 0, including offsets that the buffer no longer holds. There, rows that a TTL has removed look like loss.',
    group: 'client',
  }),
  wait: option({
    schema: type.duration(0, 86_400_000),
    default: '0s',
    placeholder: '<duration>',
    doc: 'First wait, at most this long, until everything that is in the buffer now is delivered; exit code 99 if it is not. For `bench`: how long to wait until everything that was sent is stored; there 0s means 60s.',
    group: 'client',
  }),

  load: option({
    schema: type.text,
    default: 'const:1000:10s',
    placeholder: '<profile>',
    doc: 'Requests per second over time: const:RATE:DURATION, line:FROM:TO:DURATION, step:FROM:TO:BY:DURATION (of each step), or several of them separated by commas, which run one after the other.',
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
    doc: 'Events to send: classic (one small event), mix (some hundreds of different ones), or a file with one JSON event per line.',
    group: 'client',
  }),
  path: option({
    schema: type.urlPath,
    default: '/v1/events',
    placeholder: '<path>',
    doc: 'Path on the collector to post to: /v1/events or /post.',
    group: 'client',
  }),
  connections: option({
    schema: type.integer(1, 50_000),
    default: '64',
    placeholder: '<n>',
    doc: 'Maximum number of connections, each with one request at a time, 1 to 50000. Requests that find no free connection wait, and the wait counts.',
    group: 'client',
  }),
  freshConnections: option({
    schema: type.boolean,
    default: 'false',
    placeholder: '',
    doc: 'Open a new connection for each request, like clients that post only once.',
    group: 'client',
  }),
  tlsVerify: option({
    schema: type.boolean,
    default: 'true',
    placeholder: '',
    doc: 'Check the certificate of an https collector. --no-tls-verify accepts any.',
    group: 'client',
  }),
  warmUp: option({
    schema: type.duration(0, 3_600_000),
    default: '2s',
    placeholder: '<duration>',
    doc: 'Load sent before each measured run, at its first rate. No figure counts it, but its events are reconciled with the others.',
    group: 'client',
  }),
  answerTimeout: option({
    schema: type.duration(1, 3_600_000),
    default: '30s',
    placeholder: '<duration>',
    doc: 'How long an answer may take, counted from when its request was sent; after that the request counts as failed.',
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
    doc: 'URL where the streamer serves /metrics, for its lag and its cost. The default is port 8081 of the host in --url; if nothing answers there, the report leaves the streamer out.',
    group: 'client',
  }),
  report: option({
    schema: type.text.optional(),
    placeholder: '<file>',
    doc: 'Also write the result as JSON to this file, with every second of the run.',
    group: 'client',
  }),
  slo: option({
    schema: type.text.optional(),
    placeholder: '<terms>',
    doc: 'Objectives, separated by commas: p50, p90, p99, p99.9 or max with a limit, such as p99<100ms; errors<1%; loss=0. `bench` exits with 99 when one is missed. `bench max` finds the highest rate at which all hold; there the default is p99<100ms,loss=0.',
    group: 'client',
  }),
  startRate: option({
    schema: type.integer(1, 1_000_000),
    default: '1000',
    placeholder: '<n>',
    doc: 'For `bench max`: requests per second to begin with, 1 to 1000000.',
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
