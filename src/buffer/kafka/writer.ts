/**
 * The writing end of a buffer in Kafka.
 *
 * Tickets: the producer's numbers as text, so that whoever finds one can send the same batch again.
 */
import type { Logger } from 'pino';
import { assertInvariant } from '../../errors.ts';
import {
  type AppendSeries,
  BufferUnavailableError,
  type DependencyState,
  type ResumableWriter,
} from '../buffer.ts';
import type { EventBatch } from '../records.ts';
import type { Address, BrokerLink } from './broker-link.ts';
import { Cluster } from './cluster.ts';
import { isKafkaTrouble, reasonOf } from './errors.ts';
import {
  advanceStamp,
  PartitionProducer,
  type ProducerContext,
  requestProducerId,
} from './partition-producer.ts';
import { type Compression, type ProducerStamp, RecordEncoder } from './record-encoder.ts';
import type { TopicSettings } from './topics.ts';

/**
 * Connections to each leader. A broker works on one request of a connection at a time and with acks=all keeps
 * it until the replicas have it, so partitions that share one connection wait for each other.
 */
const linksPerBroker = 4;

/** What a writer is opened with. */
export interface KafkaWriterOptions {
  /** Brokers to start from, `host:port`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Name of this client in the broker's logs and quotas. */
  readonly clientId: string;
  readonly compression: Compression;
  /** How long a batch is tried before its append rejects, milliseconds. */
  readonly deliveryTimeoutMs: number;
  /** How to create the topic when it does not exist; it is not created when undefined. */
  readonly createTopic?: TopicSettings | undefined;
  readonly log: Logger;
}

/**
 * Opens a writer, whether Kafka can be reached or not: it connects in the background, and `state` says what
 * it waits for. Brokers 3.5 to 4.1 are tested; the protocol versions used exist from 2.8 on.
 *
 * Appends wait for all in-sync replicas. A batch whose answer was lost is sent again under the same producer
 * id and sequence number, so it is stored once.
 */
export function openKafkaWriter(options: KafkaWriterOptions): ResumableWriter {
  return new KafkaWriter(options);
}

class KafkaWriter implements ResumableWriter {
  readonly topic: string;
  readonly #cluster: Cluster;
  readonly #encoder: RecordEncoder;
  readonly #deliveryTimeoutMs: number;
  readonly #producers: PartitionProducer[] = [];
  readonly #links = new Map<string, BrokerLink>();
  readonly #inFlight = new Set<Promise<number>>();
  #isClosing = false;

  constructor(options: KafkaWriterOptions) {
    this.topic = options.topic;
    this.#cluster = new Cluster(options);
    this.#encoder = new RecordEncoder(options.compression);
    this.#deliveryTimeoutMs = options.deliveryTimeoutMs;
  }

  get partitions(): number {
    return this.#cluster.topic?.leaders.length ?? 0;
  }

  append(partition: number, batch: EventBatch): Promise<number> {
    return this.#track(partition, () => this.#producer(partition).append(batch));
  }

  beginSeries(): AppendSeries {
    const series = new KafkaAppendSeries(this.#context());
    return {
      reserve: (partition) => series.reserve(partition),
      append: (partition, batch, ticket) =>
        this.#track(partition, () => series.append(partition, batch, ticket)),
    };
  }

  #track(partition: number, start: () => Promise<number>): Promise<number> {
    if (this.#isClosing) return Promise.reject(new BufferUnavailableError('the Kafka writer is closed'));
    if (partition >= this.partitions) {
      const state = this.#cluster.state();
      const detail = state.ok ? `${this.topic} has no partition ${partition}` : state.detail;
      return Promise.reject(new BufferUnavailableError(detail));
    }
    const append = start();
    this.#inFlight.add(append);
    return append.finally(() => this.#inFlight.delete(append));
  }

  state(): DependencyState {
    return this.#cluster.state();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.allSettled(this.#inFlight);
    for (const link of this.#links.values()) link.close();
    await this.#cluster.close();
  }

  #producer(partition: number): PartitionProducer {
    let producer = this.#producers[partition];
    if (producer === undefined) {
      producer = new PartitionProducer(this.#context(), partition);
      this.#producers[partition] = producer;
    }
    return producer;
  }

  #context(): ProducerContext {
    return {
      cluster: this.#cluster,
      encoder: this.#encoder,
      deliveryTimeoutMs: this.#deliveryTimeoutMs,
      leaderLink: (partition: number) => this.#leaderLink(partition),
    };
  }

  #leaderLink(partition: number): BrokerLink | undefined {
    const leader = this.#cluster.topic?.leaders[partition];
    return leader === undefined ? undefined : this.#link(leader, partition % linksPerBroker);
  }

  #link(address: Address, slot: number): BrokerLink {
    const key = `${address.host}:${address.port}/${slot}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      // Half the delivery time: a broker that hangs leaves time for one try over a new connection.
      link = this.#cluster.createLink(address, Math.max(500, this.#deliveryTimeoutMs / 2));
      this.#links.set(key, link);
    }
    return link;
  }
}

const pattern = /^kafka:(\d{1,19}):(\d{1,5}):(\d{1,10})$/;

/** Writes numbers as a ticket. */
function encodeTicket({ id, epoch, sequence }: ProducerStamp): string {
  return `kafka:${id}:${epoch}:${sequence}`;
}

/** Reads a ticket. @throws InvariantError when it is none */
function decodeTicket(ticket: string): ProducerStamp {
  const [, id, epoch, sequence] = pattern.exec(ticket) ?? [];
  assertInvariant(id !== undefined, `'${ticket}' is not a ticket for Kafka`);
  return { id: BigInt(id), epoch: Number(epoch), sequence: Number(sequence) };
}

/**
 * A series has a producer id of its own for each partition. The broker keeps the last batches of an id in
 * mind and answers a repeat with the offset of the first, for `producer.id.expiration.ms` (a day) counted
 * from the newest timestamp of the batch. After that it takes the repeat for a new batch.
 */
class KafkaAppendSeries implements AppendSeries {
  readonly #context: ProducerContext;
  readonly #next = new Map<number, ProducerStamp>();

  constructor(context: ProducerContext) {
    this.#context = context;
  }

  async reserve(partition: number): Promise<string> {
    let stamp = this.#next.get(partition);
    if (stamp === undefined) {
      try {
        stamp = await requestProducerId(this.#context.cluster);
      } catch (error) {
        if (!isKafkaTrouble(error)) throw error;
        throw new BufferUnavailableError(`Kafka gave no producer id: ${reasonOf(error)}`, { cause: error });
      }
      this.#next.set(partition, stamp);
    }
    return encodeTicket(stamp);
  }

  async append(partition: number, batch: EventBatch, ticket: string): Promise<number> {
    const stamp = decodeTicket(ticket);
    const own = this.#next.get(partition);
    const isOwn = own !== undefined && encodeTicket(own) === ticket;
    try {
      const offset = await new PartitionProducer(this.#context, partition, stamp).append(batch);
      if (isOwn) this.#next.set(partition, advanceStamp(stamp, batch.count));
      return offset;
    } catch (error) {
      // What is wrong with these numbers is wrong with the ones after them, too.
      if (isOwn && !(error instanceof BufferUnavailableError)) this.#next.delete(partition);
      throw error;
    }
  }
}
