import { describe, expect, test } from 'vitest';
import { formatRow } from '../../src/commands/tail.ts';
import { formatLetter, formatLetterJson } from '../../src/dead-letters/list-letters.ts';
import { printable, printableJson, printableLines } from '../../src/text.ts';
import { fc } from '../support/fast-check.ts';

/** Whatever moves a terminal's cursor or the order of what it shows. Each by its number, not by its class. */
const evil = [
  ...[0x00, 0x07, 0x08, 0x0b, 0x0d, 0x1b, 0x7f, 0x80, 0x9b, 0x9d, 0x9f],
  ...[0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e],
  ...[
    0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0x2066, 0x2067, 0x2068, 0x2069, 0xfeff, 0x061c, 0xad, 0xe0001,
    0xe007f,
  ],
].map((code) => String.fromCodePoint(code));
/** None of them, line ends and tabs aside. */
const isSafe = (text: string) =>
  !evil.some((character) => text.includes(character)) &&
  !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text.replace(/[\n\t]/g, ''));

const texts = fc
  .array(
    fc.oneof(fc.constantFrom(...evil, '\n', '\t', 'ä', '😀', '"', '\\'), fc.string({ unit: 'binary' })),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

describe('nothing that a terminal acts on is printed', () => {
  test('as text: escaped by number, and nothing else is changed', () => {
    expect(printable('a\u009b2J\u202eb\n\u{e0001}')).toBe('a\\u{9b}2J\\u{202e}b\\u{a}\\u{e0001}');
    expect(printableLines('a\n\tb\r\n')).toBe('a\n\tb\\u{d}\n');
    fc.assert(
      fc.property(texts, (text) => {
        expect(isSafe(printable(text))).toBe(true);
        expect(printable(text)).not.toContain('\n');
        expect(isSafe(printableLines(text))).toBe(true);
        expect(printableLines(text).split('\n')).toHaveLength(text.split('\n').length);
      }),
    );
    expect(printable('Grüße, 東京 😀 {"a":"\\u001b"}')).toBe('Grüße, 東京 😀 {"a":"\\u001b"}');
  });

  test('as JSON: another way to write the same value', () => {
    expect(printableJson(JSON.stringify('\u009b\u202e\u{e0001}'))).toBe('"\\u009b\\u202e\\udb40\\udc01"');
    fc.assert(
      fc.property(fc.jsonValue(), texts, fc.boolean(), (value, text, isIndented) => {
        const both = { [text]: value, text };
        const json = printableJson(JSON.stringify(both, undefined, isIndented ? 2 : undefined));
        expect(isSafe(json)).toBe(true);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(both)));
      }),
    );
  });

  test('of a dead letter and of a row', () => {
    fc.assert(
      fc.property(texts, texts, (text, reason) => {
        const letter = {
          ...{ topic: 't', topicId: 'id', partition: 0, offset: 1, receivedAt: 0, refusedAt: 0, code: 117 },
          ...{ eventId: text, column: text, reason, raw: Buffer.from(text) },
        };
        expect(isSafe(formatLetter(letter, 'pending'))).toBe(true);
        expect(formatLetter(letter, 'pending').split('\n')).toHaveLength(3);
        const json = printableJson(formatLetterJson(letter, 'pending'));
        expect(isSafe(json)).toBe(true);
        expect(JSON.parse(json)).toMatchObject({ event_id: text, column: text });
        const data = JSON.stringify({ text });
        const row = formatRow({ received_at: 'x', topic: 't', partition: 0, offset: 0, data });
        expect(JSON.parse(printableJson(row))).toMatchObject({ data: { text } });
      }),
    );
  });
});
