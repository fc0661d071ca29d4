import { expect, it } from 'vitest';
import { hasHeader, withOneHeader } from '../../../src/engine/parameters.ts';

async function join(format: string, ...pieces: string[]): Promise<string> {
  async function* chunks() {
    for (const piece of pieces) yield { bytes: Buffer.from(piece, 'latin1'), numRows: 1, done: false };
  }
  const parts: Uint8Array[] = [];
  for await (const { bytes } of withOneHeader(chunks(), format)) parts.push(bytes);
  return Buffer.concat(parts).toString('latin1');
}

it.each([
  ['TSVWithNames', 'a\\n\n1\n', 'a\\n\n2\n', 'a\\n\n1\n2\n'],
  [
    'JSONCompactEachRowWithNamesAndTypes',
    '["a"]\n["U"]\n[1]\n',
    '["a"]\n["U"]\n[2]\n',
    '["a"]\n["U"]\n[1]\n[2]\n',
  ],
  ['CSVWithNames', '"a\n""b"\n1\n', '"a\n""b"\n2\n', '"a\n""b"\n1\n2\n'],
  ['CSVWithNamesAndTypes', '"a"\n"U"\n"a"\n', '"a"\n"U"\n2\n', '"a"\n"U"\n"a"\n2\n'],
  ['RowBinaryWithNames', '\x02\x01a\x01b\x01', '\x02\x01a\x01b\x02', '\x02\x01a\x01b\x01\x02'],
  [
    'RowBinaryWithNamesAndTypes',
    `\x01\x82\x01${'n'.repeat(130)}\x01UX`,
    `\x01\x82\x01${'n'.repeat(130)}\x01UY`,
    `\x01\x82\x01${'n'.repeat(130)}\x01UXY`,
  ],
  ['TSV', 'a\n', 'a\n', 'a\na\n'],
])('%s has one header', async (format, first, second, whole) => {
  expect(hasHeader(format)).toBe(format !== 'TSV');
  expect(await join(format, first, second)).toBe(whole);
});

it('ends a result whose pieces begin differently', async () => {
  await expect(join('TSVWithNames', 'a\n1\n', 'b\n1\n')).rejects.toMatchObject({ code: 49 });
});
