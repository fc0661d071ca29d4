/**
 * Whether what was acknowledged gets through: what a streamer says of its health comes from this, not from pings.
 *
 * Watches how many records wait in the buffer, and whether those that wait get fewer.
 */
import type { Logger } from 'pino';
import {
  type BufferReader,
  BufferUnavailableError,
  type DependencyState,
  FencedError,
  type PartitionLag,
} from '../../buffer/buffer.ts';
import { type Clock, type Moment, msBetween, systemClock } from '../../time.ts';

/** Logs a state that is looked at again and again: once when it is no longer ok, and once when it is again. */
class StateLog {
  readonly #log: Logger;
  readonly #restored: string;
  #isTold = false;

  /** @param restored what the log says when it is ok again */
  constructor(log: Logger, restored: string) {
    this.#log = log;
    this.#restored = restored;
  }

  /** Notes the state as it is now. */
  note(state: DependencyState): void {
    if (!state.ok && !this.#isTold) this.#log.warn(state.detail);
    if (state.ok && this.#isTold) this.#log.info(this.#restored);
    this.#isTold = !state.ok;
  }
}

/** So many failed tries of one batch in a row are no accident. */
const patientTries = 3;
/** An insert that takes longer has not got through, whatever becomes of it. Milliseconds. */
const stuckAfterMs = 30_000;

/** Which partition. */
interface Place {
  readonly topic: string;
  readonly partition: number;
}

/** A batch on its way into ClickHouse, or a question about one. */
interface Work {
  readonly since: Moment;
  failures: number;
  reason: string;
}

/** Follows what each partition is about to insert. */
export class InsertWatch {
  readonly #told: StateLog;
  readonly #clock: Clock;
  /** By `topic/partition`: of each one batch at a time. */
  readonly #works = new Map<string, Work>();

  constructor(log: Logger, clock: Clock = systemClock) {
    this.#told = new StateLog(log, 'inserts succeed again');
    this.#clock = clock;
  }

  /** A batch of this partition is to be inserted, or ClickHouse to be asked about one. */
  began(place: Place): void {
    this.#works.set(nameOf(place), { since: this.#clock(), failures: 0, reason: '' });
  }

  /** One try failed; there will be another. */
  failed(place: Place, reason: string): void {
    const work = this.#works.get(nameOf(place));
    if (work === undefined) return;
    work.failures++;
    work.reason = reason;
  }

  /** It got through, or the partition is given up. */
  ended(place: Place): void {
    this.#works.delete(nameOf(place));
  }

  /** Whether something is under way. */
  get isBusy(): boolean {
    return this.#works.size > 0;
  }

  /** Age of the oldest insert that has not got through, seconds; 0 when none is under way. */
  oldestSeconds(): number {
    const now = this.#clock();
    return Math.max(0, ...[...this.#works.values()].map(({ since }) => msBetween(since, now))) / 1_000;
  }

  /** Not ok while a batch has failed three times in a row, or is under way for longer than 30 s. */
  state(): DependencyState {
    const now = this.#clock();
    let worst: { name: string; work: Work; ageMs: number } | undefined;
    for (const [name, work] of this.#works) {
      const ageMs = msBetween(work.since, now);
      const isStuck = work.failures >= patientTries || ageMs >= stuckAfterMs;
      if (isStuck && ageMs >= (worst?.ageMs ?? 0)) worst = { name, work, ageMs };
    }
    if (worst === undefined) return { ok: true };
    const { failures, reason } = worst.work;
    const why =
      failures === 0 ? 'ClickHouse has not answered yet' : `${failures} tries failed, the last: ${reason}`;
    const detail =
      `the insert for ${worst.name} has not succeeded for ${Math.round(worst.ageMs / 1_000)} s: ${why}. It is retried ` +
      'with the same token; nothing is lost. Look at system.processes, system.errors, the disk and the log of ' +
      'ClickHouse, and check --clickhouse-url';
    return { ok: false, detail };
  }

  /** Logs when inserts cease to get through, and when they do again. For every second. */
  report(): void {
    this.#told.note(this.state());
  }
}

function nameOf({ topic, partition }: Place): string {
  return `${topic}/${partition}`;
}

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
      const detail = `the lag cannot be read, so the reported lag is out of date: ${error.message}`;
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
        'Look in the log and in the states of buffer and ClickHouse for what holds them up';
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
