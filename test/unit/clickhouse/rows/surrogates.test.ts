import { describe, expect, test } from 'vitest';
import { withoutLoneSurrogates } from '../../../../src/clickhouse/rows/native-block.ts';
import { fc } from '../../../support/fast-check.ts';

const mend = (text: string) => withoutLoneSurrogates(Buffer.from(text)).toString();

/** Any UTF-16, much of it surrogates and backslashes. */
const units = fc.array(
  fc.oneof(
    fc.integer({ min: 0xd800, max: 0xdfff }),
    fc.constantFrom(0x5c, 0x22, 0x75, 0x64, 0x38),
    fc.integer({ min: 0, max: 0xffff }),
  ),
  { maxLength: 30 },
);
const text = units.map((codes) => String.fromCharCode(...codes));

/** JSON of a text with every character as an escape, in mixed case. */
const escaped = (value: string) =>
  `"${[...Array(value.length).keys()]
    .map((i) => {
      const digits = value.charCodeAt(i).toString(16).padStart(4, '0');
      return `\\u${i % 2 === 0 ? digits : digits.toUpperCase()}`;
    })
    .join('')}"`;

describe('a lone surrogate in JSON', () => {
  test('becomes U+FFFD and every other character stays', () => {
    fc.assert(
      fc.property(text, (value) => {
        const right = Buffer.from(value).toString();
        expect(JSON.parse(mend(JSON.stringify(value)))).toBe(right);
        expect(JSON.parse(mend(escaped(value)))).toBe(right);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    [String.raw`{"a":"cut \ud83d"}`, String.raw`{"a":"cut \ufffd"}`],
    [String.raw`{"a":"\uDE00\uD83D"}`, String.raw`{"a":"\ufffd\ufffd"}`],
    [String.raw`{"a":"\uD83D\ude00"}`, String.raw`{"a":"\uD83D\ude00"}`],
    [String.raw`{"a":"\\ud83d"}`, String.raw`{"a":"\\ud83d"}`],
    [String.raw`{"a":"\\\ud83d"}`, String.raw`{"a":"\\\ufffd"}`],
    [String.raw`{"a":"\ud83d\\ude00"}`, String.raw`{"a":"\ufffd\\ude00"}`],
    [String.raw`{"a":"\ud83d\ud83d\ude00"}`, String.raw`{"a":"\ufffd\ud83d\ude00"}`],
  ])('%s', (posted, stored) => expect(mend(posted)).toBe(stored));

  test('is looked for without a copy of what has none', () => {
    const bytes = Buffer.from(String.raw`{"a":"\u0434\ud83d\ude00"}`);
    expect(withoutLoneSurrogates(bytes)).toBe(bytes);
  });
});
