/**
 * Fetch, version 13 (Kafka 3.1 and newer): the first that names the topic by its id, so that a position is
 * never used in another topic of the same name. Records stay bytes: {@link FetchedBatches} decodes them.
 *
 * Produce, version 8 (Kafka 2.4 and newer): the last one without tagged fields, which brokers add to answers
 * about a moved leader and which the client's reader does not skip.
 *
 * What brokers say about the cluster: its brokers, and the partitions and leaders of topics.
 *
 * The end of what was read: whether there is a record in it.
 */
import { createAPI, metadataV12, type Reader, ResponseError, Writer } from '@platformatic/kafka';
import type { ReadResult } from '../buffer.ts';
import type { Address, BrokerLink } from './broker-link.ts';
import { KafkaError, kafkaCodes } from './errors.ts';
import type { AbortedTransaction } from './record-decoder.ts';

const fetchKey = 1;
const fetchVersion = 13;

/**
 * Only records of finished transactions are read. The writer here uses none, but others may write to the
 * topic, and what they roll back must not become rows. The same for every read, so that a range of offsets
 * holds the same records whoever reads it, whenever.
 */
export const readCommitted = 1;

/** Most rolled back transactions of an answer: each is an object here. */
const maxAborted = 100_000;

/** Fetches from one partition. */
interface FetchRequest {
  readonly topicId: string;
  readonly partition: number;
  readonly from: number;
  /** How long the broker waits for `minBytes`, milliseconds. */
  readonly maxWaitMs: number;
  /** Bytes, compressed, that are worth an answer before that; default 1. */
  readonly minBytes?: number;
  /** Bytes wanted, compressed; the first batch comes whole even if it is larger. */
  readonly maxBytes: number;
}

/** What the broker answered for the partition. */
export interface FetchAnswer {
  readonly code: number;
  readonly records: Buffer;
  readonly aborted: readonly AbortedTransaction[];
}

/** Sends one fetch, without a fetch session. */
export const fetchApi = createAPI<[request: FetchRequest], FetchAnswer>(
  fetchKey,
  fetchVersion,
  writeRequest,
  (_correlationId, _key, _version, reader) => parseFetched(reader),
);

function writeRequest(request: FetchRequest): Writer {
  const { topicId, partition, from, maxWaitMs, minBytes = 1, maxBytes } = request;
  return Writer.create()
    .appendInt32(-1) // not a replica
    .appendInt32(maxWaitMs)
    .appendInt32(minBytes)
    .appendInt32(maxBytes)
    .appendInt8(readCommitted)
    .appendInt32(0) // no session
    .appendInt32(-1)
    .appendArray([topicId], (topics, id) => {
      topics.appendUUID(id).appendArray([partition], (partitions, index) => {
        partitions
          .appendInt32(index)
          .appendInt32(-1) // leader epoch, unchecked
          .appendInt64(BigInt(from))
          .appendInt32(-1)
          .appendInt64(-1n)
          .appendInt32(maxBytes);
      });
    })
    .appendArray([], () => {})
    .appendString('')
    .appendTaggedFields();
}

/** Reads up to the records of the only partition; what follows are tagged fields, of no use here. */
function parseFetched(reader: Reader): FetchAnswer {
  const none = Buffer.alloc(0);
  reader.readInt32(); // throttle time
  const code = reader.readInt16();
  reader.readInt32(); // session
  const topics = reader.readUnsignedVarInt() - 1;
  if (code !== 0 || topics < 1) return { code, records: none, aborted: [] };
  reader.readUUID();
  reader.readUnsignedVarInt(); // partitions, always one
  reader.readInt32();
  const partitionCode = reader.readInt16();
  reader.readInt64(); // high watermark
  reader.readInt64(); // last stable offset
  reader.readInt64(); // log start
  const aborted: AbortedTransaction[] = [];
  const abortedCount = reader.readUnsignedVarInt() - 1;
  if (abortedCount > maxAborted) throw new Error(`an answer names ${abortedCount} rolled back transactions`);
  for (let i = 0; i < abortedCount; i++) {
    aborted.push({ producerId: reader.readInt64(), firstOffset: Number(reader.readInt64()) });
    reader.skip(1); // tagged fields: none are defined
  }
  reader.readInt32(); // preferred replica
  return { code: partitionCode, records: reader.readBytes(), aborted };
}

/** Follows reads of one partition. Markers of transactions, and what was rolled back, have offsets and are no records. */
export class ReadTail {
  /** The last offsets that were read without a gap: up to `next`, and no record from `recordsEnd` on. */
  #seen: { readonly recordsEnd: number; readonly next: number } | undefined;

  /** A read from the position `from` brought this. */
  note(from: number, { blocks, next }: ReadResult): void {
    const block = blocks.at(-1);
    const last = block?.offsets[block.count - 1];
    const before = this.#seen?.next === from ? this.#seen.recordsEnd : from;
    this.#seen = { recordsEnd: last === undefined ? before : last + 1, next };
  }

  /** The offset before which nothing is left to deliver, when everything before `committed` is delivered. */
  deliveredUpTo(committed: number): number {
    if (this.#seen === undefined || committed < this.#seen.recordsEnd) return committed;
    return Math.max(committed, this.#seen.next);
  }
}

const produceKey = 0;
const produceVersion = 8;
/** A record that was refused takes at least as many bytes of an answer: its number and the length of a message. */
const smallestRecordError = 6;

/** What the broker answered for the one partition of a request. */
export interface ProduceAnswer {
  readonly code: number;
  /** Offset of the first record; -1 when there is an error. */
  readonly baseOffset: number;
  /** The broker's own words about the error, if it has any. */
  readonly message: string | null;
}

/** Bytes of a request in front of the record batch. */
export function produceHeadBytes(topic: string): number {
  return 2 + 2 + 4 + 4 + (2 + Buffer.byteLength(topic)) + 4 + 4 + 4;
}

/**
 * Writes what comes before the record batch; `request` is the whole of it, the batch already in place.
 * `ackTimeoutMs` is how long the leader waits for the replicas.
 */
export function writeProduceHead(
  request: Buffer,
  target: { topic: string; partition: number; ackTimeoutMs: number },
): void {
  const { topic, partition, ackTimeoutMs } = target;
  let at = request.writeInt16BE(-1, 0); // no transaction
  at = request.writeInt16BE(-1, at); // acks: all in-sync replicas
  at = request.writeInt32BE(ackTimeoutMs, at);
  at = request.writeInt32BE(1, at); // topics
  at = request.writeInt16BE(Buffer.byteLength(topic), at);
  at += request.write(topic, at);
  at = request.writeInt32BE(1, at); // partitions
  at = request.writeInt32BE(partition, at);
  request.writeInt32BE(request.length - at - 4, at);
}

/** Sends a request written by {@link writeProduceHead}. */
export const produceApi = createAPI<[request: Buffer], ProduceAnswer>(
  produceKey,
  produceVersion,
  (request: Buffer) => Writer.create().append(request),
  (_correlationId, _key, _version, reader) => parseProduced(reader),
  false,
  false,
);

function parseProduced(reader: Reader): ProduceAnswer {
  reader.readInt32(); // topics, always one
  reader.readString(false);
  reader.readInt32(); // partitions, always one
  reader.readInt32(); // partition
  const code = reader.readInt16();
  const baseOffset = Number(reader.readInt64());
  reader.readInt64(); // append time
  reader.readInt64(); // log start
  let recordMessage: string | null = null;
  const recordErrors = reader.readInt32();
  // A length below zero would have the reader go back: the count must not be larger than the answer.
  if (recordErrors > reader.remaining / smallestRecordError) throw new Error('an answer is cut off');
  for (let i = 0; i < recordErrors; i++) {
    reader.readInt32();
    recordMessage ??= reader.readNullableString(false);
  }
  const message = reader.readNullableString(false) ?? recordMessage;
  return { code, baseOffset, message };
}

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
