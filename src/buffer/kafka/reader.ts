/** The reading end of a buffer in Kafka: a member of a consumer group. */
import type { Logger } from 'pino';
import {
  type BufferReader,
  type DependencyState,
  FencedError,
  type OwnedPartition,
  type PartitionExpiry,
  type PartitionLag,
} from '../buffer.ts';
import { pause } from '../pause.ts';
import { backoffMs } from './backoff.ts';
import { Cluster } from './cluster.ts';
import { Coordinator } from './coordinator.ts';
import { type Generation, GroupMember } from './group-member.ts';
import { reasonOf } from './kafka-errors.ts';
import { fetchCommits } from './offsets.ts';
import { KafkaPartition } from './owned-partition.ts';
import { RetentionReader } from './retention.ts';
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
  readonly #retention: RetentionReader;
  readonly #stopping = new AbortController();
  /** The last delivery of each partition: the next one of the same partition waits for it. */
  readonly #deliveries = new Map<number, Promise<void>>();
  #owned: KafkaPartition[] = [];
  #session: Session | undefined;
  #running: Promise<void> | undefined;
  #problem: string | undefined;
  /** What a `deliver` threw; ends `run`. */
  #failure: { error: unknown } | undefined;

  constructor(options: KafkaReaderOptions) {
    const { sessionTimeoutMs } = options;
    this.#options = options;
    this.#cluster = new Cluster(options);
    this.#retention = new RetentionReader(this.#cluster, options.log);
    const quick = Math.max(500, sessionTimeoutMs / 3);
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
    if (!state.ok || this.#problem === undefined) return state;
    return { ok: false, detail: this.#problem };
  }

  async lag(): Promise<PartitionLag[]> {
    const { topic } = this.#options;
    const owned = this.#owned;
    if (owned.length === 0) return [];
    const [commits, bounds] = await Promise.all([
      fetchCommits(
        this.#coordinator,
        topic,
        owned.map(({ partition }) => partition),
      ),
      Promise.all(owned.map((partition) => partition.currentBounds())),
    ]);
    return owned.map(({ partition }, i) => {
      const { start, end } = bounds[i] ?? { start: 0, end: 0 };
      return { topic, partition, committed: commits.get(partition)?.offset ?? start, end };
    });
  }

  /** By age alone. A segment goes when its newest record is too old, so this is the earliest time. */
  async expiries(): Promise<PartitionExpiry[]> {
    const owned = this.#owned;
    const retentionMs = owned.length === 0 ? undefined : (await this.#retention.read())?.ms;
    if (retentionMs === undefined) return [];
    const lags = new Map((await this.lag()).map((lag) => [lag.partition, lag]));
    return Promise.all(
      owned.map(async (one) => {
        const { committed, end } = lags.get(one.partition) ?? { committed: 0, end: 0 };
        const receivedAt = end > committed ? await one.receivedAt(committed) : Date.now();
        const { topic, partition } = one;
        return { topic, partition, lag: end - committed, retentionMs, expiresAt: receivedAt + retentionMs };
      }),
    );
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    this.#session?.rebalance('the reader closes');
    if (this.#session === undefined) this.#coordinator.drop('join');
    await this.#running?.catch(() => {});
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
        this.#setProblem(undefined);
        if (generation !== undefined) return generation;
      } catch (error) {
        // The cluster logs what is wrong with itself, and a coordinator that starts is soon ready.
        if (this.#cluster.state().ok && !signal.aborted && attempt >= patientTries) {
          this.#setProblem(`consumer group ${this.#options.group} cannot be joined: ${reasonOf(error)}`);
        }
        await pause(backoffMs(attempt++), signal);
      }
    }
    return undefined;
  }

  /** Owns the partitions of one generation until it is over and all deliveries have settled. */
  async #serve(generation: Generation, deliver: Deliver): Promise<void> {
    const { sessionTimeoutMs, log, group } = this.#options;
    const topic = this.#cluster.topic;
    const session = new Session(this.#member, generation, sessionTimeoutMs);
    this.#session = session;
    if (this.#stopping.signal.aborted) session.rebalance('the reader closes');
    const context = {
      cluster: this.#cluster,
      coordinator: this.#coordinator,
      generation,
      topicId: topic?.id ?? '',
      sessionTimeoutMs,
      onFenced: () => session.lose('the group refused a commit'),
      onTrouble: (reason: string | undefined) => this.#setProblem(reason),
    };
    this.#owned = generation.partitions.map((partition) => new KafkaPartition(context, partition));
    this.#cluster.onTopicChange = () => {
      const now = this.#cluster.topic;
      const isOther = now?.id !== topic?.id;
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
        for (const partition of this.#owned) partition.end('the group went on without this member');
      });
      await settled;
      return;
    }
    const limit = new AbortController();
    const tooLong = pause(this.#options.sessionTimeoutMs, limit.signal);
    await Promise.race([settled, session.lost, tooLong]);
    limit.abort();
  }

  #setProblem(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#problem) this.#options.log.warn(problem);
    this.#problem = problem;
  }
}
