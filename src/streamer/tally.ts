/** Counts and logs what happens in a streamer process. */
import type { Logger } from 'pino';
import type { DependencyState } from '../buffer/buffer.ts';
import type { ClickHouse } from '../clickhouse/client.ts';
import { ClickHouseError, ClickHouseUnavailableError } from '../clickhouse/errors.ts';
import { messageOf } from '../errors.ts';
import { Counter, Gauge, Histogram, metricTable } from '../metrics/metrics.ts';
import { InsertWatch } from './health/delivery-watch.ts';
import type { InsertObserver } from './inserts/clickhouse-sink.ts';
import type { DeliveryObserver } from './protocol/delivery.ts';

/** Above the longest pause between two tries of an insert. */
const pingAfterMs = 15_000;

/** Counts everything that happens in the process: the observer of deliveries and inserts, and its instruments. */
export function createTally(log: Logger) {
  const counters = createCounters();
  const { rows, deadLetters, repeats, lost, settled, insertDuration, insertRows, insertErrors, freshness } =
    counters;
  const inserts = new InsertWatch(log);
  const oldest = new Map<string, number>();
  let clickhouse: DependencyState = { ok: false, detail: 'not reached yet' };
  /** When ClickHouse was last heard of, or asked. */
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
    // One failure says nothing of the next try: three in a row do.
    insertFailed: (code) => insertErrors.add(1, String(code)),
    began: (partition) => inserts.began(partition),
    delayed: (partition, reason) => inserts.failed(partition, reason),
    ended: (partition) => inserts.ended(partition),
    refused: (code) => insertErrors.add(1, String(code)),
    settled({ plan }, { topic, partition }, { reason, found }) {
      settled.add(1);
      const { start, end, rows: planned } = plan;
      const what = `asked ClickHouse about a batch because ${reason}: it had ${found} of ${planned} records`;
      log.warn({ topic, partition, start, end, found }, what);
    },
    ...createDeliveryLog(log, counters),
    oldest({ partition }, receivedAt) {
      if (receivedAt === undefined) oldest.delete(String(partition));
      else oldest.set(String(partition), receivedAt);
    },
  };
  /** Inserts that do not get through count for more than a ping that is answered. */
  function clickhouseState(): DependencyState {
    const state = inserts.state();
    return state.ok ? clickhouse : state;
  }

  return {
    ...observer,
    rows,
    deadLetters,
    repeats,
    lost,
    clickhouseState,
    /** Logs what has changed. */
    report: () => inserts.report(),
    clickhouseAnswered(state: DependencyState) {
      clickhouse = state;
    },
    /** Without inserts nothing else would notice that ClickHouse went away, or came back. */
    async sampleClickHouse(server: ClickHouse): Promise<void> {
      if (inserts.isBusy || performance.now() - answeredAt < pingAfterMs) return;
      answeredAt = performance.now();
      await server.ping().then(
        () => {
          clickhouse = { ok: true };
        },
        (error: unknown) => {
          if (!(error instanceof ClickHouseUnavailableError || error instanceof ClickHouseError)) throw error;
          clickhouse = { ok: false, detail: messageOf(error).slice(0, 500) };
        },
      );
    },
    instruments: {
      ...counters,
      insertOldest: new Gauge(metricTable.insertOldest, () => inserts.oldestSeconds()),
      oldestSeconds: new Gauge(metricTable.oldestSeconds, () => ageOf(oldest)),
      clickhouseUp: new Gauge(metricTable.clickhouseUp, () => (clickhouseState().ok ? 1 : 0)),
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
        `retention removed ${count} events before they were delivered; delivery continues with the remaining ones`,
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
    skipped({ topic, partition }, from, offset) {
      log.warn(
        { topic, partition, from, offset },
        `offset ${offset} was committed by a program that is not a streamer, and ClickHouse has nothing from ${from} on: ` +
          `records from ${from} to ${offset - 1} are not delivered. To deliver them, stop the streamers and set the ` +
          `offset of the group back to ${from}: rows that ClickHouse already has are not stored twice`,
      );
    },
    topicChanged({ topic, topicId, partition }, formerId, count) {
      topicChanges.add(1);
      lost.add(count);
      log.error(
        { topic, partition, topicId, formerId, lost: count },
        'the topic was deleted and created again: undelivered records of the former topic are lost. ' +
          'Delivery continues at the start of the new topic',
      );
    },
  };
}

function ageOf(oldest: ReadonlyMap<string, number>): number {
  if (oldest.size === 0) return 0;
  return Math.max(Date.now() - Math.min(...oldest.values()), 0) / 1_000;
}
