/**
 * The reading end of the embedded log. One reader of a group owns all partitions: sharing them would need
 * leases and a rebalance between processes, and one streamer reads this log faster than one machine's
 * collectors fill it. The newest reader wins, as a restarted streamer must not wait for a lease of the one
 * that it replaces; the generation of the group, checked within each commit, fences the older one.
 */
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../../errors.ts';
import { pause } from '../../time.ts';
import {
  type BufferReader,
  BufferUnavailableError,
  type DependencyState,
  FencedError,
  type OwnedPartition,
  type PartitionExpiry,
  type PartitionLag,
} from '../buffer.ts';
import {
  AppendWatch,
  type EmbeddedLogOptions,
  type OpenLog,
  openLog,
  raiseGeneration,
  readGeneration,
} from './open-log.ts';
import { EmbeddedPartition } from './owned-partition.ts';

/** Options of {@link openEmbeddedReader}. */
export interface EmbeddedReaderOptions extends EmbeddedLogOptions {
  /** Consumer group that commits belong to. */
  readonly group: string;
}

/** Another reader of the group has taken the log over: this one has ended for good. Exit 69. */
export class TakenOverError extends OperatorError {
  constructor(message: string) {
    super(message, exitCodes.unavailable);
  }
}

const generationPollMs = 1_000;
/** Between two tries to take the log over while the disk takes no writes. */
const retryMs = 500;

/**
 * Opens a log for reading, and creates it when there is none: a streamer may start before any collector.
 * Ownership begins with `run`, which takes the group over from whoever had it.
 * @throws OperatorError when it cannot be opened
 */
export async function openEmbeddedReader(options: EmbeddedReaderOptions): Promise<BufferReader> {
  return new EmbeddedReader(await openLog(options), options);
}

class EmbeddedReader implements BufferReader {
  readonly #open: OpenLog;
  readonly #topic: string;
  readonly #group: string;
  readonly #log: Logger | undefined;
  readonly #closing = new AbortController();
  #generation = 0;
  #owned: EmbeddedPartition[] = [];
  #isFenced = false;
  /** Why the disk takes no commits now. */
  #trouble: BufferUnavailableError | undefined;
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(open: OpenLog, options: EmbeddedReaderOptions) {
    this.#open = open;
    this.#topic = options.topic;
    this.#group = options.group;
    this.#log = options.log;
  }

  run(deliver: (partition: OwnedPartition) => Promise<void>): Promise<void> {
    if (this.#closed !== undefined) return Promise.resolve();
    this.#running ??= this.#run(deliver);
    return this.#running;
  }

  state(): DependencyState {
    if (this.#closed !== undefined) return { ok: false, detail: 'The embedded log is closed.' };
    if (this.#isFenced) return { ok: false, detail: this.#fencedMessage() };
    return this.#trouble === undefined ? { ok: true } : { ok: false, detail: this.#trouble.message };
  }

  async lag(): Promise<PartitionLag[]> {
    return this.#owned.map((partition) => partition.lag()).filter((lag) => lag !== undefined);
  }

  /** Retention removes delivered records only. */
  async expiries(): Promise<PartitionExpiry[]> {
    return [];
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    for (const partition of this.#owned) partition.stop();
    await this.#running?.catch(() => undefined);
    await this.#open.environment.release();
  }

  async #run(deliver: (partition: OwnedPartition) => Promise<void>): Promise<void> {
    const { environment, identity } = this.#open;
    const group = this.#group;
    const generation = await this.#takeOver();
    if (generation === undefined) return;
    this.#generation = generation;
    const watch = new AppendWatch(environment);
    const { topicId, partitions } = identity;
    const ownership = {
      ...{ environment, watch, topicId, group },
      topic: this.#topic,
      generation,
      onFenced: () => this.#checkGeneration(),
      onCommitFailed: (error: BufferUnavailableError) => this.#onTrouble(error),
      onCommitRecovered: () => this.#onTrouble(undefined),
    };
    this.#owned = Array.from({ length: partitions }, (_, p) => new EmbeddedPartition(ownership, p));
    this.#log?.info(
      { topic: this.#topic, partitions, generation: this.#generation },
      'owns the embedded log',
    );
    const poll = setInterval(() => this.#checkGeneration(), generationPollMs);
    try {
      if (this.#closing.signal.aborted) return;
      await this.#deliverAll(deliver);
      await this.#waitForEnd();
    } finally {
      clearInterval(poll);
    }
    if (this.#isFenced) throw new TakenOverError(this.#fencedMessage());
  }

  /** Waits while the disk takes no writes; undefined when the reader closes meanwhile. */
  async #takeOver(): Promise<number | undefined> {
    const { environment } = this.#open;
    while (!this.#closing.signal.aborted) {
      try {
        const generation = await environment.write(() => raiseGeneration(environment, this.#group));
        this.#onTrouble(undefined);
        return generation;
      } catch (error) {
        if (!(error instanceof BufferUnavailableError)) throw error;
        this.#onTrouble(error);
      }
      await pause(retryMs, this.#closing.signal);
    }
    return undefined;
  }

  /** Logs when the disk stops to take commits, and when it takes them again: once each. */
  #onTrouble(error: BufferUnavailableError | undefined): void {
    const before = this.#trouble;
    this.#trouble = error;
    const about = { topic: this.#topic, group: this.#group };
    if (error !== undefined && before === undefined) this.#log?.error(about, error.message);
    if (error === undefined && before !== undefined) {
      this.#log?.info(about, 'the embedded log accepts commits again');
    }
  }

  /** Runs `deliver` for all partitions; the first unexpected error stops all, and is thrown when all are back. */
  async #deliverAll(deliver: (partition: OwnedPartition) => Promise<void>): Promise<void> {
    const failures: unknown[] = [];
    const deliverOne = async (partition: EmbeddedPartition) => {
      try {
        await deliver(partition);
      } catch (error) {
        if (error instanceof FencedError) {
          this.#checkGeneration();
        } else {
          failures.push(error);
          for (const other of this.#owned) other.stop();
        }
      } finally {
        partition.end();
      }
    };
    const owned = this.#owned;
    await Promise.all(owned.map(deliverOne));
    this.#owned = [];
    if (failures.length > 0) throw failures[0];
  }

  /** When every `deliver` has returned by itself, there is nothing to do until the reader closes or is fenced. */
  async #waitForEnd(): Promise<void> {
    while (!this.#closing.signal.aborted && !this.#isFenced) {
      await pause(generationPollMs, this.#closing.signal);
    }
  }

  /** Stops everything when a newer reader has taken the group over. */
  #checkGeneration(): void {
    const { environment } = this.#open;
    environment.refresh();
    if (this.#isFenced || readGeneration(environment, this.#group) === this.#generation) return;
    this.#isFenced = true;
    this.#log?.warn(
      { topic: this.#topic, group: this.#group },
      'another streamer took over the embedded log',
    );
    for (const partition of this.#owned) partition.stop();
  }

  #fencedMessage(): string {
    return `Another streamer of group ${this.#group} took over the embedded log in ${this.#open.environment.path}. One streamer at a time reads an embedded log: stop one of them, or use --buffer kafka to run several.`;
  }
}
