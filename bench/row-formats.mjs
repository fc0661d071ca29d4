/** The same rows in each format that ClickHouse takes `data` in as text: candidates for the streamer's inserts. */
import { encodeRows } from './filled-buffer.mjs';

const identity = { topic: 'events', topicId: '00000000-0000-4000-8000-000000000000', partition: 3 };
const overheadBytes = 256;

/** By name for ClickHouse: encodes a block of records. */
export const formats = {
  RowBinaryWithDefaults: encodeRowBinary,
  JSONEachRow: encodeJson,
  Native: (block, dataType) => encodeRows(block, identity, dataType),
};

/** Columns of RowBinaryWithDefaults and JSONEachRow here. */
const columns = ['received_at', 'topic', 'topic_id', 'partition', 'offset', 'data'];

/** Before each value a flag: it follows. */
function encodeRowBinary({ count, bytes, starts, ends, offsets, receivedAt }) {
  const { topic, topicId, partition } = identity;
  const number = Buffer.alloc(5);
  number.writeUInt32LE(partition, 1);
  const place = Buffer.concat([Buffer.of(0), text(topic), Buffer.of(0), text(topicId), number]);
  const body = Buffer.alloc(count * (place.length + 24) + valueBytes({ count, starts, ends }));
  let at = 0;
  for (let i = 0; i < count; i++) {
    at = writeNumber(body, at, receivedAt[i]);
    body.set(place, at);
    at = writeNumber(body, at + place.length, offsets[i]) + 1;
    const length = ends[i] - starts[i];
    at = writeVarint(body, at, length);
    body.set(bytes.subarray(starts[i], ends[i]), at);
    at += length;
  }
  return { columns, body: body.subarray(0, at) };
}

function writeNumber(target, at, value) {
  target.writeUInt32LE(value % 2 ** 32, at + 1);
  target.writeUInt32LE(Math.floor(value / 2 ** 32), at + 5);
  return at + 9;
}

/** The record within the row, as it is. */
export function encodeJson({ count, bytes, starts, ends, offsets, receivedAt }) {
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
  return { columns, body: body.subarray(0, at) };
}

function text(value) {
  const bytes = Buffer.alloc(5 + value.length);
  const at = writeVarint(bytes, 0, value.length);
  return bytes.subarray(0, at + bytes.write(value, at, 'latin1'));
}

function writeVarint(target, at, value) {
  let rest = value;
  let position = at;
  for (; rest >= 0x80; rest >>>= 7) target[position++] = (rest & 0x7f) | 0x80;
  target[position++] = rest;
  return position;
}

function valueBytes({ count, starts, ends }) {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += ends[i] - starts[i];
  return sum;
}
