/** A partition of a Kafka topic for as long as one generation of the consumer group gives it to us. */
import { setMaxListeners } from 'node:events';
import {
  backOffMs,
  type Clock,
  type Moment,
  msBetween,
  pause,
  systemClock,
  untilAborted,
} from '../../time.ts';
import {
  type Commit,
  FencedError,
  OffsetOutOfRangeError,
  type OwnedPartition,
  type ReadOptions,
  type ReadResult,
} from '../buffer.ts';
import { type BrokerLink, maxFetchAnswerBytes, NotConnectedError } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { type Coordinator, isCoordinatorTrouble } from './coordinator.ts';
import {
  codeOf,
  isNetworkTrouble,
  KafkaError,
  kafkaCodes,
  reasonOf,
  Streak,
  transientCodes,
} from './errors.ts';
import type { Generation } from './group-member.ts';
import { type FetchAnswer, fetchApi, ReadTail } from './messages.ts';
import { type Bounds, commitOnce, fetchBounds, fetchCommits } from './offsets.ts';
import { ChecksumError, NotReadableHereError } from './record-batch.ts';
import { FetchedBatches, firstTimestamp } from './record-decoder.ts';

/** Longest long poll in one request; a longer wait is several of them. */
const maxPollMs = 5000;
const answerTimeoutMs = 10_000;
const maxFetchBytes = 2 ** 31 - 1;

const fencingCodes = new Set<number>([
  kafkaCodes.illegalGeneration,
  kafkaCodes.unknownMemberId,
  kafkaCodes.fencedInstanceId,
  kafkaCodes.rebalanceInProgress,
]);

/** What an ownership is made of. */
interface OwnershipContext {
  readonly cluster: Cluster;
  readonly coordinator: Coordinator;
  readonly generation: Generation;
  readonly topicId: string;
  readonly sessionTimeoutMs: number;
  /** Called when the broker says that the generation is over. */
  readonly onFenced: () => void;
  /** Called when `what` has not worked for a while, with the reason; with undefined when it does again. */
  readonly onTrouble: (what: string, reason: string | undefined) => void;
  readonly clock?: Clock;
}

/** Ends in two steps: `revoke` aborts the signal, after which commits still work; `end` stops those, too. */
export class KafkaPartition implements OwnedPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly #context: OwnershipContext;
  readonly #revoking = new AbortController();
  #revokedAt: Moment | undefined;
  #isEnded = false;
  /** Own connections: a long poll holds up whatever comes after it on the same one. */
  #fetchLink: BrokerLink | undefined;
  #queryLink: BrokerLink | undefined;
  /** What a fetch brought beyond what was asked for, and the position it goes on at. */
  #readAhead: { batches: FetchedBatches; next: number } | undefined;
  /** Why the last answer was of no use; undefined when it was, or when there was none. */
  #trouble: string | undefined;
  /** {@link ChecksumError.baseOffset} of the last answer that had one. */
  #suspect: number | undefined;
  readonly #tail = new ReadTail();
  readonly #clock: Clock;
  readonly #reads: Streak;
  readonly #commits: Streak;
  readonly #questions: Streak;

  constructor(context: OwnershipContext, partition: number) {
    this.#context = context;
    this.topic = context.cluster.name;
    this.topicId = context.topicId;
    this.partition = partition;
    this.#clock = context.clock ?? systemClock;
    const streakOf = (what: string) =>
      new Streak((reason) => context.onTrouble(`${what} ${this.#place()}`, reason));
    this.#reads = streakOf('read');
    this.#commits = streakOf('commit');
    this.#questions = streakOf('ask');
    setMaxListeners(0, this.#revoking.signal);
  }

  get signal(): AbortSignal {
    return this.#revoking.signal;
  }

  /** Aborts the signal and with it everything but commits. */
  revoke(reason: string): void {
    if (this.signal.aborted) return;
    this.#revokedAt = this.#clock();
    this.#revoking.abort(new FencedError(`${this.#place()} is given up: ${reason}`));
  }

  /** Ends the ownership: nothing can be committed any more. */
  end(reason: string): void {
    this.#isEnded = true;
    this.revoke(reason);
    this.#fetchLink?.close();
    this.#queryLink?.close();
    this.#readAhead = undefined;
    for (const streak of [this.#reads, this.#commits, this.#questions]) streak.ended();
  }

  async committed(): Promise<Commit | undefined> {
    const { coordinator } = this.#context;
    const commits = await this.#persist(() => fetchCommits(coordinator, this.topic, [this.partition]));
    return commits.get(this.partition);
  }

  bounds(): Promise<Bounds> {
    return this.#persist(async () => fetchBounds(this.#leaderLink('query'), this.topic, this.partition));
  }

  /** The offset before which nothing is left to deliver, when everything before `committed` is delivered. */
  deliveredUpTo(committed: number): number {
    return this.#tail.deliveredUpTo(committed);
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
    for (;;) {
      this.signal.throwIfAborted();
      const readAhead = this.#take(from, options.maxBytes);
      if (readAhead !== undefined) return readAhead;
      this.#trouble = undefined;
      const left = Math.max(0, deadline - performance.now());
      const answer = await untilAborted(this.#fetch(from, { ...options, maxWaitMs: left }), this.signal);
      if (answer?.code === kafkaCodes.none) {
        this.#readAhead = {
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
        this.#trouble = 'the broker reports that its log is damaged there';
      } else if (answer !== undefined) {
        const error = new KafkaError(answer.code, `reading ${this.#place()} from offset ${from}`);
        if (!transientCodes.has(answer.code)) throw error;
        this.#trouble = error.message;
      }
      if (answer?.code !== kafkaCodes.none) this.#context.cluster.hurry();
      await this.#waitOut(from);
      if (performance.now() >= deadline) return { blocks: [], next: from };
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
      const revokedFor = this.#revokedAt === undefined ? 0 : msBetween(this.#revokedAt, this.#clock());
      if (this.#isEnded || revokedFor > sessionTimeoutMs) {
        throw new FencedError(`${this.#place()} is no longer owned: offset ${offset} is not committed`);
      }
      try {
        await commitOnce(coordinator, generation, target);
        this.#commits.ended();
        return;
      } catch (error) {
        const code = codeOf(error);
        if (code !== undefined && fencingCodes.has(code)) {
          onFenced();
          const message = `${this.#place()} has another owner: offset ${offset} is not committed`;
          throw new FencedError(message, { cause: error });
        }
        if (!isCoordinatorTrouble(error) && !transientCodes.has(code ?? 0)) throw error;
        this.#commits.failed(`${this.#place()}: offset ${offset} cannot be committed: ${reasonOf(error)}`);
      }
      // Not with the signal: what was inserted after a revocation should still be recorded.
      await pause(backOffMs(attempt, { mostMs: 1_000 }));
    }
  }

  /** Takes from what was fetched already; undefined when nothing can be read at the position. */
  #take(from: number, maxBytes: number): ReadResult | undefined {
    const readAhead = this.#readAhead;
    if (readAhead === undefined || readAhead.next !== from || readAhead.batches.isEmpty) return undefined;
    try {
      const result = readAhead.batches.take(from, maxBytes);
      if (result.next === from) return undefined;
      readAhead.next = result.next;
      this.#reads.ended();
      this.#tail.note(from, result);
      return result;
    } catch (error) {
      this.#readAhead = undefined;
      if (error instanceof ChecksumError) this.#suspect = error.baseOffset;
      else if (!(error instanceof NotReadableHereError)) throw error;
      this.#trouble = error.message;
      return undefined;
    }
  }

  /** Waits after an answer that was of no use, and says so when they do not get better. */
  async #waitOut(from: number): Promise<void> {
    if (this.#trouble === undefined) {
      this.#reads.ended();
      return;
    }
    this.#reads.failed(`${this.#place()} cannot be read past offset ${from}: ${this.#trouble}`);
    await pause(backOffMs(this.#reads.length, { mostMs: 1_000 }), this.signal);
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
      if (!isNetworkTrouble(error)) throw error;
      this.#trouble = reasonOf(error);
      return undefined;
    }
  }

  /** Tries until it works or the ownership is revoked. @throws FencedError then; KafkaError for good */
  async #persist<T>(ask: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      this.signal.throwIfAborted();
      try {
        const result = await untilAborted(ask(), this.signal);
        this.#questions.ended();
        return result;
      } catch (error) {
        const code = codeOf(error);
        if (error instanceof FencedError) throw error;
        if (!isCoordinatorTrouble(error) && !transientCodes.has(code ?? 0)) throw error;
        this.#questions.failed(`Kafka does not answer requests about ${this.#place()}: ${reasonOf(error)}`);
      }
      this.#context.cluster.hurry();
      await pause(backOffMs(attempt, { mostMs: 1_000 }), this.signal);
    }
  }

  /** The link to the leader of the moment. @throws Error while there is none */
  #leaderLink(purpose: 'fetch' | 'query'): BrokerLink {
    const { cluster } = this.#context;
    const leader = cluster.topic?.leaders[this.partition];
    if (leader === undefined || this.#isEnded) throw new NotConnectedError(`${this.#place()} has no leader`);
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
