/** Counts and logs what happens in a streamer process. */
import type { Logger } from 'pino';
import type { BufferReader, DependencyState } from '../buffer/buffer.ts';
import type { ClickHouse } from '../clickhouse/client.ts';
import { messageOf } from '../errors.ts';
import { Counter, Gauge, Histogram, metricTable } from '../metrics/metrics.ts';
import type { InsertObserver } from './clickhouse-sink.ts';
import type { DeliveryObserver } from './deliver.ts';

/** Above the longest pause between two tries of an insert. */
const pingAfterMs = 15_000;

/** Counts everything that happens in the process: the observer of deliveries and inserts, and its instruments. */
export function createTally(log: Logger) {
  const counters = createCounters();
  const { rows, deadLetters, repeats, lost, settled, insertDuration, insertRows, insertErrors, freshness } =
    counters;
  const lag = new Map<string, number>();
  const oldest = new Map<string, number>();
  let clickhouse: DependencyState = { ok: false, detail: 'not reached yet' };
  /** When an insert last told how ClickHouse is. */
  let answeredAt = Number.NEGATIVE_INFINITY;

  const observer: InsertObserver & DeliveryObserver = {
    inserted(batch, { partition }, { rows: inserted, milliseconds, ...others }) {
      clickhouse = { ok: true };
      answeredAt = performance.now();
      rows.add(inserted, String(partition));
      deadLetters.add(others.deadLetters);
      repeats.add(others.repeats);
      insertDuration.observe(milliseconds / 1_000);
      insertRows.observe(inserted);
      // By rows: after an outage one large batch stands for many small ones that did not come.
      freshness.observe(Math.max(Date.now() - batch.oldestAt, 0) / 1_000, inserted);
    },
    insertFailed(code, error) {
      answeredAt = performance.now();
      clickhouse = { ok: false, detail: messageOf(error).slice(0, 500) };
      insertErrors.add(1, String(code));
    },
    refused: (code) => insertErrors.add(1, String(code)),
    settled({ plan }, { topic, partition }, { reason, found }) {
      settled.add(1);
      const { start, end, rows: planned } = plan;
      const what = `asked ClickHouse about a batch, since ${reason}: it had ${found} of ${planned} records`;
      log.warn({ topic, partition, start, end, found }, what);
    },
    ...createDeliveryLog(log, counters),
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
      if (performance.now() - answeredAt < pingAfterMs) return;
      answeredAt = performance.now();
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
      ...counters,
      lag: new Gauge(metricTable.lag, () => lag),
      oldestSeconds: new Gauge(metricTable.oldestSeconds, () => ageOf(oldest)),
      clickhouseUp: new Gauge(metricTable.clickhouseUp, () => (clickhouse.ok ? 1 : 0)),
    },
  };
}

/** What is counted as it happens. */
function createCounters() {
  return {
    rows: new Counter(metricTable.rows),
    insertDuration: new Histogram(metricTable.insertDuration),
    insertRows: new Histogram(metricTable.insertRows),
    insertErrors: new Counter(metricTable.insertErrors),
    freshness: new Histogram(metricTable.freshness),
    replays: new Counter(metricTable.replays),
    deadLetters: new Counter(metricTable.deadLetters),
    lost: new Counter(metricTable.lost),
    settled: new Counter(metricTable.settled),
    repeats: new Counter(metricTable.repeats),
    regressions: new Counter(metricTable.regressions),
    topicChanges: new Counter(metricTable.topicChanges),
  };
}

/** Counts and names everything that is out of the ordinary in the delivery of a partition. */
function createDeliveryLog(
  log: Logger,
  { replays, lost, regressions, topicChanges }: ReturnType<typeof createCounters>,
): Omit<DeliveryObserver, 'oldest'> {
  return {
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
    regressed({ topic, partition }, position, last) {
      regressions.add(1);
      log.error(
        { topic, partition, position, last },
        `offset ${position} was committed, but ClickHouse has rows up to ${last}: the commit was lost or set back. ` +
          'Nothing is stored twice: ClickHouse is asked about each batch up to there',
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
  };
}

function ageOf(oldest: ReadonlyMap<string, number>): number {
  if (oldest.size === 0) return 0;
  return Math.max(Date.now() - Math.min(...oldest.values()), 0) / 1_000;
}
