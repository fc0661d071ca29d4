/** Wires one streamer process. */
import type { Logger } from 'pino';
import type { BufferReader, DependencyState } from '../buffer/buffer.ts';
import { type ClickHouse, ClickHouseError, ClickHouseUnavailableError } from '../clickhouse/client.ts';
import { ensureTables, nameTables, type TablesOptions } from '../clickhouse/tables.ts';
import type { Address } from '../config/types.ts';
import { messageOf } from '../errors.ts';
import { Counter, createRegistry, Gauge, Histogram, metricTable } from '../metrics/metrics.ts';
import { version } from '../version.ts';
import { BackOff } from './back-off.ts';
import type { BatchLimits } from './batch.ts';
import { createClickHouseSink, type InsertObserver } from './clickhouse-sink.ts';
import { type DeliveryObserver, deliverPartition } from './deliver.ts';
import type { IdsLimits } from './recover.ts';
import { type StatusAnswer, startStatusServer } from './status-server.ts';

/** What a streamer needs. */
export interface StreamerOptions {
  readonly listen: Address;
  readonly reader: BufferReader;
  /** Name of the buffer, for `/status`. */
  readonly buffer: string;
  readonly clickhouse: ClickHouse;
  readonly tables: TablesOptions;
  readonly limits: BatchLimits;
  readonly idsLimits: IdsLimits;
  /** A plan older than this is settled by asking ClickHouse, milliseconds. */
  readonly settleAfterMs: number;
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
/** Above the longest pause between two tries of an insert. */
const pingAfterMs = 15_000;

/** Starts a streamer; it waits for ClickHouse and for the buffer by itself. */
export async function startStreamer(options: StreamerOptions): Promise<Streamer> {
  const { reader, clickhouse, limits, idsLimits, settleAfterMs, log } = options;
  const stopping = new AbortController();
  const tally = createTally(options);
  const registry = createRegistry(tally.instruments);
  const tables = nameTables(options.tables);
  const sink = createClickHouseSink({ clickhouse, tables, observer: tally, settleAfterMs, log });
  const startedAt = Date.now();

  function status(): StatusAnswer {
    const state = reader.state();
    const isOk = state.ok && tally.clickhouseState().ok;
    const body = {
      status: isOk ? 'ok' : 'unavailable',
      live: true,
      ready: isOk,
      version,
      uptime_seconds: Math.round((Date.now() - startedAt) / 1_000),
      buffer: { kind: options.buffer, ...state },
      clickhouse: { url: clickhouse.url.origin, ...tally.clickhouseState() },
      partitions: tally.partitions(),
      rows: tally.rows.total,
      dead_letters: tally.deadLetters.total,
      repeats: tally.repeats.total,
      expired: tally.lost.total,
    };
    return { status: isOk ? 200 : 503, type: 'application/json', body: JSON.stringify(body) };
  }

  const server = await startStatusServer(
    options.listen,
    {
      '/status': status,
      '/readyz': status,
      '/livez': () => ({ status: 200, type: 'application/json', body: '{"status":"ok"}' }),
      '/metrics': async () => ({ status: 200, type: registry.contentType, body: await registry.metrics() }),
    },
    'stream-listen',
  );
  const lagTimer = setInterval(() => {
    void tally.sampleLag(reader);
    void tally.sampleClickHouse(clickhouse);
  }, lagIntervalMs);
  const ready = prepareTables(options, stopping.signal, tally.clickhouseAnswered);
  const done = ready
    .then(() =>
      reader.run((partition) => deliverPartition(partition, sink, { limits, idsLimits, observer: tally })),
    )
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
      await reader.close();
      await done.catch(() => {});
      await clickhouse.close();
      await server.close();
    },
  };
}

/** Waits for ClickHouse, saying so, and makes the tables fit. */
async function prepareTables(
  { clickhouse, tables, log }: StreamerOptions,
  signal: AbortSignal,
  answered: (state: DependencyState) => void,
): Promise<void> {
  const backOff = new BackOff();
  let lastMessage = '';
  for (;;) {
    try {
      await ensureTables(clickhouse, tables, log);
      answered({ ok: true });
      return;
    } catch (error) {
      if (!(error instanceof ClickHouseUnavailableError || error instanceof ClickHouseError)) throw error;
      const detail = `${messageOf(error)}; --clickhouse-url points at it`;
      answered({ ok: false, detail });
      if (detail !== lastMessage) log.warn(`waiting for ClickHouse: ${detail}`);
      lastMessage = detail;
      await backOff.wait(signal);
    }
  }
}

/** Counts everything that happens in the process: the observer of deliveries and inserts, and its instruments. */
function createTally({ log }: StreamerOptions) {
  const rows = new Counter(metricTable.rows);
  const insertDuration = new Histogram(metricTable.insertDuration);
  const insertRows = new Histogram(metricTable.insertRows);
  const insertErrors = new Counter(metricTable.insertErrors);
  const freshness = new Histogram(metricTable.freshness);
  const replays = new Counter(metricTable.replays);
  const deadLetters = new Counter(metricTable.deadLetters);
  const lost = new Counter(metricTable.lost);
  const settled = new Counter(metricTable.settled);
  const repeats = new Counter(metricTable.repeats);
  const topicChanges = new Counter(metricTable.topicChanges);
  const lag = new Map<string, number>();
  const oldest = new Map<string, number>();
  let clickhouse: DependencyState = { ok: false, detail: 'not reached yet' };
  /** When an insert last told how ClickHouse is. */
  let answeredAt = 0;

  const observer: InsertObserver & DeliveryObserver = {
    inserted(batch, { partition }, { rows: inserted, milliseconds, ...others }) {
      clickhouse = { ok: true };
      answeredAt = Date.now();
      rows.add(inserted, String(partition));
      deadLetters.add(others.deadLetters);
      repeats.add(others.repeats);
      insertDuration.observe(milliseconds / 1_000);
      insertRows.observe(inserted);
      freshness.observe(Math.max(Date.now() - batch.oldestAt, 0) / 1_000);
    },
    insertFailed(code, error) {
      answeredAt = Date.now();
      clickhouse = { ok: false, detail: error.message.slice(0, 500) };
      insertErrors.add(1, String(code));
    },
    settled({ plan }, { topic, partition }, { reason, found }) {
      settled.add(1);
      const { start, end, rows: planned } = plan;
      const what = `asked ClickHouse about a batch, since ${reason}: it had ${found} of ${planned} records`;
      log.warn({ topic, partition, start, end, found }, what);
    },
    replaying({ topic, partition }, start, end) {
      replays.add(1);
      log.info(
        { topic, partition, start, end },
        'inserting the plan of an earlier owner again, with its token',
      );
    },
    expired({ topic, partition }, from, to, count) {
      lost.add(count);
      log.error(
        { topic, partition, from, to, lost: count },
        `retention removed ${count} events before they were delivered; delivery goes on with what is left`,
      );
    },
    topicChanged({ topic, topicId, partition }, formerId, count) {
      topicChanges.add(1);
      lost.add(count);
      log.error(
        { topic, partition, topicId, formerId, lost: count },
        'the topic was deleted and made anew: what of the former one was not delivered is gone. ' +
          'Delivery goes on at the start of the new one',
      );
    },
    oldest({ partition }, receivedAt) {
      if (receivedAt === undefined) oldest.delete(String(partition));
      else oldest.set(String(partition), receivedAt);
    },
  };
  return {
    ...observer,
    rows,
    deadLetters,
    repeats,
    lost,
    clickhouseState: () => clickhouse,
    clickhouseAnswered(state: DependencyState) {
      clickhouse = state;
    },
    partitions: () => [...lag].map(([partition, events]) => ({ partition: Number(partition), lag: events })),
    /** Without inserts nothing else would notice that ClickHouse went away, or came back. */
    async sampleClickHouse(server: ClickHouse): Promise<void> {
      if (Date.now() - answeredAt < pingAfterMs) return;
      answeredAt = Date.now();
      await server.ping().then(
        () => {
          clickhouse = { ok: true };
        },
        (error: unknown) => {
          clickhouse = { ok: false, detail: messageOf(error).slice(0, 500) };
        },
      );
    },
    async sampleLag(reader: BufferReader): Promise<void> {
      try {
        const sampled = await reader.lag();
        lag.clear();
        for (const { partition, committed, end } of sampled) lag.set(String(partition), end - committed);
      } catch (error) {
        log.debug({ err: error }, 'the lag could not be read');
      }
    },
    instruments: {
      rows,
      insertDuration,
      insertRows,
      insertErrors,
      freshness,
      replays,
      deadLetters,
      lost,
      settled,
      repeats,
      topicChanges,
      lag: new Gauge(metricTable.lag, () => lag),
      oldestSeconds: new Gauge(metricTable.oldestSeconds, () => ageOf(oldest)),
      clickhouseUp: new Gauge(metricTable.clickhouseUp, () => (clickhouse.ok ? 1 : 0)),
    },
  };
}

function ageOf(oldest: ReadonlyMap<string, number>): number {
  if (oldest.size === 0) return 0;
  return Math.max(Date.now() - Math.min(...oldest.values()), 0) / 1_000;
}
