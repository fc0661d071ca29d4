import { describe, expect, test } from 'vitest';
import { columnOf } from '../../../src/clickhouse/errors.ts';
import { patternOf } from '../../../src/dead-letters/read-letters.ts';

const end = ': (at row 7)\n: While executing BinaryRowInputFormat. (INCORRECT_DATA) (version 26.7.2.1)';
const reasonOf = (text: string) => `Code: 117. DB::Exception: ${text}${end}`;

describe('reasons that differ only in the row have one pattern', () => {
  test.each([
    [
      'Cannot insert data into JSON column: cannot convert Int64 value -300 to UInt8 (while reading path status)',
      'cannot convert Int64 value N to UInt8',
    ],
    [
      'Cannot insert data into JSON column: cannot parse UInt8 value here: "a: b" (while reading path status)',
      'cannot parse UInt8 value',
    ],
    [
      'Cannot insert data into JSON column: cannot read UInt8 value from JSON element: {"a":1} (while reading path x)',
      'cannot read UInt8 value from JSON element',
    ],
    ['Cannot parse JSON object here: nope (at row 3)\nmore', 'Cannot parse JSON object'],
    [
      'Cannot insert data into JSON column: Duplicate path found during parsing JSON object: x. You can enable setting type_json_skip_duplicated_paths to skip duplicated paths during insert',
      'Duplicate path found during parsing JSON object',
    ],
    [
      'Cannot insert data into JSON column: cannot convert value no\nsuch (thing) to enum: there is no such value in enum (while reading path x)',
      'cannot convert value … to enum: there is no such value in enum',
    ],
    [
      "Cannot insert data into JSON column: too large string for FixedString(2): it's me (while reading path x)",
      'too large string for FixedString',
    ],
  ])('%s', (reason, pattern) => {
    expect(patternOf(reasonOf(reason))).toBe(pattern);
  });
});

test('the path is named where ClickHouse names it', () => {
  expect(columnOf(reasonOf('cannot convert (while reading path a.b)'))).toBe('a.b');
  expect(columnOf(reasonOf('Cannot parse JSON object'))).toBe('');
  // What is quoted is no place.
  expect(columnOf(reasonOf('Cannot parse JSON object here: x (while reading path a.b)'))).toBe('');
  expect(columnOf(reasonOf('cannot parse "(while reading path x)" (while reading path a.b)'))).toBe('a.b');
});
