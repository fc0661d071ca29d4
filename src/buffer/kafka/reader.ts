/** The reading end of a buffer in Kafka: a member of a consumer group. */
import type { Logger } from 'pino';
import { assertInvariant } from '../../errors.ts';
import { backOffMs, pause } from '../../time.ts';
import {
  type BufferReader,
  BufferUnavailableError,
  type DependencyState,
  FencedError,
  type OwnedPartition,
  type PartitionExpiry,
  type PartitionLag,
} from '../buffer.ts';
import { Cluster } from './cluster.ts';
import { Coordinator } from './coordinator.ts';
import { isKafkaTrouble, reasonOf } from './errors.ts';
import { type Generation, GroupMember } from './group-member.ts';
import { describeStrangers } from './group-protocol.ts';
import { earliest, fetchCommits, LeaderLinks, latest, RetentionReader } from './offsets.ts';
import { KafkaPartition } from './owned-partition.ts';
import { Session } from './session.ts';
import type { TopicSettings } from './topics.ts';

/** What a reader is opened with. */
export interface KafkaReaderOptions {
  /** Brokers to start from, `host:port`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Consumer group. */
  readonly group: string;
  /** Name of this client in the broker's logs and quotas. */
  readonly clientId: string;
  /**
   * Without a heartbeat for this long, partitions go to other members; also how long a rebalance waits for
   * work to be finished. Milliseconds.
   */
  readonly sessionTimeoutMs: number;
  /** How to create the topic when it does not exist; it is not created when undefined. */
  readonly createTopic?: TopicSettings | undefined;
  readonly log: Logger;
}

/** Failures to join in a row that are not worth a word. */
const patientTries = 4;

type Deliver = (partition: OwnedPartition) => Promise<void>;

/**
 * Opens a reader, whether Kafka can be reached or not: it connects in the background, and `state` says what
 * it waits for.
 *
 * It never moves a position by itself: not when there is no commit, not when an offset is out of range. A
 * commit is sent in the generation of its ownership only. Only records of finished transactions are read.
 */
export function openKafkaReader(options: KafkaReaderOptions): BufferReader {
  return new KafkaReader(options);
}

class KafkaReader implements BufferReader {
  readonly #options: KafkaReaderOptions;
  readonly #cluster: Cluster;
  readonly #coordinator: Coordinator;
  readonly #member: GroupMember;
  readonly #leaders: LeaderLinks;
  readonly #retention: RetentionReader;
  readonly #stopping = new AbortController();
  /** The last delivery of each partition: the next one of the same partition waits for it. */
  readonly #deliveries = new Map<number, Promise<void>>();
  #owned: KafkaPartition[] = [];
  #session: Session | undefined;
  #running: Promise<void> | undefined;
  /** What does not work, and why, by what it is. */
  readonly #problems = new Map<string, string>();
  /** What a `deliver` threw; ends `run`. */
  #failure: { error: unknown } | undefined;

  constructor(options: KafkaReaderOptions) {
    const { sessionTimeoutMs } = options;
    this.#options = options;
    this.#cluster = new Cluster(options);
    this.#retention = new RetentionReader(this.#cluster, options.log);
    const quick = Math.max(500, sessionTimeoutMs / 3);
    this.#leaders = new LeaderLinks(this.#cluster, quick);
    this.#coordinator = new Coordinator(this.#cluster, options.group, {
      join: sessionTimeoutMs * 2,
      heartbeat: quick,
      offsets: quick,
    });
    const timeouts = { sessionTimeoutMs, rebalanceTimeoutMs: sessionTimeoutMs };
    this.#member = new GroupMember(this.#cluster, this.#coordinator, timeouts);
  }

  run(deliver: Deliver): Promise<void> {
    if (this.#running !== undefined) throw new Error('run may be called once');
    this.#running = this.#run(deliver);
    return this.#running;
  }

  state(): DependencyState {
    const state = this.#cluster.state();
    const [problem] = this.#problems.values();
    return !state.ok || problem === undefined ? state : { ok: false, detail: problem };
  }

  async lag(): Promise<PartitionLag[]> {
    const { topic } = this.#options;
    const owned = this.#owned;
    if (owned.length === 0) return [];
    const partitions = owned.map(({ partition }) => partition);
    return this.#ask('the lag', async () => {
      const [commits, ends] = await Promise.all([
        fetchCommits(this.#coordinator, topic, partitions),
        this.#leaders.offsets(partitions, latest),
      ]);
      const fresh = partitions.filter((partition) => !commits.has(partition));
      const starts = await this.#leaders.offsets(fresh, earliest);
      return owned.map((one) => {
        const { partition } = one;
        const committed = commits.get(partition)?.offset ?? starts.get(partition) ?? 0;
        const end = Math.max(ends.get(partition) ?? 0, committed);
        return { topic, partition, committed: Math.min(one.deliveredUpTo(committed), end), end };
      });
    });
  }

  /** By age alone. A segment goes when its newest record is too old, so this is the earliest time. */
  async expiries(): Promise<PartitionExpiry[]> {
    const owned = this.#owned;
    if (owned.length === 0) return [];
    const retentionMs = (await this.#ask('the retention', () => this.#retention.read()))?.ms;
    if (retentionMs === undefined) return [];
    const lags = new Map((await this.lag()).map((lag) => [lag.partition, lag]));
    return this.#ask('the age of records', () =>
      Promise.all(
        owned.map(async (one) => {
          const { topic, partition } = one;
          const { committed, end } = lags.get(partition) ?? { committed: 0, end: 0 };
          const receivedAt = end > committed ? await one.receivedAt(committed) : Date.now();
          return { topic, partition, lag: end - committed, retentionMs, expiresAt: receivedAt + retentionMs };
        }),
      ),
    );
  }

  /** Asks once. @throws BufferUnavailableError when Kafka does not tell */
  async #ask<T>(what: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!isKafkaTrouble(error)) throw error;
      this.#cluster.hurry();
      throw new BufferUnavailableError(`Kafka does not report ${what}: ${reasonOf(error)}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    this.#session?.rebalance('the reader closes');
    if (this.#session === undefined) this.#coordinator.drop('join');
    await this.#running?.catch(() => {});
    this.#leaders.close();
    this.#coordinator.close();
    await this.#cluster.close();
  }

  async #run(deliver: Deliver): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted && this.#failure === undefined) {
      const generation = await this.#join();
      if (generation !== undefined) await this.#serve(generation, deliver);
    }
    await Promise.all(this.#deliveries.values());
    await this.#member.leave();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Joins until it works; undefined when the reader closes. */
  async #join(): Promise<Generation | undefined> {
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; ) {
      try {
        // Joined members are given partitions of the topic as it is now.
        await this.#cluster.refresh();
        const generation = await this.#member.join();
        if (generation !== undefined) {
          this.#setProblem('join', undefined);
          this.#noteStrangers(generation);
          return generation;
        }
      } catch (error) {
        if (!isKafkaTrouble(error)) throw error;
        // The cluster logs what is wrong with itself, and a coordinator that starts is soon ready.
        if (this.#cluster.state().ok && !signal.aborted && attempt >= patientTries) {
          this.#setProblem(
            'join',
            `consumer group ${this.#options.group} cannot be joined: ${reasonOf(error)}`,
          );
        }
        await pause(backOffMs(attempt++), signal);
      }
    }
    return undefined;
  }

  /** Owns the partitions of one generation until it is over and all deliveries have settled. */
  async #serve(generation: Generation, deliver: Deliver): Promise<void> {
    const { sessionTimeoutMs, log, group } = this.#options;
    const { topic } = this.#cluster;
    // An empty id would make every commit one of a former topic, and delivery begin at its start again.
    assertInvariant(
      topic !== undefined && topic.id !== '',
      `a generation of ${group} was joined without a topic`,
    );
    const session = new Session(this.#member, generation, sessionTimeoutMs);
    this.#session = session;
    if (this.#stopping.signal.aborted) session.rebalance('the reader closes');
    const context = {
      cluster: this.#cluster,
      coordinator: this.#coordinator,
      generation,
      topicId: topic.id,
      sessionTimeoutMs,
      onFenced: () => session.lose('the group refused a commit'),
      onTrouble: (what: string, reason: string | undefined) => this.#setProblem(what, reason),
    };
    this.#owned = generation.partitions.map((partition) => new KafkaPartition(context, partition));
    this.#cluster.onTopicChange = () => {
      const now = this.#cluster.topic;
      const isOther = now?.id !== topic.id;
      if (isOther || generation.isLeader) session.rebalance('the topic has changed');
    };
    const { partitions, id, memberId } = generation;
    log.info({ group, generation: id, memberId, partitions }, `owns ${partitions.length} partitions`);
    for (const partition of this.#owned) this.#start(partition, deliver);

    const end = await session.over;
    log.info({ group, generation: id }, `gives up ${partitions.length} partitions: ${end.reason}`);
    for (const partition of this.#owned) {
      if (end.kind === 'lost') partition.end(end.reason);
      else partition.revoke(end.reason);
    }
    await this.#waitForDeliveries(session);
    for (const partition of this.#owned) partition.end(end.reason);
    this.#owned = [];
    this.#cluster.onTopicChange = undefined;
    session.stop();
    this.#session = undefined;
  }

  #start(partition: KafkaPartition, deliver: Deliver): void {
    const before = this.#deliveries.get(partition.partition) ?? Promise.resolve();
    const delivery = before.then(async () => {
      if (partition.signal.aborted) return;
      try {
        await deliver(partition);
      } catch (error) {
        if (error instanceof FencedError) {
          this.#options.log.debug({ partition: partition.partition }, error.message);
          return;
        }
        this.#failure ??= { error };
        this.#session?.rebalance('a delivery failed');
      }
    });
    this.#deliveries.set(partition.partition, delivery);
  }

  /**
   * Others wait for us to rejoin, but no longer than the rebalance timeout; then they go on without us. When
   * the reader closes nobody waits: it leaves the group only afterwards.
   */
  async #waitForDeliveries(session: Session): Promise<void> {
    const settled = Promise.all(this.#deliveries.values());
    const isLast = this.#stopping.signal.aborted || this.#failure !== undefined;
    if (isLast) {
      void session.lost.then(() => {
        for (const partition of this.#owned) partition.end('the group continued without this member');
      });
      await settled;
      return;
    }
    const limit = new AbortController();
    const tooLong = pause(this.#options.sessionTimeoutMs, limit.signal);
    await Promise.race([settled, session.lost, tooLong]);
    limit.abort();
  }

  #noteStrangers({ strangers }: Generation): void {
    const { group } = this.#options;
    this.#setProblem('alone', strangers.length === 0 ? undefined : describeStrangers(group, strangers));
  }

  /** Says a problem once, and when it is over. What Kafka as a whole has is the cluster's to tell. */
  #setProblem(what: string, problem: string | undefined): void {
    const before = this.#problems.get(what);
    if (problem === undefined) {
      this.#problems.delete(what);
      if (before !== undefined) this.#options.log.info(`no longer: ${before}`);
      return;
    }
    if (!this.#cluster.state().ok) return;
    this.#problems.set(what, problem);
    if (problem !== before) this.#options.log.warn(problem);
  }
}
