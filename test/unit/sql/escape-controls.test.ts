import { expect, test } from 'vitest';
import { escapeControls, escapePieces } from '../../../src/text.ts';

test.each([
  ['\u001b[2Jgone', '\\x1B[2Jgone'],
  ['\u009b31m', '\\x9B31m'],
  ['a\u0007\u0000\u007f\r', 'a\\x07\\x00\\x7F\\x0D'],
  ['\u202eevil\u2066', '\\u202Eevil\\u2066'],
  ['┌─x─┐\n│\tü😀 │\n', '┌─x─┐\n│\tü😀 │\n'],
])('%j is shown as %j', (text, expected) => {
  expect(escapeControls(text)).toBe(expected);
});

test('a character that is cut in two is one', async () => {
  const bytes = Buffer.from('ü\u202e\u009b😀');
  async function* single() {
    for (const byte of bytes) yield Uint8Array.of(byte);
  }
  let text = '';
  for await (const piece of escapePieces(single())) text += piece;
  expect(text).toBe('ü\\u202E\\x9B😀');
});
