/** Creating and describing the topic of the events. */
import { createTopicsV7 } from '@platformatic/kafka';
import { type Address, BrokerLink, NotConnectedError, parseAddress } from './broker-link.ts';
import { codeOf, isNetworkTrouble, KafkaError, kafkaCodes, reasonOf } from './errors.ts';
import { type ClusterLayout, fetchLayout, type TopicLayout } from './messages.ts';

const requestTimeoutMs = 10_000;

/**
 * Kafka 4 refuses records an hour ahead of the broker's clock, so a collector whose clock is wrong would lose
 * its events. Before 3.6 the setting does not exist, and there is no limit.
 */
const unlimitedSkew = { name: 'message.timestamp.after.max.ms', value: '9223372036854775807' };

/** How to create a topic that does not exist. */
export interface TopicSettings {
  readonly partitions: number;
  /** Replicas of each partition. `min.insync.replicas` becomes one less, at least 1. */
  readonly replication: number;
  /** How long Kafka keeps records, milliseconds. */
  readonly retentionMs: number;
}

/** What is known of a topic; `id` is undefined when it does not exist. */
interface TopicDescription {
  readonly exists: boolean;
  readonly id: string | undefined;
  readonly partitions: number;
  /** Partitions that have no leader now and take no records. */
  readonly leaderless: number;
}

/** Which cluster and topic. */
interface TopicAddress {
  /** Brokers to start from, `host:port`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly clientId: string;
}

/**
 * Describes a topic; changes nothing.
 * @throws NotConnectedError when no broker can be reached
 */
export async function describeTopic(address: TopicAddress): Promise<TopicDescription> {
  const { layout, link } = await connectToAny(address);
  link.close();
  return describe(layout.topics.get(address.topic));
}

/**
 * Creates the topic unless it exists; an existing one is left as it is. Resolves with `created` true when it
 * was made by this call.
 * @throws KafkaError when Kafka refuses, as when there are fewer brokers than replicas
 * @throws Error when no broker can be reached
 */
export async function ensureTopic(
  address: TopicAddress,
  settings: TopicSettings,
): Promise<{ created: boolean }> {
  const { layout, link } = await connectToAny(address);
  const options = { clientId: address.clientId, requestTimeoutMs };
  const controller = layout.controller === undefined ? link : new BrokerLink(layout.controller, options);
  try {
    if (layout.topics.has(address.topic)) return { created: false };
    return { created: await createTopic(controller, address.topic, settings) };
  } finally {
    link.close();
    controller.close();
  }
}

/** Creates a topic through the controller; false when somebody else was faster. */
async function createTopic(controller: BrokerLink, topic: string, settings: TopicSettings): Promise<boolean> {
  const { partitions, replication, retentionMs } = settings;
  const configs = [
    // Compaction would remove events.
    { name: 'cleanup.policy', value: 'delete' },
    { name: 'retention.ms', value: String(retentionMs) },
    { name: 'min.insync.replicas', value: String(Math.max(1, replication - 1)) },
    // The receive time is in the record; the broker must not replace it by its own.
    { name: 'message.timestamp.type', value: 'CreateTime' },
  ];
  const definition = {
    name: topic,
    numPartitions: partitions,
    replicationFactor: replication,
    assignments: [],
  };
  const send = (settings: typeof configs) => {
    const definitions = [{ ...definition, configs: settings }];
    return controller.request(createTopicsV7.api, definitions, requestTimeoutMs, false);
  };
  try {
    await send([...configs, unlimitedSkew]).catch((error) => {
      if (codeOf(error) !== kafkaCodes.invalidConfig) throw error;
      return send(configs);
    });
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === kafkaCodes.topicAlreadyExists) return false;
    if (code === undefined) throw error;
    throw new KafkaError(code, `topic ${topic} could not be created`, reasonOf(error), { cause: error });
  }
}

/** Connects to the first broker that answers. */
async function connectToAny(address: TopicAddress): Promise<{ layout: ClusterLayout; link: BrokerLink }> {
  const failures: string[] = [];
  for (const broker of address.brokers.map((text): Address => parseAddress(text))) {
    const link = new BrokerLink(broker, { clientId: address.clientId, requestTimeoutMs });
    try {
      return { layout: await fetchLayout(link, [address.topic]), link };
    } catch (error) {
      link.close();
      if (!isNetworkTrouble(error)) throw error;
      failures.push(`${broker.host}:${broker.port}: ${reasonOf(error)}`);
    }
  }
  throw new NotConnectedError(`Kafka cannot be reached: ${failures.join('; ')}; check --kafka-brokers`);
}

function describe(layout: TopicLayout | undefined): TopicDescription {
  if (layout === undefined) return { exists: false, id: undefined, partitions: 0, leaderless: 0 };
  const leaderless = layout.leaders.filter((leader) => leader === undefined).length;
  return { exists: true, id: layout.id, partitions: layout.leaders.length, leaderless };
}
