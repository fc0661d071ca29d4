/** Membership in a consumer group: joining, heartbeats, leaving. Kafka's classic protocol, eager. */
import { heartbeatV4, joinGroupV7, leaveGroupV5, ResponseError, syncGroupV5 } from '@platformatic/kafka';
import { type Clock, type Moment, systemClock } from '../../time.ts';
import type { Cluster } from './cluster.ts';
import type { Coordinator } from './coordinator.ts';
import { codeOf, isKafkaTrouble, KafkaError, kafkaCodes } from './errors.ts';
import {
  assignRanges,
  decodeAssignment,
  decodeSubscription,
  describeStrangers,
  encodeAssignment,
  encodeSubscription,
  findStrangers,
  formerProtocol,
  isNewerGroup,
  isStreamer,
  ownProtocol,
  type StreamerMark,
} from './group-protocol.ts';

/** As for every consumer: the tools that look at groups, and set their offsets, ask for it. */
const protocolType = 'consumer';

/** One round of the group: who we are in it, and what we were given. Commits carry its numbers. */
export interface Generation {
  readonly memberId: string;
  readonly id: number;
  /** Partitions of the topic that are ours. */
  readonly partitions: readonly number[];
  /** The leader shares out partitions, and notices when there are more. */
  readonly isLeader: boolean;
  /** When the broker last heard of us, at the latest. */
  readonly joinedAt: Moment;
  /** Members that are no streamers: see {@link findStrangers}. */
  readonly strangers: readonly string[];
}

/** How the broker took a heartbeat. */
export type HeartbeatAnswer = 'alive' | 'rebalance' | 'expelled';

/** A member keeps its id from one generation to the next, as long as the broker knows it. */
export class GroupMember {
  readonly #cluster: Cluster;
  readonly #coordinator: Coordinator;
  readonly #sessionTimeoutMs: number;
  readonly #rebalanceTimeoutMs: number;
  readonly #clock: Clock;
  readonly #mark: StreamerMark;
  #memberId = '';
  /** Whether the last generation went by the former name: with streamers of an earlier version in it. */
  #wasFormer = false;

  constructor(
    cluster: Cluster,
    coordinator: Coordinator,
    timeouts: { sessionTimeoutMs: number; rebalanceTimeoutMs: number },
    clock: Clock = systemClock,
  ) {
    this.#clock = clock;
    this.#mark = { clientId: cluster.clientId, topic: cluster.name };
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
    await this.#coordinator.request('heartbeat', leaveGroupV5.api, group, members).catch((error: unknown) => {
      if (!isKafkaTrouble(error)) throw error;
    });
  }

  async #join(): Promise<Generation> {
    const joined = await this.#enter();
    const memberId = joined.memberId ?? '';
    this.#memberId = memberId;
    const isFormer = joined.protocolName === formerProtocol;
    this.#wasFormer = isFormer;
    const isLeader = joined.leader === memberId;
    const shares = isLeader ? await this.#share(joined.members, isFormer) : [];
    const joinedAt = this.#clock();
    const synced = await this.#coordinator.request(
      'join',
      syncGroupV5.api,
      this.#coordinator.group,
      joined.generationId,
      memberId,
      null,
      protocolType,
      joined.protocolName ?? ownProtocol,
      shares,
    );
    const partitions = decodeAssignment(synced.assignment).get(this.#mark.topic) ?? [];
    const strangers = isFormer ? await findStrangers(this.#coordinator, this.#mark) : [];
    return { memberId, id: joined.generationId, partitions, isLeader, joinedAt, strangers: strangers ?? [] };
  }

  /** Asks to be let in under our own name; under the former one as well where all others are streamers that know no other. */
  async #enter(): Promise<joinGroupV7.JoinGroupResponse> {
    try {
      return await this.#requestJoin([ownProtocol]);
    } catch (error) {
      const code = codeOf(error);
      // All that Kafka 4 says when it cannot read a closed subscription into a group that it shares out itself.
      if (code === kafkaCodes.unknownServerError && (await isNewerGroup(this.#coordinator))) {
        throw this.#notAlone('consumers of the newer group protocol');
      }
      if (code !== kafkaCodes.inconsistentGroupProtocol) throw error;
    }
    // A group that shares its partitions anew tells nothing of its members, and waits for those it knows.
    const strangers = this.#wasFormer ? [] : await findStrangers(this.#coordinator, this.#mark);
    if (strangers === undefined || strangers.length > 0) throw this.#notAlone(strangers?.join(', '));
    return await this.#requestJoin([ownProtocol, formerProtocol]);
  }

  #requestJoin(names: readonly string[]): Promise<joinGroupV7.JoinGroupResponse> {
    const metadataFor = (name: string) => encodeSubscription([this.#mark.topic], name === ownProtocol);
    return this.#coordinator.request(
      'join',
      joinGroupV7.api,
      this.#coordinator.group,
      this.#sessionTimeoutMs,
      this.#rebalanceTimeoutMs,
      this.#memberId,
      null,
      protocolType,
      names.map((name) => ({ name, metadata: metadataFor(name) })),
      '',
    );
  }

  #notAlone(strangers: string | undefined): KafkaError {
    const { group } = this.#coordinator;
    const detail =
      strangers === undefined ? 'its members are not settled' : describeStrangers(group, [strangers]);
    return new KafkaError(kafkaCodes.inconsistentGroupProtocol, `joining group ${group}`, detail);
  }

  /** Shares the partitions out. Whoever got in under the former name and is no streamer gets none. */
  async #share(
    members: { memberId: string; metadata: Buffer | null }[],
    isFormer: boolean,
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const subscriptions = members.map(({ memberId, metadata }) => {
      const isLeftOut = metadata === null || (isFormer && !isStreamer({ memberId, metadata }, this.#mark));
      return { memberId, topics: isLeftOut ? [] : decodeSubscription(metadata) };
    });
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
