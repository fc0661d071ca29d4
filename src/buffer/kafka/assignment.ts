/** How members of a consumer group share partitions, in the encoding that all Kafka clients use. */
import { Reader, Writer } from '@platformatic/kafka';

/** The protocol's first version: every client reads it. */
const encodingVersion = 0;

/** Topics that a member reads, and by whom it is known. */
export interface Subscription {
  readonly memberId: string;
  readonly topics: readonly string[];
}

/** Partitions by topic. */
export type Assignment = Map<string, number[]>;

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
