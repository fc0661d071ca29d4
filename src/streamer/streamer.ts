/** Wires one streamer process. */
import type { Logger } from 'pino';
import type { BufferReader, DependencyState } from '../buffer/buffer.ts';
import type { ClickHouse } from '../clickhouse/client.ts';
import { ClickHouseError, ClickHouseUnavailableError, explainPermanent } from '../clickhouse/errors.ts';
import type { TablesOptions } from '../clickhouse/table-definitions.ts';
import { ensureTables, findTables, type Tables } from '../clickhouse/tables.ts';
import type { Address } from '../config/types.ts';
import type { DeadLetterTopic } from '../dead-letters/dead-letter-topic.ts';
import { messageOf } from '../errors.ts';
import { createRegistry, Gauge, metricTable } from '../metrics/metrics.ts';
import { createTraceInstruments, type Tracer } from '../tracing/span.ts';
import { version } from '../version.ts';
import { LagWatch } from './health/delivery-watch.ts';
import { watchRetention } from './health/retention-watch.ts';
import { type StatusAnswer, startStatusServer } from './health/status-server.ts';
import { createClickHouseSink } from './inserts/clickhouse-sink.ts';
import { waitToRetry } from './inserts/persist.ts';
import { StreamerObserver } from './observer.ts';
import { deliverPartition } from './protocol/deliver.ts';
import type { BatchLimits, IdsLimits, Sink } from './protocol/delivery.ts';
import { traceInserts } from './trace-inserts.ts';

/** What a streamer needs. */
export interface StreamerOptions {
  readonly listen: Address;
  /** Host names under which status pages are given, beside the machine's own. */
  readonly statusHosts: readonly string[];
  readonly reader: BufferReader;
  /** Name of the buffer, for `/status`. */
  readonly buffer: string;
  readonly clickhouse: ClickHouse;
  readonly tables: TablesOptions;
  readonly limits: BatchLimits;
  readonly idsLimits: IdsLimits;
  /** A plan older than this is settled by asking ClickHouse, milliseconds. */
  readonly settleAfterMs: number;
  /** Takes dead letters beside the table. */
  readonly deadLetterTopic?: DeadLetterTopic | undefined;
  /** Takes the spans of inserts; closed with the streamer. */
  readonly tracer?: Tracer | undefined;
  readonly log: Logger;
}

/** A running streamer. */
export interface Streamer {
  readonly port: number;
  /** Resolves once the tables fit the schema and partitions are being read. */
  readonly ready: Promise<void>;
  /** Rejects when delivering cannot go on safely; resolves after `stop`. */
  readonly done: Promise<void>;
  /** Inserts in flight are finished and committed, then everything is released. */
  stop(): Promise<void>;
}

const lagIntervalMs = 1_000;

/** Starts a streamer; it waits for ClickHouse and for the buffer by itself. */
export async function startStreamer(options: StreamerOptions): Promise<Streamer> {
  const { reader, clickhouse, limits, idsLimits, tracer, log } = options;
  const stopping = new AbortController();
  const observer = new StreamerObserver(log);
  const lag = new LagWatch(reader, log, { ageMs: limits.ageMs });
  let fail: (error: unknown) => void = () => {};
  /** Rejects with a fault of this program in what it does beside delivering. */
  const faults = new Promise<never>((_, reject) => {
    fail = reject;
  });
  faults.catch(() => {});
  const retention = watchRetention(reader, log, fail);
  const registry = createRegistry({
    ...observer.instruments,
    bufferUp: new Gauge(metricTable.bufferUp, () => (reader.state().ok ? 1 : 0)),
    lag: new Gauge(metricTable.lag, () => lag.lags),
    deliveryUp: new Gauge(metricTable.deliveryUp, () => (lag.state().ok ? 1 : 0)),
    retentionSecondsLeft: retention.secondsLeft,
    ...createTraceInstruments(tracer),
  });
  const startedAt = performance.now();

  const status = () => describeStatus(options, { observer, lag, startedAt });
  const server = await startStatusServer(
    options.listen,
    {
      '/status': status,
      '/readyz': status,
      '/livez': () => ({ status: 200, type: 'application/json', body: '{"status":"ok"}' }),
      '/metrics': async () => ({ status: 200, type: registry.contentType, body: await registry.metrics() }),
    },
    { option: 'stream-listen', statusHosts: options.statusHosts },
  );
  const lagTimer = setInterval(() => {
    lag.sample().catch(fail);
    observer.sampleClickHouse(clickhouse).catch(fail);
    observer.report();
  }, lagIntervalMs);
  const tablesReady = prepareTables(options, stopping.signal, (state) => observer.clickhouseAnswered(state));
  const ready = tablesReady.then(() => {});
  const done = tablesReady
    .then((tables) => {
      const sink = createSink(options, { tables, observer });
      const delivery = { limits, idsLimits, observer, isTraced: tracer !== undefined };
      return Promise.race([faults, reader.run((partition) => deliverPartition(partition, sink, delivery))]);
    })
    .catch((error: unknown) => {
      if (!stopping.signal.aborted) throw error;
    });
  done.catch(() => {});
  ready.catch(() => {});

  return {
    port: server.port,
    ready,
    done,
    async stop() {
      stopping.abort();
      clearInterval(lagTimer);
      retention.stop();
      await reader.close();
      await done.catch(() => {});
      await options.deadLetterTopic?.close();
      await clickhouse.close();
      await server.close();
      await tracer?.close();
    },
  };
}

/** Where batches go: ClickHouse, with a span for each insert where traces are wanted. */
function createSink(
  { clickhouse, tables: { keepRaw }, settleAfterMs, deadLetterTopic, tracer, log }: StreamerOptions,
  { tables, observer }: { tables: Tables; observer: StreamerObserver },
): Sink {
  const target = { clickhouse, tables, deadLetterTopic, keepRaw };
  const plain = createClickHouseSink({ ...target, observer, settleAfterMs, log });
  return tracer === undefined ? plain : traceInserts(plain, tracer);
}

/** The answer of `/status` and `/readyz`. */
function describeStatus(
  { reader, clickhouse, buffer }: StreamerOptions,
  { observer, lag, startedAt }: { observer: StreamerObserver; lag: LagWatch; startedAt: number },
): StatusAnswer {
  const { rows, deadLetters, repeats, lost } = observer.counters;
  const state = reader.state();
  const delivery = lag.state();
  const isOk = state.ok && observer.clickhouseState().ok && delivery.ok;
  const body = {
    status: isOk ? 'ok' : 'unavailable',
    live: true,
    ready: isOk,
    version,
    uptime_seconds: Math.round((performance.now() - startedAt) / 1_000),
    buffer: { kind: buffer, ...state },
    clickhouse: { url: clickhouse.url.origin, ...observer.clickhouseState() },
    delivery,
    partitions: [...lag.lags].map(([partition, events]) => ({ partition: Number(partition), lag: events })),
    rows: rows.total,
    dead_letters: deadLetters.total,
    repeats: repeats.total,
    expired: lost.total,
  };
  return { status: isOk ? 200 : 503, type: 'application/json', body: JSON.stringify(body) };
}

/**
 * Waits for ClickHouse, saying so, makes the tables fit, and names them.
 * @throws OperatorError exit 78 when ClickHouse refuses in a way that waiting does not mend
 */
async function prepareTables(
  { clickhouse, tables, log }: StreamerOptions,
  signal: AbortSignal,
  answered: (state: DependencyState) => void,
): Promise<Tables> {
  let lastMessage = '';
  for (let failures = 0; ; failures++) {
    try {
      await ensureTables(clickhouse, tables, log);
      const found = await findTables(clickhouse, tables);
      answered({ ok: true });
      return found;
    } catch (error) {
      if (!(error instanceof ClickHouseUnavailableError || error instanceof ClickHouseError)) throw error;
      const permanent = explainPermanent(error);
      if (permanent !== undefined) throw permanent;
      const detail = `${messageOf(error)}; check --clickhouse-url`;
      answered({ ok: false, detail });
      if (detail !== lastMessage) log.warn(`waiting for ClickHouse: ${detail}`);
      lastMessage = detail;
      await waitToRetry(failures, signal);
    }
  }
}
