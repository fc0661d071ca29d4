import { setTimeout as sleep } from 'node:timers/promises';
import { assertInvariant } from '../../errors.ts';
import { pause } from '../../time.ts';
import {
  BufferUnavailableError,
  type Commit,
  FencedError,
  OffsetOutOfRangeError,
  type OwnedPartition,
  type PartitionLag,
  type ReadOptions,
  type ReadResult,
} from '../buffer.ts';
import type { Environment } from './environment.ts';
import { readBlocks } from './log-blocks.ts';
import {
  type AppendWatch,
  readCommit,
  readGeneration,
  readPartition,
  readTotals,
  writeCommit,
} from './open-log.ts';

/** Between two tries of a commit that the disk did not take. */
const retryMs = 500;
/** After ownership was asked to end, a commit that the disk does not take is given up after this long. */
const lastTriesMs = 5_000;

/** While another process opens the log, its last transaction may be out of sight for a moment: see `LastTransaction`. */
const settleMs = 250;
const settlePollMs = 5;

/** What a record is taken for when it is asked whether there is enough to read: looking up sizes would cost. */
const roughRecordBytes = 64;
/** Between two looks whether there is enough. */
const patientPollMs = 50;

/** What the partitions of one ownership have in common. */
interface Ownership {
  readonly environment: Environment;
  readonly watch: AppendWatch;
  readonly topic: string;
  readonly topicId: string;
  readonly group: string;
  /** Generation of the group that this ownership belongs to. */
  readonly generation: number;
  /** Told when a commit finds that a newer reader has taken over. */
  onFenced(): void;
  /** Told about each try of a commit that the disk did not take. */
  onCommitFailed(error: BufferUnavailableError): void;
  /** Told when a commit that had failed was taken. */
  onCommitRecovered(): void;
}

/** A partition of the embedded log while a reader owns it. */
export class EmbeddedPartition implements OwnedPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly #ownership: Ownership;
  readonly #abort = new AbortController();
  #hasEnded = false;
  #stoppedAt: number | undefined;

  constructor(ownership: Ownership, partition: number) {
    this.topic = ownership.topic;
    this.topicId = ownership.topicId;
    this.partition = partition;
    this.#ownership = ownership;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Asks the owner to come to an end: it can still commit, and no longer read. */
  stop(): void {
    this.#stoppedAt ??= performance.now();
    this.#abort.abort();
  }

  /** Ends the ownership: nothing works from now on. */
  end(): void {
    this.#hasEnded = true;
    this.#abort.abort();
  }

  async committed(): Promise<Commit | undefined> {
    const { environment, group } = this.#use();
    return readCommit(environment, group, this.partition);
  }

  async bounds(): Promise<{ start: number; end: number }> {
    return readPartition(this.#use().environment, this.partition);
  }

  /** Lag of the group, as of now; undefined when ownership has ended. */
  lag(): PartitionLag | undefined {
    if (this.#hasEnded) return undefined;
    const { environment, group, topic } = this.#use();
    const { start, end } = readPartition(environment, this.partition);
    const committed = readCommit(environment, group, this.partition)?.offset ?? start;
    return { topic, partition: this.partition, committed, end };
  }

  async read(from: number, { minBytes = 1, maxBytes, maxWaitMs }: ReadOptions): Promise<ReadResult> {
    const deadline = performance.now() + maxWaitMs;
    const settledAt = performance.now() + settleMs;
    for (;;) {
      if (this.signal.aborted) throw this.#fenced();
      const { environment, watch, topic } = this.#use();
      const { start, end } = readPartition(environment, this.partition);
      if (from > end && performance.now() < settledAt) {
        await sleep(settlePollMs);
        continue;
      }
      if (from < start || from > end) {
        throw new OffsetOutOfRangeError(topic, this.partition, { from, start, end });
      }
      const leftMs = deadline - performance.now();
      if (from < end && (leftMs <= 0 || (end - from) * roughRecordBytes >= minBytes)) {
        return readBlocks(environment, { topic, partition: this.partition, from }, maxBytes);
      }
      if (leftMs <= 0) return { blocks: [], next: from };
      if (from < end || minBytes > roughRecordBytes) {
        await pause(Math.min(leftMs, patientPollMs), this.signal);
        continue;
      }
      // From the snapshot that said there is nothing: an append since then ends the wait.
      const { appended } = readTotals(environment);
      await watch.wait(appended, { maxMs: leftMs, signal: this.signal });
    }
  }

  /**
   * A disk that is full or fails takes no commit: it is tried until it does, since giving up would end the
   * streamer. Repeating a commit of unknown outcome is safe: only this owner commits.
   */
  async commit(offset: number, plan: string): Promise<void> {
    for (let failures = 0; ; failures++) {
      try {
        await this.#commitOnce(offset, plan);
        if (failures > 0) this.#ownership.onCommitRecovered();
        return;
      } catch (error) {
        if (!(error instanceof BufferUnavailableError)) throw error;
        this.#ownership.onCommitFailed(error);
      }
      if (this.#stoppedAt !== undefined && performance.now() - this.#stoppedAt > lastTriesMs) {
        throw this.#fenced();
      }
      await sleep(retryMs);
    }
  }

  async #commitOnce(offset: number, plan: string): Promise<void> {
    const { environment, group, generation, onFenced } = this.#use();
    const owner = { group, partition: this.partition };
    const isOwner = await environment.write(() => {
      if (readGeneration(environment, group) !== generation) return false;
      const previous = readCommit(environment, group, this.partition)?.offset ?? 0;
      const { end } = readPartition(environment, this.partition);
      assertInvariant(
        offset >= previous && offset <= end,
        `commit of offset ${offset} in ${this.topic}/${this.partition}: not between the last commit, ${previous}, and the end, ${end}`,
      );
      writeCommit(environment, owner, { offset, plan });
      return true;
    });
    if (isOwner) return;
    onFenced();
    throw this.#fenced();
  }

  /** Makes what is read next current. */
  #use(): Ownership {
    if (this.#hasEnded) throw this.#fenced();
    this.#ownership.environment.refresh();
    return this.#ownership;
  }

  #fenced(): FencedError {
    return new FencedError(`Ownership of ${this.topic}/${this.partition} has ended.`);
  }
}
