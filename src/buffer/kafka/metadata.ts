/** What brokers say about the cluster: its brokers, and the partitions and leaders of topics. */
import { metadataV12, ResponseError } from '@platformatic/kafka';
import type { Address, BrokerLink } from './broker-link.ts';
import { KafkaError, kafkaCodes } from './kafka-errors.ts';

/** A topic as the cluster knows it now. */
export interface TopicLayout {
  /** Kafka's topic id: another one after the topic was deleted and made anew. */
  readonly id: string;
  /** Leader of partition `i`; undefined while it has none. */
  readonly leaders: readonly (Address | undefined)[];
}

/** The cluster as one broker sees it. */
export interface ClusterLayout {
  readonly brokers: readonly Address[];
  /** Where to send requests that change topics. */
  readonly controller: Address | undefined;
  /** Topics asked for that exist. */
  readonly topics: ReadonlyMap<string, TopicLayout>;
}

/**
 * Asks one broker for the layout of the cluster and of the topics named.
 * @throws KafkaError when a topic cannot be described for another reason than that it does not exist
 */
export async function fetchLayout(link: BrokerLink, topics: string[]): Promise<ClusterLayout> {
  const response = await fetchMetadata(link, topics);
  const brokers = new Map(response.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
  const layouts = new Map<string, TopicLayout>();
  for (const topic of response.topics) {
    if (!topic.name || topic.errorCode === kafkaCodes.unknownTopicOrPartition) continue;
    if (topic.errorCode !== kafkaCodes.none && topic.errorCode !== kafkaCodes.leaderNotAvailable) {
      throw new KafkaError(topic.errorCode, `topic ${topic.name}`);
    }
    const leaders: (Address | undefined)[] = new Array(topic.partitions.length).fill(undefined);
    for (const partition of topic.partitions) {
      leaders[partition.partitionIndex] = brokers.get(partition.leaderId);
    }
    layouts.set(topic.name, { id: topic.topicId, leaders });
  }
  return { brokers: [...brokers.values()], controller: brokers.get(response.controllerId), topics: layouts };
}

/** The client throws away a whole answer when one partition in it has no leader; the rest is needed here. */
async function fetchMetadata(link: BrokerLink, topics: string[]): Promise<metadataV12.MetadataResponse> {
  try {
    return await link.request(metadataV12.api, topics, false, false);
  } catch (error) {
    if (error instanceof ResponseError) return error.response as metadataV12.MetadataResponse;
    throw error;
  }
}
