/** Tables within pages that are otherwise written by hand: each stands between two comments. */
import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Compares the text between two marks of a page with what it should be, or writes it there.
 * @param {{ page: string, marks: [string, string], table: string, mode: 'check' | 'write' }} options
 * @returns {boolean} whether the page now has this table
 * @throws Error when the page does not have each mark exactly once, in this order
 */
export function syncTable({ page, marks, table, mode }) {
  const text = readFileSync(page, 'utf8');
  const [before, rest, ...more] = text.split(marks[0]);
  const [, after, ...moreEnds] = rest?.split(marks[1]) ?? [];
  if (after === undefined || more.length + moreEnds.length > 0)
    throw new Error(`${page}: needs '${marks[0]}' and then '${marks[1]}', each once`);
  const written = `${before}${marks[0]}\n${table}${marks[1]}${after}`;
  if (mode === 'write') writeFileSync(page, written);
  return mode === 'write' || written === text;
}
