/** What can be read out of ClickHouse's message about a refused row. */
import { quoteText } from '../clickhouse/client.ts';

/** Applied in this order, by JavaScript and by ClickHouse (RE2): only what both understand. */
const replacements: readonly (readonly [pattern: string, replacement: string])[] = [
  ['^Code: [0-9]+\\. DB::Exception: ', ''],
  ['^Cannot insert data into JSON column: ', ''],
  // Text of the event without quotes: values, and the path of a key that is there twice.
  ['convert value [\\s\\S]* to enum', 'convert value … to enum'],
  ['FixedString\\([0-9]+\\): [\\s\\S]*$', 'FixedString'],
  ['JSON object: [\\s\\S]*$', 'JSON object'],
  // What follows says where within the insert, which changes with the batch.
  ['[: ]*(\\((while reading|at row)|While executing|\\n)[\\s\\S]*$', ''],
  [' here: [\\s\\S]*$', ''],
  ['\\. You can enable setting[\\s\\S]*$', ''],
  ['JSON element: [\\s\\S]*$', 'JSON element'],
  ['"[^"]*"', '"…"'],
  ['\\b[0-9][0-9.]*\\b', 'N'],
  ['-N', 'N'],
];

/** Pattern of a reason: without what differs from row to row, so that like ones are counted together. */
export function patternOf(reason: string): string {
  let pattern = reason;
  for (const [from, to] of replacements) pattern = pattern.replace(new RegExp(from, 'g'), to);
  return pattern.trim();
}

/** SQL for the pattern of the column `reason`. */
export function patternSql(): string {
  const replaced = replacements.reduce(
    (sql, [from, to]) => `replaceRegexpAll(${sql}, ${quoteText(from)}, ${quoteText(to)})`,
    'reason',
  );
  return `trimBoth(${replaced})`;
}
