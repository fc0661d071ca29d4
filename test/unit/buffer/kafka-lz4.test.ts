import { compressionsAlgorithms } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { RecordColumns } from '../../../src/buffer/kafka/batch-records.ts';
import { appendLz4 } from '../../../src/buffer/kafka/lz4.ts';
import { UnreadableBatchError } from '../../../src/buffer/kafka/record-batch.ts';
import { fc } from '../../support/fast-check.ts';

const { lz4 } = compressionsAlgorithms;

/** What the frames unpack to, behind something that was there before. */
function unpack(frames: Buffer, maxBytes = 2 ** 26): Buffer {
  const target = new RecordColumns();
  target.reserve(3).set(Buffer.from('abc'));
  target.length = 3;
  appendLz4(frames, target, maxBytes);
  const bytes = Buffer.from(target.reserve(0).subarray(0, target.length));
  expect(bytes.subarray(0, 3).toString()).toBe('abc');
  return bytes.subarray(3);
}

/** Text that repeats itself at many distances, and bytes that do not. Some: the library fails to pack nothing twice. */
const contents = fc
  .array(
    fc.tuple(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 2_000 })), fc.nat(300)),
    { maxLength: 20 },
  )
  .map((pieces) =>
    Buffer.concat([
      Buffer.from('.'),
      ...pieces.flatMap(([piece, times]) => Array.from({ length: times }, () => piece)),
    ]),
  );

test('what the library of the Kafka client packs comes back, frame after frame', () => {
  fc.assert(
    fc.property(contents, contents, (first, second) => {
      const frames = [first, second].map((content) => Buffer.from(lz4.compressSync(content)));
      expect(unpack(frames[0] as Buffer).equals(first)).toBe(true);
      expect(unpack(Buffer.concat(frames)).equals(Buffer.concat([first, second]))).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('a frame by hand: a stored block, then one that repeats what came before it; checksums are stepped over', () => {
  // Version 1, linked blocks, checksum of each block and of the content, length of the content; 64 KiB blocks.
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x5c, 0x40, 11, 0, 0, 0, 0, 0, 0, 0, 0]);
  const stored = Buffer.from([4, 0, 0, 0x80, 0x64, 0x65, 0x66, 0x67, 9, 9, 9, 9]);
  // No literals, 6 bytes from 4 back, and the literal `h`.
  const packed = Buffer.from([5, 0, 0, 0, 0x02, 4, 0, 0x10, 0x68, 9, 9, 9, 9]);
  const end = Buffer.from([0, 0, 0, 0, 9, 9, 9, 9]);
  expect(unpack(Buffer.concat([head, stored, packed, end])).toString()).toBe('defgdefgdeh');
});

test('what is before the frame cannot be repeated', () => {
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0]);
  const packed = Buffer.from([5, 0, 0, 0, 0x02, 2, 0, 0x10, 0x68]);
  expect(() => unpack(Buffer.concat([head, packed, Buffer.alloc(4)]))).toThrow(UnreadableBatchError);
});

test('nothing is unpacked beyond the limit', () => {
  const content = Buffer.alloc(300_000, 'ab');
  const frame = Buffer.from(lz4.compressSync(content));
  expect(unpack(frame, content.length).equals(content)).toBe(true);
  for (const limit of [0, 1, 65_536, content.length - 1])
    expect(() => unpack(frame, limit)).toThrow(expect.objectContaining({ code: 'BATCH_TOO_LARGE' }));
});

test('what is damaged is refused by name, or is bytes within the limit', () => {
  const frame = Buffer.from(
    lz4.compressSync(Buffer.from('the same, the same, the same and the same again'.repeat(9))),
  );
  fc.assert(
    fc.property(fc.nat({ max: frame.length - 1 }), fc.nat(255), fc.nat(frame.length), (at, value, cut) => {
      const damaged = Buffer.from(frame);
      damaged[at] = value;
      try {
        expect(unpack(damaged.subarray(0, cut), 10_000).length).toBeLessThanOrEqual(10_000);
      } catch (error) {
        if (!(error instanceof UnreadableBatchError)) throw error;
      }
    }),
    { numRuns: 3_000 },
  );
});
