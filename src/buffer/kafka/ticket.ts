/** Tickets: the producer's numbers as text, so that whoever finds one can send the same batch again. */
import { assertInvariant } from '../../errors.ts';
import { type AppendSeries, BufferUnavailableError } from '../buffer.ts';
import type { EventBatch } from '../event-batch.ts';
import { reasonOf } from './kafka-errors.ts';
import { isKafkaTrouble } from './network-trouble.ts';
import {
  advanceStamp,
  PartitionProducer,
  type ProducerContext,
  requestProducerId,
} from './partition-producer.ts';
import type { ProducerStamp } from './record-encoder.ts';

const pattern = /^kafka:(\d{1,19}):(\d{1,5}):(\d{1,10})$/;

/** Writes numbers as a ticket. */
export function encodeTicket({ id, epoch, sequence }: ProducerStamp): string {
  return `kafka:${id}:${epoch}:${sequence}`;
}

/** Reads a ticket. @throws InvariantError when it is none */
export function decodeTicket(ticket: string): ProducerStamp {
  const [, id, epoch, sequence] = pattern.exec(ticket) ?? [];
  assertInvariant(id !== undefined, `'${ticket}' is no ticket for Kafka`);
  return { id: BigInt(id), epoch: Number(epoch), sequence: Number(sequence) };
}

/**
 * A series has a producer id of its own for each partition. The broker keeps the last batches of an id in
 * mind and answers a repeat with the offset of the first, for `producer.id.expiration.ms` (a day) counted
 * from the newest timestamp of the batch. After that it takes the repeat for a new batch.
 */
export class KafkaAppendSeries implements AppendSeries {
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
