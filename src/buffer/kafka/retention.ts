/** How long Kafka keeps the records of a topic, from the topic's own configuration. */
import { ConfigResourceTypes, describeConfigsV4 } from '@platformatic/kafka';
import type { Logger } from 'pino';
import type { BrokerLink } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { codeOf, reasonOf } from './kafka-errors.ts';
import { isKafkaTrouble } from './network-trouble.ts';

/** A changed configuration is seen within this time. */
const refreshIntervalMs = 60_000;

/** What bounds the life of a record; undefined for a bound that is not set. */
export interface TopicRetention {
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
        'deleted before the time that millrace_retention_seconds_left tells. Let retention.ms alone decide, or leave room',
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
