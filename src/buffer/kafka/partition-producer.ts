/** Writes batches to one partition, one at a time, so that a repeat never becomes a second record. */
import { initProducerIdV4 } from '@platformatic/kafka';
import { assertInvariant } from '../../errors.ts';
import {
  BufferUnavailableError,
  OutcomeUnknownError,
  RecordsRefusedError,
  TicketLostError,
} from '../buffer.ts';
import type { EventBatch } from '../event-batch.ts';
import { pause } from '../pause.ts';
import { backoffMs } from './backoff.ts';
import { type BrokerLink, NotConnectedError } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { KafkaError, kafkaCodes, reasonOf } from './kafka-errors.ts';
import { type ProduceAnswer, produceApi, produceHeadBytes, writeProduceHead } from './produce-api.ts';
import { type ProducerStamp, type RecordEncoder, stampProducer } from './record-encoder.ts';

/** Sequence numbers are 31 bits and go on with 0, as the broker expects. */
const sequenceLimit = 2 ** 31;

/** Answers after which the batch is surely not in the log: the same bytes may be sent again at any time. */
const notStoredCodes = new Set<number>([
  kafkaCodes.corruptMessage,
  kafkaCodes.unknownTopicOrPartition,
  kafkaCodes.leaderNotAvailable,
  kafkaCodes.notLeaderOrFollower,
  kafkaCodes.replicaNotAvailable,
  kafkaCodes.notEnoughReplicas,
  kafkaCodes.fencedLeaderEpoch,
  kafkaCodes.unknownLeaderEpoch,
  kafkaCodes.throttlingQuotaExceeded,
  kafkaCodes.unknownTopicId,
]);

/** Answers after which it may be in the log. */
const maybeStoredCodes = new Set<number>([
  kafkaCodes.unknownServerError,
  kafkaCodes.requestTimedOut,
  kafkaCodes.networkException,
  kafkaCodes.notEnoughReplicasAfterAppend,
  kafkaCodes.kafkaStorageError,
]);

/** The broker does not know these producer numbers, or not in this order. */
const stampCodes = new Set<number>([
  kafkaCodes.outOfOrderSequenceNumber,
  kafkaCodes.unknownProducerId,
  kafkaCodes.invalidProducerEpoch,
  kafkaCodes.invalidProducerIdMapping,
  kafkaCodes.producerFenced,
]);

/** What can be done about refusals. */
const adviceFor = new Map<number, string>([
  [kafkaCodes.messageTooLarge, '; raise max.message.bytes of the topic or send smaller batches'],
  [kafkaCodes.recordListTooLarge, '; raise segment.bytes of the topic or send smaller batches'],
  [
    kafkaCodes.invalidTimestamp,
    '; set the clocks right, or raise message.timestamp.after.max.ms of the topic',
  ],
]);

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
    let isMaybeStored = false;
    let reason = 'there is no leader';
    let stamped: ProducerStamp | undefined;
    for (let attempt = 0; ; attempt++) {
      const left = deadline - performance.now();
      if (left <= 0) break;
      const link = this.#context.leaderLink(this.#partition);
      try {
        this.#stamp ??= await withinMs(this.#requestProducerId(), left);
        if (stamped !== this.#stamp) {
          stamped = this.#stamp;
          stampProducer(request.subarray(this.#headBytes), stamped);
        }
      } catch (error) {
        reason = `no producer id: ${reasonOf(error)}`;
        await this.#recover(attempt, deadline);
        continue;
      }
      if (link !== undefined) {
        const answer = await this.#try(link, request, deadline - performance.now());
        if (answer.code === kafkaCodes.none) return this.#accept(stamped, count, answer.baseOffset);
        if (answer.code === kafkaCodes.duplicateSequenceNumber && answer.baseOffset >= 0) {
          return this.#accept(stamped, count, answer.baseOffset);
        }
        reason = answer.message ?? new KafkaError(answer.code, 'Kafka answered').message;
        if (this.#isPinned && answer.code === kafkaCodes.duplicateSequenceNumber) return -1;
        if (this.#isPinned && stampCodes.has(answer.code)) {
          throw new TicketLostError(`${this.#place()} does not know whether the batch was stored: ${reason}`);
        }
        if (stampCodes.has(answer.code) && !isMaybeStored) {
          // Refused before anything was stored: the batch may go under new numbers.
          this.#stamp = undefined;
        } else if (maybeStoredCodes.has(answer.code)) {
          isMaybeStored = true;
        } else if (!notStoredCodes.has(answer.code)) {
          return this.#giveUp(answer, isMaybeStored, reason);
        }
      }
      await this.#recover(attempt, deadline);
    }
    // Whatever is still on its way must not share numbers with the next batch.
    if (!isMaybeStored) {
      throw new BufferUnavailableError(
        `${this.#place()} did not take the batch in time, nothing was stored: ${reason}`,
      );
    }
    this.#stamp = undefined;
    throw new OutcomeUnknownError(
      `${this.#place()} did not confirm the batch in time, whether it was stored is unknown: ${reason}`,
    );
  }

  /** One try. A failure on the way counts as an answer: one that leaves the outcome open if bytes were sent. */
  async #try(link: BrokerLink, request: Buffer, leftMs: number): Promise<ProduceAnswer> {
    try {
      return await withinMs(link.request(produceApi, request), leftMs);
    } catch (error) {
      const isSent = !(error instanceof NotConnectedError);
      const code = isSent ? kafkaCodes.networkException : kafkaCodes.leaderNotAvailable;
      return { code, baseOffset: -1, message: reasonOf(error) };
    }
  }

  #accept(stamp: ProducerStamp, count: number, baseOffset: number): number {
    this.#stamp = advanceStamp(stamp, count);
    return baseOffset;
  }

  #giveUp(answer: ProduceAnswer, isMaybeStored: boolean, reason: string): never {
    // A sequence number that was not used up stays the next one; one that may be must not come again.
    const isDuplicate = answer.code === kafkaCodes.duplicateSequenceNumber;
    if (isMaybeStored || isDuplicate) {
      this.#stamp = undefined;
      throw new OutcomeUnknownError(`${this.#place()}: whether the batch was stored is unknown: ${reason}`);
    }
    const advice = adviceFor.get(answer.code) ?? '';
    throw new RecordsRefusedError(`${this.#place()} refuses the batch: ${reason}${advice}`);
  }

  async #recover(attempt: number, deadline: number): Promise<void> {
    this.#context.cluster.refresh().catch(() => {});
    await pause(Math.min(backoffMs(attempt, 1000), Math.max(0, deadline - performance.now())));
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
      () => reject(new Error(`no answer within ${Math.round(ms)} ms`)),
      Math.max(0, ms),
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
