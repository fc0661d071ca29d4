/** What a statement returns, and where the data of an INSERT begins. */
import { readCanonical } from './canonical.ts';
import { type InsertWithData, insertOf } from './insert.ts';
import { nextToken } from './lexer.ts';

/**
 * The INSERT that a request begins with, if its data follows. What is found here decides only where the engine's
 * parser stops reading: the statement is judged by what the parser made of it.
 * @param text the request as Latin-1, so that positions are offsets of bytes
 * @throws EngineError when ClickHouse's HTTP interface would refuse it
 */
export function insertIn(text: string): InsertWithData | undefined {
  const first = nextToken(text, 0);
  return first?.text === 'INSERT' ? insertOf(text, first.end) : undefined;
}

/** How the result of a query can be sent. */
export interface ResultShape {
  /** The output format that the statement names itself. */
  readonly format: string | undefined;
  /** False where a piece of the result is not simply a piece of the whole: totals, extremes. */
  readonly isStreamable: boolean;
  /** The largest `max_execution_time` in the statement, seconds. */
  readonly maxSeconds: number | undefined;
}

/** Words that make the pieces of a streamed result differ from the whole. */
export const unstreamable: ReadonlySet<string> = new Set([
  'TOTALS',
  'extremes',
  'output_format_json_array_of_rows',
  'output_format_binary_encode_types_in_binary_format',
]);

/** The shape of a result, from a canonical statement. */
export function shapeOf(canonical: string): ResultShape {
  const tokens = readCanonical(canonical);
  let depth = 0;
  let format: string | undefined;
  let maxSeconds: number | undefined;
  let isStreamable = tokens[0]?.text === 'SELECT' || tokens[0]?.text === 'WITH';
  for (const [index, { kind, text }] of tokens.entries()) {
    if (kind === 'symbol') depth += '([{'.includes(text) ? 1 : ')]}'.includes(text) ? -1 : 0;
    if (kind !== 'word') continue;
    if (unstreamable.has(text)) isStreamable = false;
    const next = tokens[index + 1];
    if (text === 'max_execution_time' && next?.text === '=') {
      maxSeconds = Math.max(maxSeconds ?? 0, Number.parseFloat(tokens[index + 2]?.text ?? '') || 0);
    }
    // Values is a keyword as well: the engine writes it in back-quotes.
    if (depth === 0 && text === 'FORMAT' && /^(word|name)$/.test(next?.kind ?? '')) format = next?.text;
  }
  return { format, isStreamable, maxSeconds };
}
