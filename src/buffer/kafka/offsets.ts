/**
 * Committed offsets of a group, with what was written beside them, and the offsets that a partition holds.
 *
 * Connections to the leaders of a topic for questions about offsets: one request to each leader, not to each
 * partition.
 *
 * How long Kafka keeps the records of a topic, from the topic's own configuration.
 */
import {
  ConfigResourceTypes,
  describeConfigsV4,
  listOffsetsV6,
  offsetCommitV8,
  offsetFetchV8,
} from '@platformatic/kafka';
import type { Logger } from 'pino';
import type { Commit } from '../buffer.ts';
import { BrokerAnswerError, type BrokerLink, maxFetchAnswerBytes, NotConnectedError } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import type { Coordinator } from './coordinator.ts';
import { codeOf, isKafkaTrouble, reasonOf } from './errors.ts';
import { readCommitted } from './messages.ts';

/** ListOffsets takes these in place of a time. */
export const earliest = -2n;
export const latest = -1n;

/**
 * Reads the last commits of the group; partitions that have none are absent.
 * @throws Error when the coordinator cannot be asked
 */
export async function fetchCommits(
  coordinator: Coordinator,
  topic: string,
  partitions: readonly number[],
): Promise<Map<number, Commit>> {
  const { group } = coordinator;
  const topics = [{ name: topic, partitionIndexes: [...partitions] }];
  const groups = [{ groupId: group, memberId: null, memberEpoch: -1, topics }];
  const answer = await coordinator.request('offsets', offsetFetchV8.api, groups, false);
  const commits = new Map<number, Commit>();
  for (const entry of answer.groups.flatMap((one) => one.topics).flatMap((one) => one.partitions)) {
    if (entry.committedOffset < 0n) continue;
    commits.set(entry.partitionIndex, { offset: Number(entry.committedOffset), plan: entry.metadata ?? '' });
  }
  return commits;
}

/**
 * Commits one offset and plan as a member of one generation, once: the broker refuses when it is over.
 * @throws Error when it was refused, or when the outcome is unknown
 */
export async function commitOnce(
  coordinator: Coordinator,
  member: { memberId: string; id: number },
  target: { topic: string; partition: number; commit: Commit },
): Promise<void> {
  const { topic, partition, commit } = target;
  const entry = {
    partitionIndex: partition,
    committedOffset: BigInt(commit.offset),
    committedLeaderEpoch: -1,
    committedMetadata: commit.plan,
  };
  const topics = [{ name: topic, partitions: [entry] }];
  const { group } = coordinator;
  await coordinator.request('offsets', offsetCommitV8.api, group, member.id, member.memberId, null, topics);
}

/** Offsets at both ends of a partition. */
export interface Bounds {
  /** First offset still stored. */
  readonly start: number;
  /** Offset after the last that can be read. */
  readonly end: number;
}

/** Asks the leader for the bounds of a partition. @throws Error when it cannot be asked */
export async function fetchBounds(link: BrokerLink, topic: string, partition: number): Promise<Bounds> {
  const [start, end] = await Promise.all([
    fetchOffset(link, { topic, partition, time: earliest }),
    fetchOffset(link, { topic, partition, time: latest }),
  ]);
  return { start, end };
}

async function fetchOffset(
  link: BrokerLink,
  position: { topic: string; partition: number; time: bigint },
): Promise<number> {
  const { topic, partition, time } = position;
  const partitions = [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp: time }];
  const answer = await link.request(listOffsetsV6.api, -1, readCommitted, [{ name: topic, partitions }]);
  const offset = answer.topics[0]?.partitions[0]?.offset;
  if (offset === undefined) throw new BrokerAnswerError(`Kafka gave no offset for ${topic}/${partition}`);
  return Number(offset);
}

/**
 * Asks one leader for offsets of several of its partitions: of the first record at `time` or later (milliseconds
 * since the epoch), or of an end for {@link earliest} and {@link latest}. Undefined where there is no such record.
 * @throws Error when it cannot be asked, or does not lead one of them
 */
export async function fetchOffsets(
  link: BrokerLink,
  request: { topic: string; partitions: readonly number[]; time: bigint },
): Promise<Map<number, number | undefined>> {
  const { topic, time } = request;
  const partitions = request.partitions.map((partitionIndex) => ({
    partitionIndex,
    currentLeaderEpoch: -1,
    timestamp: time,
  }));
  const answer = await link.request(listOffsetsV6.api, -1, readCommitted, [{ name: topic, partitions }]);
  const found = answer.topics[0]?.partitions ?? [];
  return new Map(
    found.map(({ partitionIndex, offset }) => [partitionIndex, offset < 0n ? undefined : Number(offset)]),
  );
}

/** Links by broker, made as they are needed. */
export class LeaderLinks {
  readonly #cluster: Cluster;
  readonly #timeoutMs: number;
  /** By `host:port`. */
  readonly #links = new Map<string, BrokerLink>();

  /** `timeoutMs`: longest wait for an answer. */
  constructor(cluster: Cluster, timeoutMs: number) {
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
  }

  /** The link to the leader of a partition. @throws NotConnectedError while it has none, or does not exist */
  to(partition: number): BrokerLink {
    const leader = this.#cluster.topic?.leaders[partition];
    if (leader === undefined) throw new NotConnectedError(`${this.#cluster.name}/${partition} has no leader`);
    const name = `${leader.host}:${leader.port}`;
    const link =
      this.#links.get(name) ?? this.#cluster.createLink(leader, this.#timeoutMs, maxFetchAnswerBytes);
    this.#links.set(name, link);
    return link;
  }

  /**
   * Offsets of several partitions, as {@link fetchOffsets} gives those of one leader.
   * @throws Error when one of the leaders cannot be asked
   */
  async offsets(partitions: Iterable<number>, time: bigint): Promise<Map<number, number | undefined>> {
    const byLink = new Map<BrokerLink, number[]>();
    for (const partition of partitions) {
      const link = this.to(partition);
      const led = byLink.get(link);
      if (led === undefined) byLink.set(link, [partition]);
      else led.push(partition);
    }
    const { name: topic } = this.#cluster;
    const answers = [...byLink].map(([link, led]) => fetchOffsets(link, { topic, partitions: led, time }));
    return new Map((await Promise.all(answers)).flatMap((answer) => [...answer]));
  }

  /** Drops all connections. */
  close(): void {
    for (const link of this.#links.values()) link.close();
  }
}

/** A changed configuration is seen within this time. */
const refreshIntervalMs = 60_000;

/** What bounds the life of a record; undefined for a bound that is not set. */
interface TopicRetention {
  /** Milliseconds from a record's timestamp. */
  readonly ms: number | undefined;
  /** Bytes of one partition. */
  readonly bytes: number | undefined;
}

/** The retention of the topic, asked for again when it may have changed. */
export class RetentionReader {
  readonly #cluster: Cluster;
  readonly #log: Logger;
  #known: TopicRetention | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #lastProblem = '';

  constructor(cluster: Cluster, log: Logger) {
    this.#cluster = cluster;
    this.#log = log;
  }

  /**
   * What is known, at most a minute old while Kafka answers; undefined when it refuses to tell.
   * @throws Error when it was never known and Kafka cannot be asked
   */
  async read(): Promise<TopicRetention | undefined> {
    if (performance.now() - this.#askedAt < refreshIntervalMs) return this.#known;
    const topic = this.#cluster.name;
    try {
      this.#accept(await fetchRetention(this.#cluster.any(), topic));
      this.#askedAt = performance.now();
    } catch (error) {
      if (!isKafkaTrouble(error)) throw error;
      if (codeOf(error) === undefined && this.#known === undefined) throw error;
      this.#warn(`the retention of Kafka topic ${topic} cannot be read: ${reasonOf(error)}`);
    }
    return this.#known;
  }

  #accept(retention: TopicRetention): void {
    this.#known = retention;
    if (retention.bytes === undefined) return;
    this.#warn(
      `Kafka topic ${this.#cluster.name} is limited in size as well (retention.bytes=${retention.bytes}): events may be ` +
        'deleted before the time that millrace_retention_seconds_left reports. Limit the topic by retention.ms alone, or leave room',
    );
  }

  /** Once for each problem, not for each minute. */
  #warn(problem: string): void {
    if (problem !== this.#lastProblem) this.#log.warn(problem);
    this.#lastProblem = problem;
  }
}

/** Reads it, defaults of the broker included. @throws Error when the broker refuses or cannot be asked */
async function fetchRetention(link: BrokerLink, topic: string): Promise<TopicRetention> {
  const configurationKeys = ['retention.ms', 'retention.bytes', 'cleanup.policy'];
  const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys }];
  const answer = await link.request(describeConfigsV4.api, resources, false, false);
  const configs = answer.results.flatMap((result) => result.configs);
  const values = new Map(configs.map(({ name, value }) => [name, value ?? '']));
  // What is only compacted is deleted by key, never by age or size.
  const isDeleted = (values.get('cleanup.policy') ?? 'delete').includes('delete');
  return {
    ms: isDeleted ? bound(values.get('retention.ms')) : undefined,
    bytes: isDeleted ? bound(values.get('retention.bytes')) : undefined,
  };
}

/** -1 is no bound. */
function bound(value: string | undefined): number | undefined {
  const number = Number(value ?? -1);
  return number < 0 ? undefined : number;
}
