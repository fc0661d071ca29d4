import { compressSync } from 'snappy';
import { expect, test } from 'vitest';
import { snappySize, unpackSnappy } from '../../../src/buffer/kafka/compression.ts';
import { UnreadableBatchError } from '../../../src/buffer/kafka/record-batch.ts';
import { fc } from '../../support/fast-check.ts';

/** Bytes with much to copy from before, near and far. */
const bytes = fc
  .array(fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.uint8Array({ minLength: 1, maxLength: 3 })), {
    maxLength: 8,
  })
  .chain((pieces) =>
    fc
      .array(fc.nat({ max: Math.max(pieces.length - 1, 0) }), { maxLength: 60 })
      .map((order) => Buffer.concat(order.flatMap((index) => pieces[index] ?? []))),
  );

test('what was packed comes out, behind what is there already', () => {
  fc.assert(
    fc.property(bytes, fc.uint8Array({ maxLength: 20 }), (plain, before) => {
      const packed = compressSync(plain);
      expect(snappySize(packed)).toBe(plain.length);
      const target = Buffer.concat([before, Buffer.alloc(plain.length + 1, 0xaa)]);
      expect(unpackSnappy(packed, target, before.length)).toBe(before.length + plain.length);
      expect(target.equals(Buffer.concat([before, plain, Buffer.of(0xaa)]))).toBe(true);
    }),
  );
});

test('every kind of copy, and long stretches of one', () => {
  for (const period of [1, 2, 3, 4, 5, 60, 3_000, 70_000]) {
    const unit = Buffer.from(Array.from({ length: period }, (_, i) => (i * 167 + (i >> 8)) & 0xff));
    const plain = Buffer.concat(Array.from({ length: Math.ceil(200_000 / period) }, () => unit));
    const target = Buffer.alloc(plain.length);
    unpackSnappy(compressSync(plain), target, 0);
    expect(target.equals(plain)).toBe(true);
  }
  // By hand: a copy with a distance of four bytes, which no packer here writes.
  const target = Buffer.alloc(8);
  unpackSnappy(Buffer.of(8, 3 << 2, 1, 2, 3, 4, (3 << 2) | 3, 4, 0, 0, 0), target, 0);
  expect([...target]).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
});

test('what is damaged is refused, and nothing before it is touched', () => {
  const plain = Buffer.from('the same, the same, the same and the same again, and again');
  const packed = compressSync(plain);
  fc.assert(
    fc.property(fc.nat({ max: packed.length - 1 }), fc.nat(255), fc.nat(packed.length), (at, value, cut) => {
      const damaged = Buffer.from(packed);
      damaged[at] = value;
      const before = Buffer.from('before');
      const short = damaged.subarray(0, cut);
      try {
        const target = Buffer.concat([before, Buffer.alloc(snappySize(short))]);
        unpackSnappy(short, target, before.length);
        expect(target.subarray(0, before.length).equals(before)).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ code: 'BATCH_DAMAGED' });
      }
    }),
  );
  for (const bad of [
    Buffer.of(),
    Buffer.of(0x80),
    Buffer.of(4, 0),
    Buffer.of(4, 1, 1),
    Buffer.of(1, 4, 0x61, 0x62),
  ])
    expect(() => unpackSnappy(bad, Buffer.alloc(10), 0)).toThrow(UnreadableBatchError);
});
