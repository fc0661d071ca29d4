import { expect, test } from 'vitest';
import { ReadTail } from '../../../src/buffer/kafka/messages.ts';
import { blockOf } from '../../support/records.ts';

const records = (offset: number, count: number) => ({
  blocks: [
    blockOf(
      Array.from({ length: count }, () => 'x'),
      offset,
    ),
  ],
  next: offset + count,
});

test('what follows the last record is delivered with it, when it was read and is none', () => {
  const tail = new ReadTail();
  expect(tail.deliveredUpTo(3)).toBe(3);
  tail.note(0, { ...records(0, 3), next: 4 });
  expect([0, 2, 3, 4].map((committed) => tail.deliveredUpTo(committed))).toEqual([0, 2, 4, 4]);
  tail.note(4, { blocks: [], next: 6 });
  expect([2, 3, 5, 6, 7].map((committed) => tail.deliveredUpTo(committed))).toEqual([2, 6, 6, 6, 7]);
  tail.note(6, records(6, 2));
  expect([3, 6, 7, 8].map((committed) => tail.deliveredUpTo(committed))).toEqual([3, 6, 7, 8]);
});

test('what was not read is not taken for empty', () => {
  const tail = new ReadTail();
  tail.note(0, { blocks: [], next: 4 });
  tail.note(10, { blocks: [], next: 12 });
  expect([0, 4, 9, 10].map((committed) => tail.deliveredUpTo(committed))).toEqual([0, 4, 9, 12]);
});
