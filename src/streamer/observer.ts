/** Counts and logs what happens in a streamer process. */
import type { Logger } from 'pino';
import type { DependencyState, OwnedPartition, PartitionIdentity } from '../buffer/buffer.ts';
import type { ClickHouse } from '../clickhouse/client.ts';
import { ClickHouseError, ClickHouseUnavailableError } from '../clickhouse/errors.ts';
import { messageOf } from '../errors.ts';
import { Counter, Gauge, Histogram, metricTable } from '../metrics/metrics.ts';
import { InsertWatch } from './health/delivery-watch.ts';
import type { InsertObserver, InsertResult } from './inserts/clickhouse-sink.ts';
import type { SealedBatch } from './protocol/batch.ts';
import type { DeliveryObserver } from './protocol/delivery.ts';

/** Above the longest pause between two tries of an insert. */
const pingAfterMs = 15_000;

/** Counts everything that happens in the process: the observer of deliveries and inserts, and its instruments. */
export class StreamerObserver implements InsertObserver, DeliveryObserver {
  readonly counters = createCounters();
  readonly instruments;
  readonly #log: Logger;
  readonly #inserts: InsertWatch;
  /** Receive time of the oldest record that is not in ClickHouse, by partition. */
  readonly #oldest = new Map<string, number>();
  #clickhouse: DependencyState = { ok: false, detail: 'not reached yet' };
  /** When ClickHouse was last heard of, or asked. */
  #answeredAt = Number.NEGATIVE_INFINITY;

  constructor(log: Logger) {
    this.#log = log;
    this.#inserts = new InsertWatch(log);
    this.instruments = {
      ...this.counters,
      insertOldest: new Gauge(metricTable.insertOldest, () => this.#inserts.oldestSeconds()),
      oldestSeconds: new Gauge(metricTable.oldestSeconds, () => ageOf(this.#oldest)),
      clickhouseUp: new Gauge(metricTable.clickhouseUp, () => (this.clickhouseState().ok ? 1 : 0)),
    };
  }

  /** Inserts that do not get through count for more than a ping that is answered. */
  clickhouseState(): DependencyState {
    const state = this.#inserts.state();
    return state.ok ? this.#clickhouse : state;
  }

  /** Logs when inserts cease to get through, and when they do again. For every second. */
  report(): void {
    this.#inserts.report();
  }

  /** ClickHouse has answered, or has not. */
  clickhouseAnswered(state: DependencyState): void {
    this.#clickhouse = state;
  }

  /** Without inserts nothing else would notice that ClickHouse went away, or came back. */
  async sampleClickHouse(server: Pick<ClickHouse, 'ping'>): Promise<void> {
    if (this.#inserts.isBusy || performance.now() - this.#answeredAt < pingAfterMs) return;
    this.#answeredAt = performance.now();
    try {
      await server.ping();
      this.#clickhouse = { ok: true };
    } catch (error) {
      if (!(error instanceof ClickHouseUnavailableError || error instanceof ClickHouseError)) throw error;
      this.#clickhouse = { ok: false, detail: messageOf(error).slice(0, 500) };
    }
  }

  began(partition: PartitionIdentity): void {
    this.#inserts.began(partition);
  }

  delayed(partition: PartitionIdentity, reason: string): void {
    this.#inserts.failed(partition, reason);
  }

  ended(partition: PartitionIdentity): void {
    this.#inserts.ended(partition);
  }

  inserted(batch: SealedBatch, { partition }: OwnedPartition, result: InsertResult): void {
    const { rows, deadLetters, repeats, insertDuration, insertRows, freshness } = this.counters;
    this.#clickhouse = { ok: true };
    this.#answeredAt = performance.now();
    rows.add(result.rows, String(partition));
    deadLetters.add(result.deadLetters);
    repeats.add(result.repeats);
    insertDuration.observe(result.milliseconds / 1_000);
    insertRows.observe(result.rows);
    // By rows: after an outage one large batch stands for many small ones that did not come.
    freshness.observe(Math.max(Date.now() - batch.oldestAt, 0) / 1_000, result.rows);
  }

  /** One failure says nothing of the next try: three in a row do. */
  insertFailed(code: number): void {
    this.counters.insertErrors.add(1, String(code));
  }

  refused(code: number): void {
    this.counters.insertErrors.add(1, String(code));
  }

  settled(
    { plan }: SealedBatch,
    { topic, partition }: OwnedPartition,
    { reason, found }: { reason: string; found: number },
  ): void {
    this.counters.settled.add(1);
    const { start, end, rows: planned } = plan;
    this.#log.warn(
      { topic, partition, start, end, found },
      `asked ClickHouse about a batch because ${reason}: it had ${found} of ${planned} records`,
    );
  }

  oldest({ partition }: OwnedPartition, receivedAt: number | undefined): void {
    if (receivedAt === undefined) this.#oldest.delete(String(partition));
    else this.#oldest.set(String(partition), receivedAt);
  }

  replaying({ topic, partition }: OwnedPartition, start: number, end: number): void {
    this.counters.replays.add(1);
    this.#log.info(
      { topic, partition, start, end },
      'inserting the plan of an earlier owner again, with its token',
    );
  }

  expired({ topic, partition }: OwnedPartition, from: number, to: number, count: number): void {
    this.counters.lost.add(count);
    this.#log.error(
      { topic, partition, from, to, lost: count },
      `retention removed ${count} events before they were delivered; delivery continues with the remaining ones`,
    );
  }

  regressed({ topic, partition }: OwnedPartition, position: number, last: number): void {
    this.counters.regressions.add(1);
    this.#log.error(
      { topic, partition, position, last },
      `offset ${position} was committed, but ClickHouse has rows up to ${last}: the commit was lost or set back. ` +
        'Nothing is stored twice: ClickHouse is asked about each batch up to there',
    );
  }

  skipped({ topic, partition }: OwnedPartition, from: number, offset: number): void {
    this.#log.warn(
      { topic, partition, from, offset },
      `offset ${offset} was committed by a program that is not a streamer, and ClickHouse has nothing from ${from} on: ` +
        `records from ${from} to ${offset - 1} are not delivered. To deliver them, stop the streamers and set the ` +
        `offset of the group back to ${from}: rows that ClickHouse already has are not stored twice`,
    );
  }

  topicChanged({ topic, topicId, partition }: OwnedPartition, formerId: string, count: number): void {
    this.counters.topicChanges.add(1);
    this.counters.lost.add(count);
    this.#log.error(
      { topic, partition, topicId, formerId, lost: count },
      'the topic was deleted and created again: undelivered records of the former topic are lost. ' +
        'Delivery continues at the start of the new topic',
    );
  }
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

function ageOf(oldest: ReadonlyMap<string, number>): number {
  if (oldest.size === 0) return 0;
  return Math.max(Date.now() - Math.min(...oldest.values()), 0) / 1_000;
}
