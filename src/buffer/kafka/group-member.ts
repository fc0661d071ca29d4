/** Membership in a consumer group: joining, heartbeats, leaving. Kafka's classic protocol, eager. */
import { heartbeatV4, joinGroupV7, leaveGroupV5, ResponseError, syncGroupV5 } from '@platformatic/kafka';
import {
  assignRanges,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  rangeStrategy,
} from './assignment.ts';
import type { Cluster } from './cluster.ts';
import type { Coordinator } from './coordinator.ts';
import { codeOf, kafkaCodes } from './kafka-errors.ts';

const protocolType = 'consumer';

/** One round of the group: who we are in it, and what we were given. Commits carry its numbers. */
export interface Generation {
  readonly memberId: string;
  readonly id: number;
  /** Partitions of the topic that are ours. */
  readonly partitions: readonly number[];
  /** The leader shares out partitions, and notices when there are more. */
  readonly isLeader: boolean;
  /** When the broker last heard of us, at the latest; on the clock of `performance.now`. */
  readonly joinedAt: number;
}

/** How the broker took a heartbeat. */
export type HeartbeatAnswer = 'alive' | 'rebalance' | 'expelled';

/** A member keeps its id from one generation to the next, as long as the broker knows it. */
export class GroupMember {
  readonly #cluster: Cluster;
  readonly #coordinator: Coordinator;
  readonly #sessionTimeoutMs: number;
  readonly #rebalanceTimeoutMs: number;
  #memberId = '';

  constructor(
    cluster: Cluster,
    coordinator: Coordinator,
    timeouts: { sessionTimeoutMs: number; rebalanceTimeoutMs: number },
  ) {
    this.#cluster = cluster;
    this.#coordinator = coordinator;
    this.#sessionTimeoutMs = timeouts.sessionTimeoutMs;
    this.#rebalanceTimeoutMs = timeouts.rebalanceTimeoutMs;
  }

  /**
   * Joins the group once, or joins it again. Undefined when the group went on without us, or wants us to
   * come again under the id it gave: join again then.
   * @throws Error on anything else; the member id is forgotten when the broker does not know it
   */
  async join(): Promise<Generation | undefined> {
    try {
      return await this.#join();
    } catch (error) {
      switch (codeOf(error)) {
        case kafkaCodes.memberIdRequired:
          this.#memberId = memberIdIn(error);
          return undefined;
        case kafkaCodes.unknownMemberId:
        case kafkaCodes.fencedInstanceId:
          this.#memberId = '';
          return undefined;
        case kafkaCodes.rebalanceInProgress:
        case kafkaCodes.illegalGeneration:
          return undefined;
        default:
          throw error;
      }
    }
  }

  /** Sends one heartbeat. @throws Error when it cannot be known how it was taken */
  async heartbeat(generation: Generation): Promise<HeartbeatAnswer> {
    const { group } = this.#coordinator;
    const { id, memberId } = generation;
    try {
      await this.#coordinator.request('heartbeat', heartbeatV4.api, group, id, memberId, null);
      return 'alive';
    } catch (error) {
      switch (codeOf(error)) {
        case kafkaCodes.rebalanceInProgress:
          return 'rebalance';
        case kafkaCodes.unknownMemberId:
        case kafkaCodes.fencedInstanceId:
          this.#memberId = '';
          return 'expelled';
        case kafkaCodes.illegalGeneration:
          return 'expelled';
        default:
          throw error;
      }
    }
  }

  /** Leaves the group, so that others need not wait for the session timeout. Failing is no harm. */
  async leave(): Promise<void> {
    if (this.#memberId === '') return;
    const members = [{ memberId: this.#memberId, groupInstanceId: null, reason: 'closing' }];
    this.#memberId = '';
    const { group } = this.#coordinator;
    await this.#coordinator.request('heartbeat', leaveGroupV5.api, group, members).catch(() => {});
  }

  async #join(): Promise<Generation> {
    const { group } = this.#coordinator;
    const joined = await this.#coordinator.request(
      'join',
      joinGroupV7.api,
      group,
      this.#sessionTimeoutMs,
      this.#rebalanceTimeoutMs,
      this.#memberId,
      null,
      protocolType,
      [{ name: rangeStrategy, metadata: encodeSubscription([this.#cluster.name]) }],
      '',
    );
    const memberId = joined.memberId ?? '';
    this.#memberId = memberId;
    const isLeader = joined.leader === memberId;
    const shares = isLeader ? await this.#share(joined.members) : [];
    const joinedAt = performance.now();
    const synced = await this.#coordinator.request(
      'join',
      syncGroupV5.api,
      group,
      joined.generationId,
      memberId,
      null,
      protocolType,
      joined.protocolName ?? rangeStrategy,
      shares,
    );
    const partitions = decodeAssignment(synced.assignment).get(this.#cluster.name) ?? [];
    return { memberId, id: joined.generationId, partitions, isLeader, joinedAt };
  }

  async #share(
    members: { memberId: string; metadata: Buffer | null }[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const subscriptions = members.map(({ memberId, metadata }) => ({
      memberId,
      topics: metadata === null ? [] : decodeSubscription(metadata),
    }));
    const topics = [...new Set(subscriptions.flatMap((member) => member.topics))];
    const layout = await this.#cluster.layoutOf(topics);
    const counts = new Map([...layout.topics].map(([name, topic]) => [name, topic.leaders.length]));
    return [...assignRanges(subscriptions, counts)].map(([memberId, assignment]) => ({
      memberId,
      assignment: encodeAssignment(assignment),
    }));
  }
}

function memberIdIn(error: unknown): string {
  if (!(error instanceof ResponseError)) return '';
  const response: unknown = error.response;
  if (typeof response !== 'object' || response === null || !('memberId' in response)) return '';
  return typeof response.memberId === 'string' ? response.memberId : '';
}
