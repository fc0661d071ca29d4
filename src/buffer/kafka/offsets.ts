/** Committed offsets of a group, with what was written beside them, and the offsets that a partition holds. */
import { listOffsetsV6, offsetCommitV8, offsetFetchV8 } from '@platformatic/kafka';
import type { Commit } from '../buffer.ts';
import { BrokerAnswerError } from './answer-guard.ts';
import type { BrokerLink } from './broker-link.ts';
import type { Coordinator } from './coordinator.ts';
import { readCommitted } from './fetch-api.ts';

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
