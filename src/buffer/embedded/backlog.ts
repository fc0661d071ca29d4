/** What a group has not delivered yet, seen without owning it. */
import { randomUUID } from 'node:crypto';
import type { Environment } from './environment.ts';
import { decodeKey, keyFrom } from './log-blocks.ts';
import { openLog, readCommit, readPartition, readTotals } from './open-log.ts';
import type { EmbeddedReaderOptions } from './reader.ts';

/** The backlog in figures. */
interface BacklogFigures {
  /** Records that are not delivered. */
  readonly events: number;
  /** Bytes of disk that they take, with those delivered in the last seconds; 0 when there are none. */
  readonly bytes: number;
  /** When about the oldest was received, milliseconds since the epoch; undefined when there are none. */
  readonly oldestMs: number | undefined;
}

/** The backlog of one group in one log. */
export class Backlog {
  /** Identity of the log. */
  readonly topicId: string;
  readonly #environment: Environment;
  readonly #group: string;
  readonly #partitions: number;

  /** Use {@link openBacklog}. */
  constructor(environment: Environment, log: { topicId: string; partitions: number; group: string }) {
    this.topicId = log.topicId;
    this.#environment = environment;
    this.#group = log.group;
    this.#partitions = log.partitions;
  }

  /** Whether everything is delivered, by the newest commits of any process. Costs microseconds. */
  isEmpty(): boolean {
    this.#environment.refresh();
    for (let partition = 0; partition < this.#partitions; partition++) {
      if (this.#range(partition).events > 0) return false;
    }
    return true;
  }

  /** The offsets of a partition that are not delivered: from the first on, and before `end`. Costs microseconds. */
  range(partition: number): { readonly from: number; readonly end: number } {
    this.#environment.refresh();
    const { from, events } = this.#range(partition);
    return { from, end: from + events };
  }

  /** Counts it. */
  figures(): BacklogFigures {
    this.#environment.refresh();
    let events = 0;
    let oldestMs: number | undefined;
    for (let partition = 0; partition < this.#partitions; partition++) {
      const range = this.#range(partition);
      if (range.events === 0) continue;
      events += range.events;
      const receivedMs = this.#receivedMs(partition, range.from);
      if (receivedMs !== undefined) oldestMs = Math.min(oldestMs ?? receivedMs, receivedMs);
    }
    return { events, bytes: events === 0 ? 0 : readTotals(this.#environment).usedBytes, oldestMs };
  }

  /** A lease for reading as this group. */
  createLease(durationMs: number): DrainLock {
    return new DrainLock(this.#environment, this.#group, durationMs);
  }

  /** Gives the log back. */
  close(): Promise<void> {
    return this.#environment.release();
  }

  #range(partition: number): { from: number; events: number } {
    const { start, end } = readPartition(this.#environment, partition);
    const from = Math.max(start, readCommit(this.#environment, this.#group, partition)?.offset ?? 0);
    return { from, events: end - from };
  }

  /** Receive time of the newest record in the block of `offset`: events of a block came at about one time. */
  #receivedMs(partition: number, offset: number): number | undefined {
    const range = { start: keyFrom(partition, offset + 1), end: keyFrom(partition, 0) };
    for (const key of this.#environment.blocks.getKeys({ ...range, reverse: true, limit: 1 })) {
      return decodeKey(key).newestMs;
    }
    return undefined;
  }
}

/**
 * Opens the backlog of a group; creates the log when there is none.
 * @throws OperatorError when the log cannot be opened
 */
export async function openBacklog(options: EmbeddedReaderOptions): Promise<Backlog> {
  const { environment, identity } = await openLog(options);
  return new Backlog(environment, { ...identity, group: options.group });
}

/** How it is stored. */
interface StoredLease {
  readonly holder: string;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/**
 * Says which one of several processes should read as a group, so that they do not take it over from each
 * other in turn. It does no more than that: what keeps two readers from both committing is the generation.
 */
export class DrainLock {
  readonly #environment: Environment;
  readonly #key: [string, string];
  readonly #durationMs: number;
  readonly #holder = randomUUID();

  /** `durationMs` is how long it lasts without being taken again. */
  constructor(environment: Environment, group: string, durationMs: number) {
    this.#environment = environment;
    this.#key = ['lease', group];
    this.#durationMs = durationMs;
  }

  /**
   * Takes it, or prolongs it; false while another process has it.
   * @throws BufferUnavailableError when the disk takes no writes
   */
  async take(): Promise<boolean> {
    this.#environment.refresh();
    if (!this.#isFree()) return false;
    return await this.#environment.write(() => {
      if (!this.#isFree()) return false;
      const lease: StoredLease = { holder: this.#holder, untilMs: Date.now() + this.#durationMs };
      this.#environment.meta.putSync(this.#key, lease);
      return true;
    });
  }

  /** Gives it back, so that another process need not wait until it has run out. */
  async release(): Promise<void> {
    await this.#environment.write(() => {
      if (this.#read()?.holder === this.#holder) this.#environment.meta.removeSync(this.#key);
    });
  }

  #isFree(): boolean {
    const stored = this.#read();
    if (stored === undefined || stored.holder === this.#holder) return true;
    const leftMs = stored.untilMs - Date.now();
    // More than its whole time is left: the clock was set back since.
    return leftMs <= 0 || leftMs > this.#durationMs;
  }

  #read(): StoredLease | undefined {
    return this.#environment.meta.get(this.#key) as StoredLease | undefined;
  }
}
