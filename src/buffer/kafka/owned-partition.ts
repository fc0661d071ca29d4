/** A partition of a Kafka topic for as long as one generation of the consumer group gives it to us. */
import { setMaxListeners } from 'node:events';
import {
  type Commit,
  FencedError,
  OffsetOutOfRangeError,
  type OwnedPartition,
  type ReadOptions,
  type ReadResult,
} from '../buffer.ts';
import { pause } from '../pause.ts';
import { BrokerAnswerError, maxFetchAnswerBytes } from './answer-guard.ts';
import { backoffMs, untilAborted } from './backoff.ts';
import type { BrokerLink } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { type Coordinator, isCoordinatorTrouble } from './coordinator.ts';
import { type FetchAnswer, fetchApi } from './fetch-api.ts';
import type { Generation } from './group-member.ts';
import { codeOf, KafkaError, kafkaCodes, transientCodes } from './kafka-errors.ts';
import { type Bounds, commitOnce, fetchBounds, fetchCommits } from './offsets.ts';
import { FetchedBatches, firstTimestamp } from './record-decoder.ts';
import { ChecksumError, NotReadableHereError } from './unreadable.ts';

/** Longest long poll in one request; a longer wait is several of them. */
const maxPollMs = 5000;
const answerTimeoutMs = 10_000;
const maxFetchBytes = 2 ** 31 - 1;
/** Answers in a row that are of no use, before anything is said of it: the next one is often better. */
const patientAnswers = 3;

const fencingCodes = new Set<number>([
  kafkaCodes.illegalGeneration,
  kafkaCodes.unknownMemberId,
  kafkaCodes.fencedInstanceId,
  kafkaCodes.rebalanceInProgress,
]);

/** What an ownership is made of. */
export interface OwnershipContext {
  readonly cluster: Cluster;
  readonly coordinator: Coordinator;
  readonly generation: Generation;
  readonly topicId: string;
  readonly sessionTimeoutMs: number;
  /** Called when the broker says that the generation is over. */
  readonly onFenced: () => void;
  /** Called when a partition cannot be read on from where it is, with the reason; undefined when it can be again. */
  readonly onTrouble: (reason: string | undefined) => void;
}

/** Ends in two steps: `revoke` aborts the signal, after which commits still work; `end` stops those, too. */
export class KafkaPartition implements OwnedPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly #context: OwnershipContext;
  readonly #revoking = new AbortController();
  #revokedAt: number | undefined;
  #isEnded = false;
  /** Own connections: a long poll holds up whatever comes after it on the same one. */
  #fetchLink: BrokerLink | undefined;
  #queryLink: BrokerLink | undefined;
  /** What a fetch brought beyond what was asked for, and the position it goes on at. */
  #ahead: { batches: FetchedBatches; next: number } | undefined;
  /** Why the last answer was of no use; undefined when it was, or when there was none. */
  #trouble: string | undefined;
  /** {@link ChecksumError.baseOffset} of the last answer that had one. */
  #suspect: number | undefined;
  /** Answers in a row that were of no use. */
  #useless = 0;

  constructor(context: OwnershipContext, partition: number) {
    this.#context = context;
    this.topic = context.cluster.name;
    this.topicId = context.topicId;
    this.partition = partition;
    setMaxListeners(0, this.#revoking.signal);
  }

  get signal(): AbortSignal {
    return this.#revoking.signal;
  }

  /** Aborts the signal and with it everything but commits. */
  revoke(reason: string): void {
    if (this.signal.aborted) return;
    this.#revokedAt = performance.now();
    this.#revoking.abort(new FencedError(`${this.#place()} is given up: ${reason}`));
  }

  /** Ends the ownership: nothing can be committed any more. */
  end(reason: string): void {
    this.#isEnded = true;
    this.revoke(reason);
    this.#fetchLink?.close();
    this.#queryLink?.close();
    this.#ahead = undefined;
  }

  async committed(): Promise<Commit | undefined> {
    const { coordinator } = this.#context;
    const commits = await this.#persist(() => fetchCommits(coordinator, this.topic, [this.partition]));
    return commits.get(this.partition);
  }

  bounds(): Promise<Bounds> {
    return this.#persist(() => this.currentBounds());
  }

  /** The bounds, asked for once. @throws Error when the leader cannot be asked now */
  async currentBounds(): Promise<Bounds> {
    return fetchBounds(this.#leaderLink('query'), this.topic, this.partition);
  }

  /**
   * When the record at `offset` was received at the earliest, asked for once; 0 when retention has passed it.
   * Taken from the head of its batch, which is not decompressed for it.
   * @throws Error when the leader cannot be asked now
   */
  async receivedAt(offset: number): Promise<number> {
    // A batch comes whole, however few bytes are asked for.
    const request = {
      topicId: this.topicId,
      partition: this.partition,
      from: offset,
      maxWaitMs: 0,
      maxBytes: 1,
    };
    const { code, records } = await this.#leaderLink('query').request(fetchApi, request);
    if (code === kafkaCodes.offsetOutOfRange) return 0;
    if (code !== kafkaCodes.none) throw new KafkaError(code, `reading ${this.#place()} at offset ${offset}`);
    return firstTimestamp(records) ?? Date.now();
  }

  async read(from: number, options: ReadOptions): Promise<ReadResult> {
    const deadline = performance.now() + options.maxWaitMs;
    for (let attempt = 0; ; attempt++) {
      this.signal.throwIfAborted();
      const ahead = this.#take(from, options.maxBytes);
      if (ahead !== undefined) return ahead;
      this.#trouble = undefined;
      const left = Math.max(0, deadline - performance.now());
      const answer = await untilAborted(this.#fetch(from, { ...options, maxWaitMs: left }), this.signal);
      if (answer?.code === kafkaCodes.none) {
        this.#ahead = {
          batches: new FetchedBatches(answer.records, answer.aborted, this.#suspect),
          next: from,
        };
        const taken = this.#take(from, options.maxBytes);
        if (taken !== undefined) return taken;
        if (answer.records.length > 0) this.#trouble ??= 'the broker sends no whole record batch';
      } else if (answer?.code === kafkaCodes.offsetOutOfRange) {
        const range = await this.bounds();
        // Otherwise it came into range since then, or the broker asked was not the leader.
        if (from < range.start || from > range.end) {
          throw new OffsetOutOfRangeError(this.topic, this.partition, { from, ...range });
        }
      } else if (answer?.code === kafkaCodes.corruptMessage) {
        this.#trouble = 'the broker says that its log is damaged there';
      } else if (answer !== undefined && !transientCodes.has(answer.code)) {
        throw new KafkaError(answer.code, `reading ${this.#place()} from offset ${from}`);
      }
      await this.#waitOut(from);
      if (performance.now() >= deadline) return { blocks: [], next: from };
      if (answer?.code !== kafkaCodes.none) await this.#recover(attempt, deadline);
    }
  }

  /**
   * Repeats a commit of unknown outcome, as long as the generation lasts and never in another one. A
   * FencedError after such a failure means that the next owner reads either the old or the new commit.
   */
  async commit(offset: number, plan: string): Promise<void> {
    const { coordinator, generation, sessionTimeoutMs, onFenced } = this.#context;
    const target = { topic: this.topic, partition: this.partition, commit: { offset, plan } };
    for (let attempt = 0; ; attempt++) {
      const revokedFor = this.#revokedAt === undefined ? 0 : performance.now() - this.#revokedAt;
      if (this.#isEnded || revokedFor > sessionTimeoutMs) {
        throw new FencedError(`${this.#place()} is no longer owned: offset ${offset} is not committed`);
      }
      try {
        await commitOnce(coordinator, generation, target);
        return;
      } catch (error) {
        const code = codeOf(error);
        if (code !== undefined && fencingCodes.has(code)) {
          onFenced();
          const message = `${this.#place()} has another owner: offset ${offset} is not committed`;
          throw new FencedError(message, { cause: error });
        }
        if (!isCoordinatorTrouble(error) && !transientCodes.has(code ?? 0)) throw error;
      }
      // Not with the signal: what was inserted after a revocation should still be recorded.
      await pause(backoffMs(attempt, 1000));
    }
  }

  /** Takes from what was fetched already; undefined when nothing can be read at the position. */
  #take(from: number, maxBytes: number): ReadResult | undefined {
    const ahead = this.#ahead;
    if (ahead === undefined || ahead.next !== from || ahead.batches.isEmpty) return undefined;
    try {
      const result = ahead.batches.take(from, maxBytes);
      if (result.next === from) return undefined;
      ahead.next = result.next;
      if (this.#useless > patientAnswers) this.#context.onTrouble(undefined);
      this.#useless = 0;
      return result;
    } catch (error) {
      this.#ahead = undefined;
      if (error instanceof ChecksumError) this.#suspect = error.baseOffset;
      else if (!(error instanceof NotReadableHereError)) throw error;
      this.#trouble = error.message;
      return undefined;
    }
  }

  /** Waits after an answer that was of no use, and says so when they do not get better. */
  async #waitOut(from: number): Promise<void> {
    if (this.#trouble === undefined) return;
    this.#useless++;
    if (this.#useless > patientAnswers) {
      this.#context.onTrouble(`${this.#place()} cannot be read on from offset ${from}: ${this.#trouble}`);
    }
    await pause(backoffMs(this.#useless, 1000), this.signal);
  }

  /** Undefined when no answer came. */
  async #fetch(
    from: number,
    { minBytes = 1, maxBytes, maxWaitMs }: ReadOptions,
  ): Promise<FetchAnswer | undefined> {
    try {
      return await this.#leaderLink('fetch').request(fetchApi, {
        topicId: this.topicId,
        partition: this.partition,
        from,
        maxWaitMs: Math.min(maxPollMs, Math.ceil(maxWaitMs)),
        minBytes,
        maxBytes: Math.min(maxBytes, maxFetchBytes),
      });
    } catch (error) {
      const code = codeOf(error);
      if (code !== undefined) throw error;
      if (error instanceof BrokerAnswerError) this.#trouble = error.message;
      return undefined;
    }
  }

  /** Tries until it works or the ownership is revoked. @throws FencedError then; KafkaError for good */
  async #persist<T>(ask: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      this.signal.throwIfAborted();
      try {
        return await untilAborted(ask(), this.signal);
      } catch (error) {
        const code = codeOf(error);
        if (error instanceof FencedError) throw error;
        if (!isCoordinatorTrouble(error) && !transientCodes.has(code ?? 0)) throw error;
      }
      await this.#recover(attempt, Number.POSITIVE_INFINITY);
    }
  }

  async #recover(attempt: number, deadline: number): Promise<void> {
    this.#context.cluster.refresh().catch(() => {});
    const left = Math.max(0, deadline - performance.now());
    await pause(Math.min(backoffMs(attempt, 1000), left), this.signal);
  }

  /** The link to the leader of the moment. @throws Error while there is none */
  #leaderLink(purpose: 'fetch' | 'query'): BrokerLink {
    const { cluster } = this.#context;
    const leader = cluster.topic?.leaders[this.partition];
    if (leader === undefined || this.#isEnded) throw new Error(`${this.#place()} has no leader`);
    const before = purpose === 'fetch' ? this.#fetchLink : this.#queryLink;
    if (before?.address.host === leader.host && before.address.port === leader.port) return before;
    before?.close();
    const link = cluster.createLink(leader, maxPollMs + answerTimeoutMs, maxFetchAnswerBytes);
    if (purpose === 'fetch') this.#fetchLink = link;
    else this.#queryLink = link;
    return link;
  }

  #place(): string {
    return `${this.topic}/${this.partition}`;
  }
}
