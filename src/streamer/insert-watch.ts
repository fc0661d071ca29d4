/** Whether inserts get through: what the process says of its health comes from them, not from pings. */
import type { Logger } from 'pino';
import type { DependencyState } from '../buffer/buffer.ts';
import { type Clock, type Moment, msBetween, systemClock } from '../buffer/moment.ts';
import { StateLog } from './state-log.ts';

/** So many failed tries of one batch in a row are no accident. */
const patientTries = 3;
/** An insert that takes longer has not got through, whatever becomes of it. Milliseconds. */
export const stuckAfterMs = 30_000;

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
    this.#told = new StateLog(log, 'inserts get through again');
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
      `the insert for ${worst.name} has not got through for ${Math.round(worst.ageMs / 1_000)} s: ${why}. It is tried ` +
      'again with the same token, nothing is lost. Look at system.processes, system.errors, the disk and the log of ' +
      'ClickHouse, and whether --clickhouse-url leads there';
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
