/**
 * By which names members of our consumer group know one another. Kafka lets nobody into a group who has no protocol in
 * common with all of its members: under a name of our own no other program takes a share of the partitions, and with it
 * events that it does not deliver.
 *
 * How members of a consumer group share partitions, in the encoding that all Kafka clients use.
 */
import { describeGroupsV5, Reader, Writer } from '@platformatic/kafka';
import type { Coordinator } from './coordinator.ts';

/** Neighbouring partitions for each member, among streamers of Millrace. */
export const ownProtocol = 'millrace-range';

/**
 * The name that version 0.1 gave it, and that other programs use. A rolling update from there needs it: a member offers
 * it only while the group consists of streamers that know no other, and no longer when they are gone. From version 0.3
 * on nobody offers it.
 */
export const formerProtocol = 'range';

/** What all streamers of one topic have in common. */
export interface StreamerMark {
  readonly clientId: string;
  readonly topic: string;
}

/** Whether a member is a streamer, as far as the broker tells: it made its member id out of the client's. */
export function isStreamer(
  { memberId, metadata }: { memberId: string; metadata: Buffer | null },
  { clientId, topic }: StreamerMark,
): boolean {
  // Other clients write a later version, or something behind the topics.
  return memberId.startsWith(`${clientId}-`) && metadata?.equals(encodeSubscription([topic])) === true;
}

/**
 * Asks who is in the group and no streamer: `client at host`, sorted. Undefined while its members are not settled.
 * @throws Error when the coordinator cannot be asked
 */
export async function findStrangers(
  coordinator: Coordinator,
  mark: StreamerMark,
): Promise<string[] | undefined> {
  const group = await describeGroup(coordinator);
  if (group?.groupState !== 'Stable') return undefined;
  const strangers = group.members.filter(
    ({ memberId, memberMetadata }) => !isStreamer({ memberId, metadata: memberMetadata }, mark),
  );
  return strangers.map(({ clientId, clientHost }) => `${clientId} at ${clientHost.replace('/', '')}`).sort();
}

/** Whether the group is one of the newer protocol, which the broker shares out: to this question it is none. */
export async function isNewerGroup(coordinator: Coordinator): Promise<boolean> {
  return (await describeGroup(coordinator))?.groupState === 'Dead';
}

async function describeGroup(coordinator: Coordinator) {
  const answer = await coordinator.request('offsets', describeGroupsV5.api, [coordinator.group], false);
  return answer.groups[0];
}

/** What to say of strangers. */
export function describeStrangers(group: string, strangers: readonly string[]): string {
  return (
    `consumer group ${group} has members that are not streamers of Millrace: ${strangers.join(', ')}. They take ` +
    'partitions but deliver nothing: stop them, or give the streamers a --kafka-group of their own'
  );
}

/** The protocol's first version: every client reads it. */
const encodingVersion = 0;

/** Topics that a member reads, and by whom it is known. */
interface Subscription {
  readonly memberId: string;
  readonly topics: readonly string[];
}

/** Partitions by topic. */
type Assignment = Map<string, number[]>;

/**
 * A version that there is none of. A broker that meets it does not turn the group into one of the newer protocol, whose
 * members it would share the partitions out to: `ConsumerGroup.fromClassicGroup` of Apache Kafka refuses such a member.
 */
const closedVersion = -1;

/** Encodes what a member says of itself when it joins; `isClosed`: so that only streamers read it. */
export function encodeSubscription(topics: string[], isClosed = false): Buffer {
  return Writer.create()
    .appendInt16(isClosed ? closedVersion : encodingVersion)
    .appendArray(topics, (writer, topic) => writer.appendString(topic, false), false, false)
    .appendBytes(null, false).buffer;
}

/** Topics in an encoded subscription, of any version. */
export function decodeSubscription(bytes: Buffer): string[] {
  const reader = Reader.from(bytes);
  reader.readInt16();
  return reader.readArray((entry) => entry.readString(false), false, false);
}

/** Encodes what a member is given. */
export function encodeAssignment(assignment: Assignment): Buffer {
  return Writer.create()
    .appendInt16(encodingVersion)
    .appendArray(
      [...assignment],
      (writer, [topic, partitions]) => {
        writer
          .appendString(topic, false)
          .appendArray(partitions, (entry, partition) => entry.appendInt32(partition), false, false);
      },
      false,
      false,
    )
    .appendBytes(null, false).buffer;
}

/** Partitions in an encoded assignment; none when it is empty, as for a member that was left out. */
export function decodeAssignment(bytes: Buffer): Assignment {
  const assignment: Assignment = new Map();
  if (bytes.length === 0) return assignment;
  const reader = Reader.from(bytes);
  reader.readInt16();
  const entries = reader.readArray(
    (entry): [string, number[]] => [
      entry.readString(false),
      entry.readArray((partition) => partition.readInt32(), false, false),
    ],
    false,
    false,
  );
  for (const [topic, partitions] of entries) assignment.set(topic, partitions);
  return assignment;
}

/**
 * Shares the partitions of each topic among the members that read it: in order of member id, each a range,
 * the first ones one more when they do not divide evenly. Members keep their ids, so a generation with the
 * same members gives the same shares.
 */
export function assignRanges(
  members: readonly Subscription[],
  partitionCounts: ReadonlyMap<string, number>,
): Map<string, Assignment> {
  const ordered = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
  const assignments = new Map(ordered.map(({ memberId }): [string, Assignment] => [memberId, new Map()]));
  for (const [topic, count] of partitionCounts) {
    const readers = ordered.filter(({ topics }) => topics.includes(topic));
    let next = 0;
    readers.forEach(({ memberId }, i) => {
      const share = Math.floor(count / readers.length) + (i < count % readers.length ? 1 : 0);
      const partitions = Array.from({ length: share }, (_, k) => next + k);
      next += share;
      if (share > 0) assignments.get(memberId)?.set(topic, partitions);
    });
  }
  return assignments;
}
