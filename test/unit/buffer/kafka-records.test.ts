import { createRecordsBatch, type MessageRecord, Reader, readRecordsBatch } from '@platformatic/kafka';
import { compressSync } from 'snappy';
import { describe, expect, test } from 'vitest';
import {
  batchLayout,
  UnreadableBatchError,
  writeZigzag,
  ZigzagReader,
  zigzagSize,
} from '../../../src/buffer/kafka/record-batch.ts';
import { FetchedBatches } from '../../../src/buffer/kafka/record-decoder.ts';
import { type Compression, RecordEncoder, stampProducer } from '../../../src/buffer/kafka/record-encoder.ts';
import { EventBatch, type RecordBlock, type RecordHeaders } from '../../../src/buffer/records.ts';
import { fc } from '../../support/fast-check.ts';

interface Event {
  value: Uint8Array;
  receivedAt: number;
  headers: [string, string][];
}

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.record({
    value: fc.uint8Array({ maxLength: 300 }),
    receivedAt: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    headers: fc.oneof(
      { weight: 4, arbitrary: fc.constant<[string, string][]>([]) },
      fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 8 }), fc.string({ maxLength: 40 })), {
        maxLength: 3,
      }),
    ),
  }),
  { minLength: 1, maxLength: 60 },
);
const compressions = fc.constantFrom<Compression>('snappy', 'none');

function encode(list: readonly Event[], compression: Compression, baseOffset = 0): Buffer {
  const batch = new EventBatch();
  for (const { value, receivedAt, headers } of list) {
    batch.add(value, receivedAt, headers.length === 0 ? undefined : headers);
  }
  const bytes = new RecordEncoder(compression).encode(batch, 0);
  stampProducer(bytes, { id: 7n, epoch: 1, sequence: 42 });
  bytes.writeBigInt64BE(BigInt(baseOffset), batchLayout.baseOffset);
  return bytes;
}

function eventsOf(blocks: readonly RecordBlock[]): (Event & { offset: number })[] {
  return blocks.flatMap((block) =>
    Array.from({ length: block.count }, (_, i) => ({
      value: new Uint8Array(block.bytes.slice(block.starts[i], block.ends[i])),
      receivedAt: block.receivedAt[i] ?? Number.NaN,
      headers: (block.headers?.[i] ?? ([] as RecordHeaders)).map(([key, value]): [string, string] => [
        key,
        value,
      ]),
      offset: block.offsets[i] ?? Number.NaN,
    })),
  );
}

function withOffsets(list: readonly Event[], base: number) {
  return list.map((event, i) => ({ ...event, value: new Uint8Array(event.value), offset: base + i }));
}

describe('varints', () => {
  test('come back as they were, and are as long as said', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        fc.pre(Math.abs(value) < 2 ** 51);
        const bytes = Buffer.alloc(12);
        const end = writeZigzag(bytes, 0, value);
        expect(end).toBe(zigzagSize(value));
        expect(new ZigzagReader(bytes).read()).toBe(value);
      }),
    );
  });

  test('that are cut off or too long are refused', () => {
    expect(() => new ZigzagReader(Buffer.from([0x80])).read()).toThrow(UnreadableBatchError);
    expect(() => new ZigzagReader(Buffer.alloc(20, 0xff)).read()).toThrow(UnreadableBatchError);
  });
});

describe('record batches', () => {
  test('come back as they were', () => {
    fc.assert(
      fc.property(events, compressions, fc.nat(), (list, compression, base) => {
        const fetched = new FetchedBatches(encode(list, compression, base));
        const { blocks, next } = fetched.take(base, Number.MAX_SAFE_INTEGER);
        expect(eventsOf(blocks)).toEqual(withOffsets(list, base));
        expect(next).toBe(base + list.length);
        expect(fetched.isEmpty).toBe(true);
      }),
    );
  });

  test('are read by @platformatic/kafka', () => {
    fc.assert(
      fc.property(events, compressions, (list, compression) => {
        const batch = readRecordsBatch(Reader.from(encode(list, compression)));
        expect(batch.producerId).toBe(7n);
        expect(batch.producerEpoch).toBe(1);
        expect(batch.firstSequence).toBe(42);
        expect(batch.lastOffsetDelta).toBe(list.length - 1);
        expect(Number(batch.maxTimestamp)).toBe(Math.max(...list.map((event) => event.receivedAt)));
        const read = batch.records.map((record, i) => ({
          value: new Uint8Array(record.value ?? Buffer.alloc(0)),
          receivedAt: Number(batch.firstTimestamp + record.timestampDelta),
          headers: record.headers.map(([key, value]) => [String(key ?? ''), String(value ?? '')]),
          offset: i,
        }));
        expect(read).toEqual(withOffsets(list, 0));
        expect(batch.records.every((record) => record.key === null)).toBe(true);
      }),
    );
  });

  test('of @platformatic/kafka are read, in every codec', () => {
    const codecs = fc.constantFrom('none', 'snappy', 'gzip', 'lz4');
    fc.assert(
      fc.property(events, codecs, (any, compression) => {
        // Its encoder writes wrong numbers for times further apart than 2^31 ms.
        const list = any.map((event) => ({ ...event, receivedAt: event.receivedAt % 2 ** 31 }));
        const messages = list.map(
          (event): MessageRecord => ({
            topic: 't',
            partition: 0,
            key: Buffer.from('a key'),
            value: Buffer.from(event.value),
            timestamp: BigInt(event.receivedAt),
            headers: new Map(event.headers.map(([key, value]) => [Buffer.from(key), Buffer.from(value)])),
          }),
        );
        const bytes = createRecordsBatch(messages, { compression: compression as 'snappy' }).buffer;
        const { blocks } = new FetchedBatches(bytes).take(0, Number.MAX_SAFE_INTEGER);
        expect(eventsOf(blocks)).toEqual(withOffsets(list, 0));
      }),
    );
  });

  test('before the position are left out, and one cut off at the end is ignored', () => {
    fc.assert(
      fc.property(
        fc.array(events, { minLength: 1, maxLength: 4 }),
        fc.nat(),
        fc.nat(),
        (lists, skip, cut) => {
          let base = 100;
          const all: (Event & { offset: number })[] = [];
          const encoded = lists.map((list) => {
            const bytes = encode(list, 'snappy', base);
            all.push(...withOffsets(list, base));
            base += list.length;
            return bytes;
          });
          const torn = encode(lists[0] ?? [], 'none', base);
          const bytes = Buffer.concat([...encoded, torn.subarray(0, cut % torn.length)]);
          const from = 100 + (skip % all.length);
          const { blocks, next } = new FetchedBatches(bytes).take(from, Number.MAX_SAFE_INTEGER);
          expect(eventsOf(blocks)).toEqual(all.filter((event) => event.offset >= from));
          expect(next).toBe(base);
        },
      ),
    );
  });

  test('are taken one by one when only few bytes are wanted', () => {
    const event = { value: Buffer.from('{}'), receivedAt: 1, headers: [] };
    const fetched = new FetchedBatches(
      Buffer.concat([encode([event, event], 'none', 0), encode([event], 'none', 5)]),
    );
    expect(fetched.take(0, 1).next).toBe(2);
    expect(fetched.isEmpty).toBe(false);
    // Offsets 2 to 4 are a gap: compaction or a transaction left them.
    const { blocks, next } = fetched.take(2, 1);
    expect(eventsOf(blocks).map((read) => read.offset)).toEqual([5]);
    expect(next).toBe(6);
  });

  test('with Java framing of snappy are read', () => {
    const list = Array.from({ length: 20 }, (_, i) => ({
      value: Buffer.from(`{"event":"view","n":${i}}`),
      receivedAt: 1000 + i,
      headers: [],
    }));
    const plain = encode(list, 'none');
    const records = plain.subarray(batchLayout.records);
    const framed: Buffer[] = [Buffer.from('82534e4150505900' + '00000001' + '00000001', 'hex')];
    for (let at = 0; at < records.length; at += 100) {
      const block = compressSync(records.subarray(at, at + 100));
      const length = Buffer.alloc(4);
      length.writeInt32BE(block.length);
      framed.push(length, block);
    }
    const bytes = Buffer.concat([plain.subarray(0, batchLayout.records), ...framed]);
    bytes.writeInt16BE(2, batchLayout.attributes);
    bytes.writeInt32BE(bytes.length - 12, batchLayout.length);
    stampProducer(bytes, { id: 7n, epoch: 1, sequence: 42 });
    const { blocks } = new FetchedBatches(bytes).take(0, Number.MAX_SAFE_INTEGER);
    expect(eventsOf(blocks)).toEqual(withOffsets(list, 0));
  });

  test('of a rolled back transaction and its marker are skipped', () => {
    const event = { value: Buffer.from('{}'), receivedAt: 1, headers: [] };
    const transactional = (base: number, attributes: number) => {
      const bytes = encode([event], 'none', base);
      bytes.writeInt16BE(attributes, batchLayout.attributes);
      stampProducer(bytes, { id: 7n, epoch: 1, sequence: 0 });
      return bytes;
    };
    const bytes = Buffer.concat([
      transactional(0, 0x10), // committed, by the same producer
      transactional(1, 0x30), // its marker
      transactional(2, 0x10), // rolled back
      encode([event], 'none', 3), // somebody else's
      transactional(4, 0x30), // marker
      transactional(5, 0x10), // committed
    ]);
    const fetched = new FetchedBatches(bytes, [{ producerId: 7n, firstOffset: 2 }]);
    const { blocks, next } = fetched.take(0, 1000);
    expect(eventsOf(blocks).map((read) => read.offset)).toEqual([0, 3, 5]);
    expect(next).toBe(6);
  });
});
