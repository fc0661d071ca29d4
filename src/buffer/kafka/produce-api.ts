/**
 * Produce, version 8 (Kafka 2.4 and newer): the last one without tagged fields, which brokers add to answers
 * about a moved leader and which the client's reader does not skip.
 */
import { createAPI, type Reader, Writer } from '@platformatic/kafka';

const apiKey = 0;
const apiVersion = 8;
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
  apiKey,
  apiVersion,
  (request: Buffer) => Writer.create().append(request),
  (_correlationId, _key, _version, reader) => parseAnswer(reader),
  false,
  false,
);

function parseAnswer(reader: Reader): ProduceAnswer {
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
