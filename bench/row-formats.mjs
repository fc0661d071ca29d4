/** The same rows in each format that ClickHouse takes `data` in as text: candidates for the streamer's inserts. */
import { importBuilt } from './program.mjs';

const identity = { topic: 'events', topicId: '00000000-0000-4000-8000-000000000000', partition: 3 };
const overheadBytes = 256;

/** Makes the writers; each has the format's name for ClickHouse, and encodes a block of records. */
export async function createFormats() {
  const { RowWriter } = await importBuilt('streamer/row-writer.js');
  return {
    RowBinaryWithDefaults: {
      format: 'RowBinaryWithDefaults',
      encode(block) {
        const writer = new RowWriter(identity);
        for (let i = 0; i < block.count; i++) writer.write(block, i);
        return writer.body;
      },
    },
    JSONEachRow: { format: 'JSONEachRow', encode: encodeJson },
    Native: { format: 'Native', encode: encodeNative },
  };
}

function encodeJson({ count, bytes, starts, ends, offsets, receivedAt }) {
  const body = Buffer.allocUnsafeSlow(count * overheadBytes + valueBytes({ count, starts, ends }));
  const { topic, topicId, partition } = identity;
  const place = `,"topic":"${topic}","topic_id":"${topicId}","partition":${partition},"offset":`;
  let at = 0;
  for (let i = 0; i < count; i++) {
    at += body.latin1Write(
      `{"received_at":"${(receivedAt[i] / 1e3).toFixed(3)}"${place}${offsets[i]},"data":`,
      at,
    );
    body.set(bytes.subarray(starts[i], ends[i]), at);
    at += ends[i] - starts[i];
    body[at++] = 0x7d;
    body[at++] = 0x0a;
  }
  return body.subarray(0, at);
}

/**
 * One block, column by column. `data` is JSON of the table's type, as text; as String it would be cast, which takes no
 * times in ISO 8601 whatever the settings.
 */
function encodeNative({ count, bytes, starts, ends, offsets, receivedAt }) {
  const head = Buffer.concat([varint(7), varint(count)]);
  const times = new BigInt64Array(count);
  const positions = new BigUint64Array(count);
  for (let i = 0; i < count; i++) {
    times[i] = BigInt(receivedAt[i]);
    positions[i] = BigInt(offsets[i]);
  }
  const data = Buffer.allocUnsafeSlow(count * 5 + valueBytes({ count, starts, ends }));
  let at = 0;
  for (let i = 0; i < count; i++) {
    at += varintInto(data, at, ends[i] - starts[i]);
    data.set(bytes.subarray(starts[i], ends[i]), at);
    at += ends[i] - starts[i];
  }
  return Buffer.concat([
    head,
    ...[name('received_at', "DateTime64(3, 'UTC')"), Buffer.from(times.buffer)],
    ...[name('topic', 'LowCardinality(String)'), constant(identity.topic, count)],
    ...[name('topic_id', 'LowCardinality(String)'), constant(identity.topicId, count)],
    ...[name('partition', 'UInt32'), Buffer.from(new Uint32Array(count).fill(identity.partition).buffer)],
    ...[name('offset', 'UInt64'), Buffer.from(positions.buffer)],
    ...[name('event_id', 'String'), Buffer.alloc(count)],
    ...[name('data', nativeJson.type), uint64(1)],
    data.subarray(0, at),
  ]);
}

/** The type of `data` in the table; set it before the first block. */
export const nativeJson = { type: 'JSON' };

function name(column, type) {
  return Buffer.concat([text(column), text(type)]);
}

/** A column of LowCardinality(String) with one value. */
function constant(value, count) {
  const additionalKeys = 1n << 9n;
  const key = text(value);
  const head = [uint64(1), uint64(additionalKeys), uint64(1), key, uint64(count)];
  return Buffer.concat([...head, Buffer.alloc(count)]);
}

function text(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(bytes.length), bytes]);
}

function uint64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function varint(value) {
  const bytes = Buffer.alloc(5);
  return bytes.subarray(0, varintInto(bytes, 0, value));
}

function varintInto(target, at, value) {
  let rest = value;
  let position = at;
  for (; rest >= 0x80; rest >>>= 7) target[position++] = (rest & 0x7f) | 0x80;
  target[position++] = rest;
  return position - at;
}

function valueBytes({ count, starts, ends }) {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += ends[i] - starts[i];
  return sum;
}
