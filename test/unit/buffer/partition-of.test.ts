import { expect, test } from 'vitest';
import { idAmong, partitionOf } from '../../../src/buffer/records.ts';

// By zlib.crc32 of Python.
test('the rule never changes: repeats must meet what is stored already', () => {
  expect(
    ['', 'a', 'käse', '😀', '7f0c7ef6-7d0b-4b1c-8a3f-0c8d1f6f5a01'].map((id) => partitionOf(id, 12)),
  ).toEqual([0, 3, 3, 4, 1]);
});

test('the id is found among other headers', () => {
  expect(
    idAmong([
      ['trace', 'x'],
      ['id', 'y'],
    ]),
  ).toBe('y');
  expect(idAmong([['trace', 'x']])).toBeUndefined();
});
