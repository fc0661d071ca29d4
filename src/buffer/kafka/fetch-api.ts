/**
 * Fetch, version 13 (Kafka 3.1 and newer): the first that names the topic by its id, so that a position is
 * never used in another topic of the same name. Records stay bytes: {@link FetchedBatches} decodes them.
 */
import { createAPI, type Reader, Writer } from '@platformatic/kafka';
import type { AbortedTransaction } from './record-decoder.ts';

const apiKey = 1;
const apiVersion = 13;

/**
 * Only records of finished transactions are read. The writer here uses none, but others may write to the
 * topic, and what they roll back must not become rows. The same for every read, so that a range of offsets
 * holds the same records whoever reads it, whenever.
 */
export const readCommitted = 1;

/** Most rolled back transactions of an answer: each is an object here. */
const maxAborted = 100_000;

/** Fetches from one partition. */
export interface FetchRequest {
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
  apiKey,
  apiVersion,
  writeRequest,
  (_correlationId, _key, _version, reader) => parseAnswer(reader),
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
function parseAnswer(reader: Reader): FetchAnswer {
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
