/** Watches how many records wait in the buffer, and whether those that wait get fewer. */
import type { Logger } from 'pino';
import {
  type BufferReader,
  BufferUnavailableError,
  type DependencyState,
  FencedError,
  type PartitionLag,
} from '../buffer/buffer.ts';
import { type Clock, type Moment, msBetween, systemClock } from '../buffer/moment.ts';
import { StateLog } from './state-log.ts';

/** A partition that has records to deliver makes progress within this time, or twice the age of a batch if that is longer. */
const patientMs = 60_000;

interface Waiting {
  readonly committed: number;
  readonly since: Moment;
}

/** Looks at the lag when it is told to. */
export class LagWatch {
  readonly #reader: BufferReader;
  readonly #readable: StateLog;
  readonly #delivered: StateLog;
  readonly #clock: Clock;
  readonly #stalledAfterMs: number;
  #lags: readonly PartitionLag[] = [];
  /** Since when a partition that has lag was committed no further. */
  #waiting = new Map<number, Waiting>();
  #isSampling = false;

  /** `ageMs`: how long a batch may wait for more rows. */
  constructor(
    reader: BufferReader,
    log: Logger,
    { ageMs, clock = systemClock }: { ageMs: number; clock?: Clock },
  ) {
    this.#reader = reader;
    this.#readable = new StateLog(log, 'the lag can be read again');
    this.#delivered = new StateLog(log, 'records that waited are delivered again');
    this.#clock = clock;
    this.#stalledAfterMs = Math.max(patientMs, 2 * ageMs);
  }

  /** Lag by partition, as last seen. */
  get lags(): ReadonlyMap<string, number> {
    return new Map(this.#lags.map(({ partition, committed, end }) => [String(partition), end - committed]));
  }

  /**
   * Looks, unless the last look is still under way.
   * @throws whatever is no trouble of the buffer
   */
  async sample(): Promise<void> {
    if (this.#isSampling) return;
    this.#isSampling = true;
    try {
      this.#accept(await this.#reader.lag());
      this.#readable.note({ ok: true });
    } catch (error) {
      if (!(error instanceof BufferUnavailableError || error instanceof FencedError)) throw error;
      const detail = `the lag cannot be read, what is told of it is old: ${error.message}`;
      this.#readable.note({ ok: false, detail });
    } finally {
      this.#isSampling = false;
    }
  }

  /** Not ok while a partition has undelivered records and none of them gets through. */
  state(): DependencyState {
    const now = this.#clock();
    for (const { topic, partition, committed, end } of this.#lags) {
      const since = this.#waiting.get(partition)?.since;
      const ms = since === undefined ? 0 : msBetween(since, now);
      if (ms < this.#stalledAfterMs) continue;
      const detail =
        `${topic}/${partition}: ${end - committed} records wait, and none was delivered for ${Math.round(ms / 1_000)} s. ` +
        'See in the log and in the states of buffer and ClickHouse what holds them up';
      return { ok: false, detail };
    }
    return { ok: true };
  }

  #accept(lags: readonly PartitionLag[]): void {
    const now = this.#clock();
    const waiting = new Map<number, Waiting>();
    for (const { partition, committed, end } of lags) {
      if (end <= committed) continue;
      const before = this.#waiting.get(partition);
      waiting.set(partition, before?.committed === committed ? before : { committed, since: now });
    }
    this.#lags = lags;
    this.#waiting = waiting;
    this.#delivered.note(this.state());
  }
}
