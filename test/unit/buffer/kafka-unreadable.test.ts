/** What a hostile producer or broker may put into a topic: named, bounded, accounted for, and the next batch is read. */
import zlib from 'node:zlib';
import { compressionsAlgorithms } from '@platformatic/kafka';
import { compressSync } from 'snappy';
import { describe, expect, test } from 'vitest';
import type { ReadResult } from '../../../src/buffer/buffer.ts';
import { maxRecordsBytes } from '../../../src/buffer/kafka/compression.ts';
import {
  batchLayout,
  ChecksumError,
  codecs,
  NotReadableHereError,
} from '../../../src/buffer/kafka/record-batch.ts';
import { FetchedBatches, firstTimestamp } from '../../../src/buffer/kafka/record-decoder.ts';
import { stampProducer } from '../../../src/buffer/kafka/record-encoder.ts';
import { fc } from '../../support/fast-check.ts';
import { forgeBatch, forgeRecord } from '../../support/forged-batches.ts';

const { lz4 } = compressionsAlgorithms;
const zstd = zlib as unknown as { readonly zstdCompressSync?: (bytes: Uint8Array) => Buffer };
/** A batch that anybody can read, behind the others. */
const good = (baseOffset: number) =>
  forgeBatch({
    baseOffset,
    records: forgeRecord({ value: Buffer.from('{"event":"good"}'), offsetDelta: 0 }),
    count: 1,
  });

/**
 * All records from `from` on: their offsets, values, and why they cannot be read. As readers do, it fetches again when a
 * checksum is wrong.
 */
function readAll(bytes: Buffer, from = 0) {
  let fetched = new FetchedBatches(bytes);
  const records: { offset: number; value: Buffer; receivedAt: number; reason: string | undefined }[] = [];
  let next = from;
  while (!fetched.isEmpty) {
    const result = take();
    next = result.next;
    for (const block of result.blocks) {
      for (let i = 0; i < block.count; i++) {
        records.push({
          offset: block.offsets[i] as number,
          value: Buffer.from(block.bytes.slice(block.starts[i], block.ends[i])),
          receivedAt: block.receivedAt[i] as number,
          reason: block.unreadable?.[i],
        });
      }
    }
  }
  return { records, next };

  function take(): ReadResult {
    try {
      return fetched.take(next, 1024);
    } catch (error) {
      if (!(error instanceof ChecksumError)) throw error;
      fetched = new FetchedBatches(bytes, [], error.baseOffset);
      return take();
    }
  }
}

/** Asserts that a batch of offsets 10 to 12 is named with this code, and that the one behind it is read. */
function expectNamed(batch: Buffer, code: string, why: RegExp) {
  const { records, next } = readAll(Buffer.concat([batch, good(13)]), 10);
  expect(records.map(({ offset }) => offset)).toEqual([10, 11, 12, 13]);
  for (const { reason } of records.slice(0, 3)) {
    expect(reason).toMatch(
      new RegExp(`^${code}: the record batch of offsets 10 to 12, ${batch.length} bytes`),
    );
    expect(reason).toMatch(why);
  }
  expect(records[2]?.value.equals(batch.subarray(0, 1024 * 1024))).toBe(true);
  expect(records.slice(0, 2).map(({ value }) => value.length)).toEqual([0, 0]);
  expect(records[3]).toMatchObject({ value: Buffer.from('{"event":"good"}'), reason: undefined });
  expect(next).toBe(14);
  return records;
}

/** The records 10 to 12, of this many bytes together. */
function recordsOf(bytes: number): Buffer {
  const value = Buffer.alloc(Math.ceil(bytes / 3), 'x');
  return Buffer.concat([0, 1, 2].map((offsetDelta) => forgeRecord({ value, offsetDelta })));
}

function batchOf(codec: number, records: Uint8Array, change: object = {}): Buffer {
  return forgeBatch({ baseOffset: 10, codec, records, count: 3, ...change });
}

/** Blocks of Snappy in the framing of Kafka's Java producer; each with the length that it says. */
function xerial(blocks: readonly (readonly [length: number, block: Buffer])[]): Buffer {
  const framed: Buffer[] = [Buffer.from('82534e41505059000000000100000001', 'hex')];
  for (const [length, block] of blocks) {
    const head = Buffer.alloc(4);
    head.writeInt32BE(length);
    framed.push(head, block);
  }
  return Buffer.concat(framed);
}

describe('a batch that decompresses to more than the limit is not decompressed beyond it', () => {
  const bomb = recordsOf(8 * maxRecordsBytes);
  const snappyBlock = compressSync(bomb.subarray(0, maxRecordsBytes / 2));
  test.each([
    ['gzip', codecs.gzip, () => zlib.gzipSync(bomb)],
    ['lz4', codecs.lz4, () => Buffer.from(lz4.compressSync(bomb))],
    ['snappy', codecs.snappy, () => Buffer.from(compressSync(bomb))],
    [
      'snappy of Java',
      codecs.snappy,
      () => xerial([1, 2, 3].map(() => [snappyBlock.length, snappyBlock] as const)),
    ],
    ['no codec', codecs.none, () => recordsOf(maxRecordsBytes + 1)],
    ...(zstd.zstdCompressSync === undefined
      ? []
      : ([['zstd', codecs.zstd, () => zstd.zstdCompressSync?.(bomb) as Buffer]] as const)),
  ] as const)('%s', (_name, codec, compress) => {
    const batch = batchOf(codec, compress());
    const before = process.memoryUsage().rss;
    expectNamed(batch, 'BATCH_TOO_LARGE', /more than 33554432 bytes/);
    expect(process.memoryUsage().rss - before).toBeLessThan(5 * maxRecordsBytes);
  });

  test('one of just the limit is read', () => {
    const overhead = recordsOf(maxRecordsBytes - 90).length - (maxRecordsBytes - 90);
    const records = recordsOf(maxRecordsBytes - 90 - overhead);
    expect(records.length).toBeLessThanOrEqual(maxRecordsBytes);
    const read = readAll(batchOf(codecs.gzip, zlib.gzipSync(records)), 10).records;
    expect(read.map(({ reason }) => reason)).toEqual([undefined, undefined, undefined]);
  });

  test('a size that a block only announces is not reserved', () => {
    const before = process.memoryUsage().rss;
    // 2^31 - 1 bytes, in five bytes.
    expectNamed(batchOf(codecs.snappy, Buffer.of(0xff, 0xff, 0xff, 0xff, 7)), 'BATCH_TOO_LARGE', /more than/);
    expect(process.memoryUsage().rss - before).toBeLessThan(maxRecordsBytes);
  });

  test('nor is memory for headers, an object each', () => {
    const headers = Buffer.alloc(2 * 1_000_001);
    const record = forgeRecord({ offsetDelta: 2, headerCount: 1_000_001, headers });
    const three = Buffer.concat([forgeRecord({ offsetDelta: 0 }), forgeRecord({ offsetDelta: 1 }), record]);
    expectNamed(batchOf(codecs.gzip, zlib.gzipSync(three)), 'BATCH_TOO_LARGE', /headers/);
  });
});

describe('a batch that nobody can read is named', () => {
  const records = recordsOf(300);

  test('damaged on its way', () => {
    const batch = batchOf(codecs.none, records);
    batch[batch.length - 3] = (batch[batch.length - 3] ?? 0) ^ 1;
    expectNamed(batch, 'BATCH_DAMAGED', /checksum/);
  });

  test('damaged in one answer only: what is before it is read, then it is to be fetched again', () => {
    const bad = batchOf(codecs.none, records);
    bad[bad.length - 3] = (bad[bad.length - 3] ?? 0) ^ 1;
    for (const suspect of [undefined, 9]) {
      const fetched = new FetchedBatches(Buffer.concat([good(9), bad, good(13)]), [], suspect);
      expect(fetched.take(9, 1_000_000).next).toBe(10);
      for (let i = 0; i < 2; i++) {
        expect(() => fetched.take(10, 1_000_000)).toThrow(expect.objectContaining({ baseOffset: 10 }));
      }
    }
  });

  test.each([
    ['gzip', codecs.gzip, zlib.gzipSync(records)],
    ['lz4', codecs.lz4, Buffer.from(lz4.compressSync(records))],
    ['snappy', codecs.snappy, Buffer.from(compressSync(records))],
    ...(zstd.zstdCompressSync === undefined
      ? []
      : ([['zstd', codecs.zstd, zstd.zstdCompressSync(records)]] as const)),
  ] as const)('compressed and cut off: %s', (_name, codec, compressed) => {
    for (const length of [0, 1, 6, compressed.length >> 1, compressed.length - 9])
      expectNamed(
        batchOf(codec, compressed.subarray(0, length)),
        'BATCH_DAMAGED',
        /is|holds|does not|are not|ends/,
      );
    expectNamed(batchOf(codec, records), 'BATCH_DAMAGED', /are not valid|does not/);
  });

  test('a codec that is none', () => {
    expectNamed(batchOf(5, records), 'BATCH_UNSUPPORTED', /codec 5/);
  });

  test('blocks of Snappy whose lengths lie', () => {
    const block = compressSync(records);
    for (const length of [-1, -5, -20, -(2 ** 31), block.length + 1, 2 ** 31 - 1])
      expectNamed(batchOf(codecs.snappy, xerial([[length, block]])), 'BATCH_DAMAGED', /block/);
  });

  test('a message format of before Kafka 0.11: one record, the next is read', () => {
    const old = good(10);
    old.writeInt8(1, batchLayout.magic);
    const { records: read } = readAll(Buffer.concat([old, good(11)]), 10);
    expect(read.map(({ offset }) => offset)).toEqual([10, 11]);
    expect(read[0]?.reason).toMatch(/^BATCH_UNSUPPORTED: .* message format 1/);
  });
});

describe('a batch whose numbers lie is named', () => {
  const records = recordsOf(300);
  const one = (change: object) => forgeRecord({ offsetDelta: 2, ...change });
  const two = Buffer.concat([forgeRecord({ offsetDelta: 0 }), forgeRecord({ offsetDelta: 1 })]);

  test.each([
    ['a record more', Buffer.concat([records, one({})])],
    ['a record less', two],
    ['a record that is too long', Buffer.concat([two, one({ length: 1_000 })])],
    ['a record with a negative length', Buffer.concat([two, one({ length: -1 })])],
    ['a value beyond its record', Buffer.concat([two, one({ valueLength: 1_000_000 })])],
    ['a value of 2^50 bytes', Buffer.concat([two, one({ valueLength: 2 ** 50 })])],
    ['a key beyond its record', Buffer.concat([two, one({ keyLength: 2 ** 31 })])],
    ['headers that are not there', Buffer.concat([two, one({ headerCount: 100_000 })])],
    ['a header of 2^40 bytes', Buffer.concat([two, one({ headerCount: 1, headers: Buffer.alloc(8, 0xfe) })])],
    ['an offset beyond the last', Buffer.concat([two, forgeRecord({ offsetDelta: 3 })])],
    ['an offset before the first', Buffer.concat([two, forgeRecord({ offsetDelta: -1 })])],
    ['an offset twice', Buffer.concat([two, forgeRecord({ offsetDelta: 1 })])],
  ])('%s', (_name, forged) => {
    expectNamed(batchOf(codecs.none, forged), 'BATCH_DAMAGED', /./);
  });

  test.each([2 ** 31 - 1, -1, -(2 ** 31), 1_000_000])(
    '%d records: one dead letter, at the last offset',
    (count) => {
      const batch = batchOf(codecs.none, records, { count, lastOffsetDelta: 2 });
      const { records: read } = readAll(Buffer.concat([batch, good(13)]), 10);
      expect(read.map(({ offset }) => offset)).toEqual([12, 13]);
      expect(read[0]?.reason).toMatch(/^BATCH_DAMAGED: the record batch of offsets 10 to 12/);
      expect(read[0]?.value.equals(batch)).toBe(true);
    },
  );

  test('2^31 - 1 records, and as many offsets: one dead letter still', () => {
    const batch = batchOf(codecs.none, records, { count: 2 ** 31 - 1 });
    const { records: read, next } = readAll(batch, 10);
    expect(read.map(({ offset }) => offset)).toEqual([10 + 2 ** 31 - 2]);
    expect(next).toBe(10 + 2 ** 31 - 1);
  });

  test('a time that is none: as far as 64 bits go, and for what cannot be read, none', () => {
    const record = forgeRecord({ offsetDelta: 0, timestampDelta: 2 ** 51 });
    for (const baseTimestamp of [2n ** 63n - 1n, -(2n ** 63n)]) {
      const [read] = readAll(forgeBatch({ records: record, count: 1, baseTimestamp })).records;
      expect(Math.abs(read?.receivedAt ?? 0)).toBeLessThan(2 ** 53);
      const [unread] = readAll(forgeBatch({ records: record, count: 2, baseTimestamp })).records;
      expect(unread).toMatchObject({ receivedAt: 0 });
    }
  });
});

test('whoever reads on from within such a batch, or again, finds the same', () => {
  const batch = batchOf(codecs.gzip, Buffer.from('no gzip'));
  const whole = readAll(batch, 0).records;
  for (const from of [10, 11, 12]) expect(readAll(batch, from).records).toEqual(whole.slice(from - 10));
});

test('zstd that this Node.js cannot read is no dead letter: what is before it comes first, then an error that says so', () => {
  if (zstd.zstdCompressSync !== undefined) return;
  const fetched = new FetchedBatches(Buffer.concat([good(9), batchOf(codecs.zstd, recordsOf(300))]));
  expect(fetched.take(9, 1_000_000).next).toBe(10);
  for (let i = 0; i < 2; i++) expect(() => fetched.take(10, 1_000_000)).toThrow(/zstd.*22\.15/);
});

describe('an answer of a broker that holds no batch', () => {
  test.each([-1, -13, -(2 ** 31), 0, 4, 48])('length %d: what follows is dropped', (length) => {
    const bad = good(10);
    bad.writeInt32BE(length, batchLayout.length);
    const fetched = new FetchedBatches(Buffer.concat([good(9), bad, good(11)]));
    expect(fetched.take(9, 1_000_000).next).toBe(10);
    expect(fetched.take(10, 1_000_000)).toEqual({ blocks: [], next: 10 });
    expect(fetched.isEmpty).toBe(true);
  });

  test('offsets that go back, or are none', () => {
    for (const offset of [0n, -1n, 2n ** 62n]) {
      const bad = good(10);
      bad.writeBigInt64BE(offset, batchLayout.baseOffset);
      const { records } = readAll(Buffer.concat([good(9), bad]), 9);
      expect(records.map((record) => record.offset)).toEqual([9]);
    }
  });

  test('any bytes: it ends, offsets ascend, and nothing is thrown', () => {
    const batches = [
      good(10),
      batchOf(codecs.gzip, zlib.gzipSync(recordsOf(300))),
      batchOf(codecs.none, recordsOf(99)),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...batches),
        fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 8 }),
        fc.boolean(),
        (original, changes, isStamped) => {
          const batch = Buffer.from(original);
          for (const [at, byte] of changes) if (at < batch.length) batch[at] = byte;
          // What covers it is right then: it is its numbers that lie.
          if (isStamped) stampProducer(batch, { id: -1n, epoch: -1, sequence: -1 });
          firstTimestamp(batch);
          let before = -1;
          for (const { offset } of readable(Buffer.concat([batch, good(20)]))) {
            expect(offset).toBeGreaterThan(before);
            before = offset;
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

/** All records; none when they say that they are zstd, which this Node.js may not have. */
function readable(bytes: Buffer) {
  try {
    return readAll(bytes, 5).records;
  } catch (error) {
    if (error instanceof NotReadableHereError) return [];
    throw error;
  }
}
