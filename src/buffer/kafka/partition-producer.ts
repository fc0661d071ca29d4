/** Writes batches to one partition, one at a time, so that a repeat never becomes a second record. */
import { initProducerIdV4, TimeoutError } from '@platformatic/kafka';
import { assertInvariant } from '../../errors.ts';
import { backOffMs, pause } from '../../time.ts';
import {
  BufferUnavailableError,
  OutcomeUnknownError,
  RecordsRefusedError,
  TicketLostError,
} from '../buffer.ts';
import type { EventBatch } from '../records.ts';
import { type BrokerLink, NotConnectedError } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { isKafkaTrouble, isNetworkTrouble, KafkaError, kafkaCodes, reasonOf } from './errors.ts';
import { type ProduceAnswer, produceApi, produceHeadBytes, writeProduceHead } from './messages.ts';
import { type ProducerStamp, type RecordEncoder, stampProducer } from './record-encoder.ts';

/** Sequence numbers are 31 bits and go on with 0, as the broker expects. */
const sequenceLimit = 2 ** 31;

/** One try takes longer than that. One that is cut off at once would only leave open whether anything was sent. */
const leastTryMs = 10;

/** The broker does not know these producer numbers, or not in this order; it looks before it appends. */
const stampCodes = new Set<number>([
  kafkaCodes.outOfOrderSequenceNumber,
  kafkaCodes.unknownProducerId,
  kafkaCodes.invalidProducerEpoch,
  kafkaCodes.invalidProducerIdMapping,
  kafkaCodes.producerFenced,
]);

/** Refusals of this moment that come before anything is appended: the same bytes may be taken later. */
const notNowCodes = new Set<number>([
  kafkaCodes.corruptMessage,
  kafkaCodes.notEnoughReplicas,
  kafkaCodes.throttlingQuotaExceeded,
]);

/** Refusals for good, of the batch or of its sender, that come before anything is appended. */
const refusedCodes = new Set<number>([
  kafkaCodes.messageTooLarge,
  kafkaCodes.invalidTopic,
  kafkaCodes.recordListTooLarge,
  kafkaCodes.topicAuthorizationFailed,
  kafkaCodes.clusterAuthorizationFailed,
  kafkaCodes.invalidTimestamp,
  kafkaCodes.unsupportedForMessageFormat,
  kafkaCodes.unsupportedCompressionType,
  kafkaCodes.invalidRecord,
]);

/**
 * Whether an answer proves that its request appended nothing. No other answer does. With acks=all a leader appends, waits
 * for the replicas, and answers with what it finds while it waits: that it is the leader no more (NOT_LEADER_OR_FOLLOWER),
 * that it does not have the partition (UNKNOWN_TOPIC_OR_PARTITION), that its disk failed (KAFKA_STORAGE_ERROR). Others
 * may have the batch by then. Source: `DelayedProduce.tryComplete`, `Partition.checkEnoughReplicasReachOffset` and
 * `ReplicaManager.appendToLocalLog` of Apache Kafka.
 */
function provesNothingAppended(code: number): boolean {
  return notNowCodes.has(code) || refusedCodes.has(code) || stampCodes.has(code);
}

/** Answers after which the same bytes may be sent again, and get another answer. */
const retriableCodes = new Set<number>([
  ...notNowCodes,
  kafkaCodes.unknownServerError,
  kafkaCodes.unknownTopicOrPartition,
  kafkaCodes.leaderNotAvailable,
  kafkaCodes.notLeaderOrFollower,
  kafkaCodes.requestTimedOut,
  kafkaCodes.replicaNotAvailable,
  kafkaCodes.networkException,
  kafkaCodes.notEnoughReplicasAfterAppend,
  kafkaCodes.kafkaStorageError,
  kafkaCodes.fencedLeaderEpoch,
  kafkaCodes.unknownLeaderEpoch,
  kafkaCodes.unknownTopicId,
]);

/** What can be done about refusals. */
const adviceFor = new Map<number, string>([
  [kafkaCodes.messageTooLarge, '; raise max.message.bytes of the topic or send smaller batches'],
  [kafkaCodes.recordListTooLarge, '; raise segment.bytes of the topic or send smaller batches'],
  [kafkaCodes.invalidTimestamp, '; correct the clocks, or raise message.timestamp.after.max.ms of the topic'],
]);

/** What is known of a batch after some tries. */
interface Trial {
  /** It went out at least once. */
  isSent: boolean;
  /** An answer, or a missing one, leaves open whether it is in the log. */
  isMaybeStored: boolean;
  /** Why the last try did not do. */
  reason: string;
}

/** What a partition producer works with. */
export interface ProducerContext {
  readonly cluster: Cluster;
  readonly encoder: RecordEncoder;
  /** How long a batch is tried, milliseconds. */
  readonly deliveryTimeoutMs: number;
  /** The link to the leader of a partition; undefined while there is none. */
  readonly leaderLink: (partition: number) => BrokerLink | undefined;
}

/**
 * The broker drops a batch whose producer id and sequence it has seen last. That holds as long as a retry
 * sends the same bytes and nothing else is sent in between, which one batch in flight gives. Each partition
 * has a producer id of its own: giving one up after an unknown outcome concerns no other partition.
 */
export class PartitionProducer {
  readonly #context: ProducerContext;
  readonly #partition: number;
  readonly #headBytes: number;
  /** Numbers for the next batch; undefined when a new producer id is needed. */
  #stamp: ProducerStamp | undefined;
  /** Whether the numbers were given, and no others may be used. */
  readonly #isPinned: boolean;
  #isBusy = false;

  /** With a `stamp`, one batch is sent under these numbers and no others, which may have been sent before. */
  constructor(context: ProducerContext, partition: number, stamp?: ProducerStamp) {
    this.#context = context;
    this.#partition = partition;
    this.#isPinned = stamp !== undefined;
    this.#headBytes = produceHeadBytes(context.cluster.name);
    this.#stamp = stamp;
  }

  /**
   * Stores the batch; resolves with the offset of its first record.
   * @throws OutcomeUnknownError when it was sent and not confirmed in time
   * @throws BufferUnavailableError when it could not be sent in time; nothing was stored
   * @throws RecordsRefusedError when Kafka will not take the batch, ever; nothing was stored
   * @throws InvariantError, or whatever else is a fault of this program: whether it was stored is unknown then
   * @throws TicketLostError when Kafka does not know the numbers given to the constructor
   */
  async append(batch: EventBatch): Promise<number> {
    assertInvariant(!this.#isBusy, `two appends at once in partition ${this.#partition}`);
    this.#isBusy = true;
    try {
      const { encoder, cluster, deliveryTimeoutMs } = this.#context;
      const request = encoder.encode(batch, this.#headBytes);
      const target = { topic: cluster.name, partition: this.#partition, ackTimeoutMs: deliveryTimeoutMs };
      writeProduceHead(request, target);
      return await this.#deliver(request, batch.count);
    } finally {
      this.#isBusy = false;
    }
  }

  async #deliver(request: Buffer, count: number): Promise<number> {
    const deadline = performance.now() + this.#context.deliveryTimeoutMs;
    const trial: Trial = { isSent: false, isMaybeStored: false, reason: 'there is no leader' };
    let stamped: ProducerStamp | undefined;
    for (let attempt = 0; deadline - performance.now() > leastTryMs; attempt++) {
      const link = this.#context.leaderLink(this.#partition);
      try {
        this.#stamp ??= await withinMs(this.#requestProducerId(), deadline - performance.now());
        if (stamped !== this.#stamp) {
          stamped = this.#stamp;
          stampProducer(request.subarray(this.#headBytes), stamped);
        }
      } catch (error) {
        if (!isKafkaTrouble(error)) throw error;
        trial.reason = `no producer id: ${reasonOf(error)}`;
        await this.#recover(attempt, deadline);
        continue;
      }
      if (link !== undefined) {
        const answer = await this.#try(link, request, deadline - performance.now());
        const offset = this.#judge(answer, trial);
        if (offset !== undefined) {
          this.#stamp = advanceStamp(stamped, count);
          return offset;
        }
        if (answer.isSent && !this.#mayRetry(answer.code, trial)) return this.#giveUp(trial, answer.code);
      }
      await this.#recover(attempt, deadline);
    }
    return this.#giveUp(trial);
  }

  /** One try. A failure on the way counts as an answer: one that leaves the outcome open if bytes were sent. */
  async #try(
    link: BrokerLink,
    request: Buffer,
    leftMs: number,
  ): Promise<ProduceAnswer & { isSent: boolean }> {
    try {
      return { ...(await withinMs(link.request(produceApi, request), leftMs)), isSent: true };
    } catch (error) {
      if (!isNetworkTrouble(error)) {
        this.#stamp = undefined;
        throw error;
      }
      const isSent = !(error instanceof NotConnectedError);
      return { code: kafkaCodes.networkException, baseOffset: -1, message: reasonOf(error), isSent };
    }
  }

  /** Takes down what an answer tells. @returns the offset when the batch is stored; -1 when only the offset is unknown */
  #judge({ code, baseOffset, message, isSent }: ProduceAnswer & { isSent: boolean }, trial: Trial) {
    trial.reason = message ?? new KafkaError(code, 'Kafka answered').message;
    if (!isSent) return undefined;
    trial.isSent = true;
    const isDuplicate = code === kafkaCodes.duplicateSequenceNumber;
    if (code === kafkaCodes.none || (isDuplicate && baseOffset >= 0)) return baseOffset;
    if (this.#isPinned && isDuplicate) return -1;
    if (this.#isPinned && stampCodes.has(code)) {
      throw new TicketLostError(
        `${this.#place()} does not know whether the batch was stored: ${trial.reason}`,
      );
    }
    trial.isMaybeStored ||= !provesNothingAppended(code);
    return undefined;
  }

  /** Whether the next try may get another answer; under new numbers where those of the last one were refused. */
  #mayRetry(code: number, { isMaybeStored }: Trial): boolean {
    if (!stampCodes.has(code)) return retriableCodes.has(code);
    // As long as nothing can be stored under the old numbers.
    if (!isMaybeStored) this.#stamp = undefined;
    return !isMaybeStored;
  }

  /** `code`: an answer that no other try would change. */
  #giveUp({ isSent, isMaybeStored, reason }: Trial, code?: number): never {
    // Whatever is still on its way, or at a leader that nobody has heard of since, must not share numbers with the
    // next batch: that would pass for the repeat, and be dropped with the receipt of this one.
    if (isSent) this.#stamp = undefined;
    const place = this.#place();
    if (isMaybeStored) {
      throw new OutcomeUnknownError(
        `${place} did not confirm the batch, so it is not known whether it was stored: ${reason}`,
      );
    }
    if (code === undefined) {
      throw new BufferUnavailableError(
        `${place} did not accept the batch in time; nothing was stored: ${reason}`,
      );
    }
    throw new RecordsRefusedError(`${place} refuses the batch: ${reason}${adviceFor.get(code) ?? ''}`);
  }

  async #recover(attempt: number, deadline: number): Promise<void> {
    this.#context.cluster.hurry();
    await pause(Math.min(backOffMs(attempt, { mostMs: 1_000 }), Math.max(0, deadline - performance.now())));
  }

  #requestProducerId(): Promise<ProducerStamp> {
    return requestProducerId(this.#context.cluster);
  }

  #place(): string {
    return `Kafka ${this.#context.cluster.name}/${this.#partition}`;
  }
}

/** Asks for a producer id that nobody has used. @throws Error when no broker can be asked */
export async function requestProducerId(cluster: Cluster): Promise<ProducerStamp> {
  const answer = await cluster.any().request(initProducerIdV4.api, null, 60_000, -1n, -1);
  return { id: answer.producerId, epoch: answer.producerEpoch, sequence: 0 };
}

/** The numbers of the batch after one of `count` records. */
export function advanceStamp(stamp: ProducerStamp, count: number): ProducerStamp {
  return { ...stamp, sequence: (stamp.sequence + count) % sequenceLimit };
}

/** Settles as `promise` does; rejects when that takes longer than `ms`. */
function withinMs<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new TimeoutError(`no answer within ${Math.round(ms)} ms`)),
      Math.max(0, ms),
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
