import { describe, expect, it } from 'vitest';
import { decodeBlock, encodeBlocks } from '../../../src/buffer/embedded/block.ts';
import { decodeKey, encodeKey, keyFrom } from '../../../src/buffer/embedded/log-blocks.ts';
import { EventBatch, type RecordBlock, type RecordHeaders } from '../../../src/buffer/records.ts';
import { OperatorError } from '../../../src/errors.ts';
import { fc } from '../../support/fast-check.ts';

interface TestEvent {
  readonly value: Uint8Array;
  readonly receivedAt: number;
  readonly headers: RecordHeaders | undefined;
}

const headers = fc.array(fc.tuple(fc.string(), fc.string({ unit: 'binary' })), {
  minLength: 1,
  maxLength: 3,
});
const event: fc.Arbitrary<TestEvent> = fc.record({
  value: fc.uint8Array({ maxLength: 300 }),
  receivedAt: fc.oneof(
    fc.integer({ min: 1_780_000_000_000, max: 1_780_000_001_000 }),
    fc.integer({ min: 0, max: 4_000_000_000_000 }),
  ),
  headers: fc.option(headers, { nil: undefined, freq: 4 }),
});
const events = fc.array(event, { minLength: 1, maxLength: 60 });
const offset = fc.integer({ min: 0, max: 2 ** 52 });
const where = 'events/3';

describe('blocks of the embedded log', () => {
  it('give back values, times, headers and offsets', () => {
    fc.assert(
      fc.property(events, offset, fc.integer({ min: 1, max: 2000 }), (list, base, maxBytes) => {
        const decoded = roundTrip(list, base, maxBytes);
        expect(decoded.flatMap(eventsOf)).toEqual(
          list.map(({ value, ...rest }) => ({ ...rest, value: [...value] })),
        );
        expect(decoded.flatMap(({ offsets }) => Array.from(offsets))).toEqual(list.map((_, i) => base + i));
      }),
    );
  });

  it('are at most as large as asked, unless one event is larger', () => {
    fc.assert(
      fc.property(events, fc.integer({ min: 1, max: 2000 }), (list, maxBytes) => {
        for (const { count, bytes } of roundTrip(list, 0, maxBytes)) {
          expect(count === 1 || bytes.length <= maxBytes).toBe(true);
        }
      }),
    );
  });

  it('can be read from the middle', () => {
    fc.assert(
      fc.property(events, fc.nat(), (list, pick) => {
        const [block] = encodeBlocks(batchOf(list));
        const skip = pick % (block?.count ?? 1);
        const all = eventsOf(decodeBlock(block?.value ?? Buffer.alloc(0), { base: 10, skip: 0, where }));
        const rest = decodeBlock(block?.value ?? Buffer.alloc(0), { base: 10, skip, where });
        expect(rest.offsets[0]).toBe(10 + skip);
        expect(eventsOf(rest)).toEqual(all.slice(skip));
      }),
    );
  });

  it('have no headers at all when no record has any', () => {
    const [block] = roundTrip([{ value: Buffer.from('{}'), receivedAt: 1, headers: undefined }], 0, 100);
    expect(block).not.toHaveProperty('headers');
  });

  it('can be decoded from memory that is not aligned', () => {
    const [block] = encodeBlocks(batchOf([{ value: Buffer.from('{}'), receivedAt: 7, headers: undefined }]));
    const memory = Buffer.alloc(200);
    const shifted = memory.subarray(1, 1 + (block?.value.copy(memory, 1) ?? 0));
    expect(eventsOf(decodeBlock(shifted, { base: 0, skip: 0, where }))).toEqual([
      { value: [...Buffer.from('{}')], receivedAt: 7, headers: undefined },
    ]);
  });

  it('are refused with partition and offset when any byte is wrong or missing', () => {
    fc.assert(
      fc.property(events, fc.nat(), fc.integer({ min: 1, max: 255 }), (list, pick, flip) => {
        const value = Buffer.from(encodeBlocks(batchOf(list))[0]?.value ?? []);
        const at = pick % value.length;
        // Bytes 1 to 3 are reserved and not looked at.
        fc.pre(at === 0 || at > 3);
        const cut = value.subarray(0, at);
        value[at] = (value[at] ?? 0) ^ flip;
        for (const bad of [value, cut]) {
          const decode = () => decodeBlock(bad, { base: 42, skip: 0, where });
          expect(decode).toThrow(OperatorError);
          expect(decode).toThrow('events/3 at offset 42');
        }
      }),
    );
  });
});

describe('keys of blocks', () => {
  const key = fc.record({
    partition: fc.integer({ min: 0, max: 255 }),
    base: offset,
    count: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    newestMs: fc.integer({ min: 0, max: 2 ** 50 }),
    storedBytes: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  });

  it('give back what they say', () => {
    fc.assert(
      fc.property(key, (block) => {
        expect(decodeKey(encodeKey(block))).toEqual(block);
      }),
    );
  });

  it('sort by partition, then by offset', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        fc.pre(a.partition !== b.partition || a.base !== b.base);
        const order = Math.sign(a.partition - b.partition || a.base - b.base);
        expect(Buffer.compare(encodeKey(a), encodeKey(b))).toBe(order);
      }),
    );
  });

  it('lie between the bounds of their offset and the next', () => {
    fc.assert(
      fc.property(key, (block) => {
        const encoded = encodeKey(block);
        expect(Buffer.compare(keyFrom(block.partition, block.base), encoded)).toBe(-1);
        expect(Buffer.compare(encoded, keyFrom(block.partition, block.base + 1))).toBe(-1);
      }),
    );
  });
});

function batchOf(list: readonly TestEvent[]): EventBatch {
  const batch = new EventBatch();
  for (const { value, receivedAt, headers } of list) batch.add(value, receivedAt, headers);
  return batch;
}

function roundTrip(list: readonly TestEvent[], base: number, maxBytes: number): RecordBlock[] {
  let next = base;
  return encodeBlocks(batchOf(list), maxBytes).map(({ value, count }) => {
    const block = decodeBlock(value, { base: next, skip: 0, where });
    next += count;
    return block;
  });
}

function eventsOf(block: RecordBlock) {
  return Array.from({ length: block.count }, (_, i) => ({
    value: [...block.bytes.subarray(block.starts[i], block.ends[i])],
    receivedAt: block.receivedAt[i],
    headers: block.headers?.[i],
  }));
}
