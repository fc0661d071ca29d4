import { expect, it } from 'vitest';
import { readCanonical } from '../../../src/engine/canonical.ts';

const texts = (sql: string) => readCanonical(sql).map(({ kind, text }) => `${kind} ${text}`);

it('splits what the engine writes', () => {
  expect(texts("SELECT `a\\`b`, 'c\\'d\\n''' AS e, -1e-5 FROM f.g WHERE h >= 0x1F")).toEqual([
    'word SELECT',
    'name a`b',
    'symbol ,',
    "string c'd\n'",
    'word AS',
    'word e',
    'symbol ,',
    'symbol -',
    'number 1e-5',
    'word FROM',
    'word f',
    'symbol .',
    'word g',
    'word WHERE',
    'word h',
    'symbol >',
    'symbol =',
    'number 0x1F',
  ]);
});

it.each([
  'SELECT 1 -- a',
  'SELECT /* a */ 1',
  'SELECT $a$b$a$',
  'SELECT "a"',
  'SELECT\u00a01',
  'SELECT # 1',
  "SELECT 'a",
])('refuses %s, which the engine does not write', (sql) => {
  expect(() => readCanonical(sql)).toThrow(expect.objectContaining({ code: 62 }));
});

it('reads long texts', () => {
  const escaped = "\\'".repeat(8_000_000);
  expect(readCanonical(`SELECT '${escaped}'`)[1]?.text.length).toBe(8_000_000);
});

it('refuses more than the engine would execute', () => {
  expect(() => readCanonical(`SELECT ${'1, '.repeat(500_000)}1`)).toThrow(
    expect.objectContaining({ code: 168 }),
  );
});
