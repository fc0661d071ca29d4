/** The leader of one partition as a model: it knows producers and their numbers as Kafka does, and answers as a test says. */
import { type BrokerLink, NotConnectedError } from '../../src/buffer/kafka/broker-link.ts';
import type { Cluster } from '../../src/buffer/kafka/cluster.ts';
import { kafkaCodes } from '../../src/buffer/kafka/errors.ts';
import { type ProduceAnswer, produceHeadBytes } from '../../src/buffer/kafka/messages.ts';
import type { ProducerContext } from '../../src/buffer/kafka/partition-producer.ts';
import { batchLayout } from '../../src/buffer/kafka/record-batch.ts';
import { FetchedBatches } from '../../src/buffer/kafka/record-decoder.ts';
import { RecordEncoder } from '../../src/buffer/kafka/record-encoder.ts';

/** What it answers to produce requests in place of what is true. */
interface Order {
  readonly code: number;
  readonly appends: boolean;
  /** How many answers; all that follow unless said. */
  left: number;
}

/** A leader that one producer talks to. */
export interface ModelLeader {
  /** What is stored, by offset. */
  readonly values: string[];
  /** Producer ids given out so far. */
  readonly producerIds: number;
  /** No connection can be made. */
  isAway: boolean;
  /** Answers with `code`; undefined: with the truth again. `after` as many orders as were given before, in turn. */
  answerWith(code: number | undefined, order?: { appends: boolean; times?: number; after?: number }): void;
  /** The next request rejects with this. */
  failWith(error: Error): void;
  context(deliveryTimeoutMs: number): ProducerContext;
}

/** Makes one. */
export function createModelLeader(): ModelLeader {
  const values: string[] = [];
  /** Last batch of each producer: its first sequence number, its offset, and the next sequence number. */
  const producers = new Map<string, { sequence: number; offset: number; next: number }>();
  const head = produceHeadBytes('events');
  let orders: Order[] = [];
  let failure: Error | undefined;
  let producerIds = 0;

  function append(request: Buffer): ProduceAnswer {
    const batch = Buffer.from(request.subarray(head));
    const id = `${batch.readBigInt64BE(batchLayout.producerId)}/${batch.readInt16BE(batchLayout.producerEpoch)}`;
    const sequence = batch.readInt32BE(batchLayout.baseSequence);
    const count = batch.readInt32BE(batchLayout.count);
    const last = producers.get(id);
    if (last !== undefined && last.sequence === sequence && last.next === sequence + count) {
      return { code: kafkaCodes.none, baseOffset: last.offset, message: null };
    }
    if (last !== undefined && last.next !== sequence) {
      return { code: kafkaCodes.outOfOrderSequenceNumber, baseOffset: -1, message: null };
    }
    const offset = values.length;
    producers.set(id, { sequence, offset, next: sequence + count });
    const [block] = new FetchedBatches(batch).take(0, Number.MAX_SAFE_INTEGER).blocks;
    for (let i = 0; i < count; i++) {
      values.push(Buffer.from(block?.bytes.subarray(block.starts[i], block.ends[i]) ?? []).toString());
    }
    return { code: kafkaCodes.none, baseOffset: offset, message: null };
  }

  async function produce(request: Buffer): Promise<ProduceAnswer> {
    if (leader.isAway) throw new NotConnectedError('no connection to the model');
    const thrown = failure;
    failure = undefined;
    if (thrown !== undefined) throw thrown;
    const order = orders[0];
    if (order === undefined) return append(request);
    if (--order.left === 0) orders.shift();
    if (order.appends) append(request);
    return { code: order.code, baseOffset: -1, message: null };
  }

  const link = { request: (_api: unknown, request: Buffer) => produce(request) } as unknown as BrokerLink;
  const any = { request: async () => ({ producerId: BigInt(++producerIds), producerEpoch: 0 }) };
  const cluster = {
    name: 'events',
    refresh: async () => {},
    hurry: () => {},
    any: () => any,
  } as unknown as Cluster;
  const leader: ModelLeader = {
    values,
    get producerIds() {
      return producerIds;
    },
    isAway: false,
    answerWith(code, { appends, times, after = 0 } = { appends: false }) {
      orders = orders.slice(0, after);
      if (code !== undefined) orders.push({ code, appends, left: times ?? Number.POSITIVE_INFINITY });
    },
    failWith(error) {
      failure = error;
    },
    context: (deliveryTimeoutMs) => ({
      cluster,
      encoder: new RecordEncoder('none'),
      deliveryTimeoutMs,
      leaderLink: () => link,
    }),
  };
  return leader;
}
