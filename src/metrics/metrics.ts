/**
 * Metrics: the table of all of them, and the instruments that count. Instruments keep plain numbers, since
 * they sit on the hot path; prom-client asks for them when it is scraped, and writes the text.
 */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';

const latencySeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const freshnessSeconds = [0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60, 300, 600];
const eventCounts = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];

/** A metric as documented and exposed. */
export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Name of its only label, when it has one. */
  readonly label?: string;
  /** How the values of several workers become one; a sum unless said otherwise. */
  readonly aggregator?: 'sum' | 'min' | 'max';
  /** Upper bounds of a histogram's buckets, in the unit of the name. */
  readonly buckets?: readonly number[];
}

/** All metrics of Millrace, by process. Process metrics of Node.js come on top. */
export const metricTable = {
  requests: {
    name: 'millrace_http_requests_total',
    help: 'Requests answered by the collector, by HTTP status.',
    type: 'counter',
    label: 'status',
  },
  requestDuration: {
    name: 'millrace_http_request_duration_seconds',
    help: 'Time from the first byte of a post to its answer, for posts whose events were stored.',
    type: 'histogram',
    buckets: latencySeconds,
  },
  accepted: {
    name: 'millrace_events_accepted_total',
    help: 'Events stored by the buffer and acknowledged.',
    type: 'counter',
  },
  rejected: {
    name: 'millrace_events_rejected_total',
    help: 'Events and bodies refused because of their content, by error code.',
    type: 'counter',
    label: 'code',
  },
  paths: {
    name: 'millrace_event_paths',
    help: 'Distinct property paths in every 64th valid event of the last one to two hours, 0 to 10,000. A high number means that ids are used as keys.',
    type: 'gauge',
  },
  failed: {
    name: 'millrace_events_failed_total',
    help: 'Valid events that the buffer did not accept; their clients got 503.',
    type: 'counter',
  },
  inFlightBytes: {
    name: 'millrace_in_flight_bytes',
    help: 'Bytes of bodies and events held until the buffer has stored them.',
    type: 'gauge',
  },
  requestsInFlight: {
    name: 'millrace_http_requests_in_flight',
    help: 'Posts in progress.',
    type: 'gauge',
  },
  connections: {
    name: 'millrace_http_connections',
    help: 'Open connections to the collector.',
    type: 'gauge',
  },
  connectionsRefused: {
    name: 'millrace_http_connections_refused_total',
    help: 'Connections closed at once because --max-connections were open.',
    type: 'counter',
  },
  appendDuration: {
    name: 'millrace_append_duration_seconds',
    help: 'Time of one append to the buffer, until its records were durable.',
    type: 'histogram',
    buckets: latencySeconds,
  },
  appendEvents: {
    name: 'millrace_append_batch_events',
    help: 'Events of one append to the buffer.',
    type: 'histogram',
    buckets: eventCounts,
  },
  appendErrors: {
    name: 'millrace_append_errors_total',
    help: 'Appends to the buffer that failed.',
    type: 'counter',
  },
  bufferUp: {
    name: 'millrace_buffer_up',
    help: '1 if the buffer can be used now by the streamer or by every worker of the collector, otherwise 0.',
    type: 'gauge',
    aggregator: 'min',
  },
  spooled: {
    name: 'millrace_spooled_events_total',
    help: 'Events stored in the spool while Kafka was away, and acknowledged.',
    type: 'counter',
  },
  spoolDrained: {
    name: 'millrace_spool_drained_events_total',
    help: 'Events of the spool that Kafka has acknowledged.',
    type: 'counter',
  },
  spoolUnsure: {
    name: 'millrace_spool_unsure_events_total',
    help: 'Events of the spool that were sent to Kafka again because Kafka could no longer tell whether it had them.',
    type: 'counter',
  },
  spoolEvents: {
    name: 'millrace_spool_events',
    help: 'Events waiting in the spool.',
    type: 'gauge',
    aggregator: 'max',
  },
  spoolBytes: {
    name: 'millrace_spool_bytes',
    help: 'Bytes on disk used by the events in the spool.',
    type: 'gauge',
    aggregator: 'max',
  },
  spoolMaxBytes: {
    name: 'millrace_spool_max_bytes',
    help: 'Limit of the spool in bytes: --spool-max-bytes. When the spool reaches it, new events get 503.',
    type: 'gauge',
    aggregator: 'max',
  },
  spoolOldest: {
    name: 'millrace_spool_oldest_seconds',
    help: 'Age of the oldest event in the spool; 0 when it is empty.',
    type: 'gauge',
    aggregator: 'max',
  },
  rows: {
    name: 'millrace_rows_inserted_total',
    help: 'Rows inserted into ClickHouse, by partition.',
    type: 'counter',
    label: 'partition',
  },
  insertDuration: {
    name: 'millrace_insert_duration_seconds',
    help: 'Time of one insert into ClickHouse, retries included.',
    type: 'histogram',
    buckets: [...latencySeconds, 30, 60, 300],
  },
  insertRows: {
    name: 'millrace_insert_batch_rows',
    help: 'Rows of one insert.',
    type: 'histogram',
    buckets: eventCounts,
  },
  insertErrors: {
    name: 'millrace_insert_errors_total',
    help: "Failed attempts to insert, by ClickHouse's error code; 0 when ClickHouse gave no answer.",
    type: 'counter',
    label: 'code',
  },
  insertOldest: {
    name: 'millrace_insert_oldest_seconds',
    help: 'Age of the oldest insert that has not succeeded yet, retries included; 0 when no insert is in progress. From 30 s the streamer is not ready.',
    type: 'gauge',
  },
  freshness: {
    name: 'millrace_freshness_seconds',
    help: 'Time for each row from receiving the oldest event of its batch until the batch can be queried.',
    type: 'histogram',
    buckets: freshnessSeconds,
  },
  lag: {
    name: 'millrace_consumer_lag_events',
    help: 'Records in the buffer that have not been delivered yet, by owned partition.',
    type: 'gauge',
    label: 'partition',
  },
  deliveryUp: {
    name: 'millrace_delivery_up',
    help: '0 while a partition has undelivered records and has delivered none for a minute (or twice --batch-age if that is longer), otherwise 1.',
    type: 'gauge',
    aggregator: 'min',
  },
  oldestSeconds: {
    name: 'millrace_oldest_undelivered_seconds',
    help: 'Age of the oldest event that was read from the buffer and is not in ClickHouse yet.',
    type: 'gauge',
  },
  retentionSecondsLeft: {
    name: 'millrace_retention_seconds_left',
    help: 'Time until Kafka may delete the oldest undelivered event, by owned partition; the full retention when all are delivered. Absent where undelivered events are never deleted.',
    type: 'gauge',
    label: 'partition',
  },
  replays: {
    name: 'millrace_plans_replayed_total',
    help: 'Plans of an earlier owner that were inserted again with their stored token.',
    type: 'counter',
  },
  settled: {
    name: 'millrace_batches_settled_total',
    help: 'Batches whose token could not be trusted, so that ClickHouse was asked which of their rows it has.',
    type: 'counter',
  },
  repeats: {
    name: 'millrace_repeats_total',
    help: 'Records whose id was seen before; they are stored in repeats, not in events.',
    type: 'counter',
  },
  regressions: {
    name: 'millrace_commit_regressions_total',
    help: 'Partitions for which ClickHouse had rows beyond the committed offset: the commit was lost or set back.',
    type: 'counter',
  },
  topicChanges: {
    name: 'millrace_topic_changes_total',
    help: 'Partitions whose topic was deleted and created again; undelivered records of the former topic are lost.',
    type: 'counter',
  },
  deadLetters: {
    name: 'millrace_dead_letters_total',
    help: 'Records written to dead_letters because ClickHouse refused them or they could not be read.',
    type: 'counter',
  },
  lost: {
    name: 'millrace_expired_events_total',
    help: 'Offsets that retention removed from the buffer before they were delivered; must be 0.',
    type: 'counter',
  },
  clickhouseUp: {
    name: 'millrace_clickhouse_up',
    help: '1 if ClickHouse answers and inserts succeed, otherwise 0.',
    type: 'gauge',
  },
  spansSent: {
    name: 'millrace_spans_sent_total',
    help: 'Spans that the receiver at --traces-endpoint accepted. Absent without --traces-endpoint.',
    type: 'counter',
  },
  spansDropped: {
    name: 'millrace_spans_dropped_total',
    help: 'Spans that were dropped because too many waited or the receiver refused them. Absent without --traces-endpoint.',
    type: 'counter',
  },
} as const satisfies Record<string, MetricDefinition>;

/** A value at the moment of a scrape. */
interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** Counts, by label value when the metric has a label. */
export class Counter {
  readonly #definition: MetricDefinition;
  readonly #values = new Map<string, number>();

  constructor(definition: MetricDefinition) {
    this.#definition = definition;
    if (definition.label === undefined) this.#values.set('', 0);
  }

  /** Adds `n`, for one value of the label where there is one. */
  add(n: number, labelValue = ''): void {
    this.#values.set(labelValue, (this.#values.get(labelValue) ?? 0) + n);
  }

  /** Sum over all values of the label. */
  get total(): number {
    let sum = 0;
    for (const value of this.#values.values()) sum += value;
    return sum;
  }

  /** @internal for the registry */
  samples(): Sample[] {
    const { label } = this.#definition;
    return [...this.#values].map(([key, value]) => ({
      value,
      labels: label === undefined ? {} : { [label]: key },
    }));
  }
}

/** A count that is kept elsewhere, read at the moment of the scrape. */
export class CounterView {
  readonly #read: () => number;

  constructor(read: () => number) {
    this.#read = read;
  }

  /** @internal for the registry */
  samples(): Sample[] {
    return [{ value: this.#read(), labels: {} }];
  }
}

/** A value that goes up and down, read from where it lives at the moment of the scrape. */
export class Gauge {
  readonly #definition: MetricDefinition;
  readonly #read: () => number | ReadonlyMap<string, number>;

  constructor(definition: MetricDefinition, read: () => number | ReadonlyMap<string, number>) {
    this.#definition = definition;
    this.#read = read;
  }

  /** @internal for the registry */
  samples(): Sample[] {
    const read = this.#read();
    if (typeof read === 'number') return [{ value: read, labels: {} }];
    return [...read].map(([key, value]) => ({ value, labels: { [this.#definition.label ?? 'key']: key } }));
  }
}

/** Observations in buckets. One observation costs a short search and three additions. */
export class Histogram {
  readonly #definition: MetricDefinition;
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(definition: MetricDefinition) {
    this.#definition = definition;
    this.#bounds = definition.buckets ?? [];
    this.#counts = new Float64Array(this.#bounds.length + 1);
  }

  /** Counts `value`, `times` times. */
  observe(value: number, times = 1): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? Number.POSITIVE_INFINITY))
      bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + times;
    this.#sum += value * times;
  }

  /** @internal for the registry */
  samples(): Sample[] {
    const { name } = this.#definition;
    const samples: Sample[] = [];
    let cumulative = 0;
    for (const [index, bound] of this.#bounds.entries()) {
      cumulative += this.#counts[index] ?? 0;
      samples.push({ metricName: `${name}_bucket`, labels: { le: bound }, value: cumulative });
    }
    cumulative += this.#counts[this.#bounds.length] ?? 0;
    samples.push({ metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: cumulative });
    samples.push({ metricName: `${name}_sum`, labels: {}, value: this.#sum });
    samples.push({ metricName: `${name}_count`, labels: {}, value: cumulative });
    return samples;
  }
}

/** Instruments by their names in the table. */
export type Instruments = Partial<
  Record<keyof typeof metricTable, Counter | CounterView | Gauge | Histogram>
>;

/** A registry of these instruments and of Node's process metrics. */
export function createRegistry(instruments: Instruments): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const [key, instrument] of Object.entries(instruments)) {
    const {
      name,
      help,
      type,
      aggregator = 'sum',
    }: MetricDefinition = metricTable[key as keyof typeof metricTable];
    // prom-client asks a metric for no more than its name and `get`; its own classes would do the counting
    // through hashed label objects, at about 300 ns each.
    const metric = {
      name,
      get: async () => ({ name, help, type, aggregator, values: instrument.samples() }),
    };
    registry.registerMetric(metric as unknown as Metric);
  }
  return registry;
}
