/**
 * By which names members of our consumer group know one another. Kafka lets nobody into a group who has no protocol in
 * common with all of its members: under a name of our own no other program takes a share of the partitions, and with it
 * events that it does not deliver.
 */
import { describeGroupsV5 } from '@platformatic/kafka';
import { encodeSubscription } from './assignment.ts';
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
    `consumer group ${group} has members that are no streamers of Millrace: ${strangers.join(', ')}. They take ` +
    'partitions and deliver nothing: stop them, or give the streamers a --kafka-group of their own'
  );
}
