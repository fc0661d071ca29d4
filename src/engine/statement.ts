/**
 * What a statement returns, and where the data of an INSERT begins.
 *
 * Takes an INSERT apart: which table, which format, and where its data begins.
 */
import { nesting, nextToken, readCanonical, type Token } from './canonical.ts';
import { EngineError } from './error.ts';

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

/** `INSERT INTO t … FORMAT x <data>` or `INSERT INTO t … VALUES <data>`. Positions are byte offsets. */
export interface InsertWithData {
  readonly kind: 'insert-data';
  /** Where `FROM INFILE` fits in: after the table and its columns, before the settings. */
  readonly sourceAt: number;
  /** Where the settings end: the format begins here. */
  readonly settingsEnd: number;
  /** As written: `JSONEachRow`. `Values` for VALUES. */
  readonly format: string;
  /** A SETTINGS clause behind the format, or an empty text. */
  readonly trailingSettings: string;
  /** Where the data begins. */
  readonly dataAt: number;
}

/**
 * Reads an INSERT from behind its first word. Undefined when no data follows: INSERT … SELECT, or something
 * that the engine must judge.
 */
function insertOf(text: string, from: number): InsertWithData | undefined {
  const cursor = new Cursor(text, from);
  cursor.skipWord('INTO');
  cursor.skipWord('TABLE');
  if (!skipTarget(cursor) || !skipColumns(cursor)) return undefined;
  return findData(text, cursor);
}

/** `FUNCTION f(…)` or `[database.]table`, each name bare, quoted or `{name:Identifier}`. */
function skipTarget(cursor: Cursor): boolean {
  const isFunction = cursor.peek()?.text === 'FUNCTION' && cursor.peek(1)?.kind === 'word';
  if (isFunction) {
    cursor.take();
    cursor.take();
    return cursor.skipGroup('(');
  }
  if (!skipName(cursor)) return false;
  while (cursor.peek()?.text === '.') {
    cursor.take();
    if (!skipName(cursor)) return false;
  }
  return true;
}

function skipName(cursor: Cursor): boolean {
  const token = cursor.peek();
  if (token?.text === '{') return cursor.skipGroup('{');
  if (token?.kind !== 'word' && token?.kind !== 'quoted') return false;
  cursor.take();
  return true;
}

/** The list of columns, if there is one. False for a subquery in parentheses: that INSERT has no data. */
function skipColumns(cursor: Cursor): boolean {
  if (cursor.peek()?.text !== '(') return true;
  const inner = cursor.peek(1)?.text;
  if (inner === 'SELECT' || inner === 'WITH' || inner === '(') return false;
  return cursor.skipGroup('(');
}

/** Goes on to FORMAT or VALUES; settings and PARTITION BY may come before. */
function findData(text: string, cursor: Cursor): InsertWithData | undefined {
  let sourceAt: number | undefined;
  for (let token = cursor.take(); token !== undefined; token = cursor.take()) {
    if (token.kind === 'symbol') {
      if (token.text === ';') return undefined;
      cursor.leaveGroup(token);
      continue;
    }
    if (token.kind !== 'word') continue;
    if (token.text === 'SELECT' || token.text === 'WITH' || token.text === 'FROM') return undefined;
    if (token.text === 'SETTINGS') sourceAt ??= token.start;
    if (token.text === 'VALUES') {
      return {
        kind: 'insert-data',
        sourceAt: sourceAt ?? token.start,
        settingsEnd: token.start,
        format: 'Values',
        trailingSettings: '',
        dataAt: token.end,
      };
    }
    const name = cursor.peek();
    if (token.text === 'FORMAT' && name?.kind === 'word') {
      const hasSettings = sourceAt !== undefined;
      const settingsEnd = hasSettings ? name.end : trailingSettingsEnd(text, name.end);
      return {
        kind: 'insert-data',
        sourceAt: sourceAt ?? token.start,
        settingsEnd: token.start,
        format: text.slice(name.start, name.end),
        trailingSettings: text.slice(name.end, settingsEnd),
        dataAt: dataStart(text, settingsEnd),
      };
    }
  }
  return undefined;
}

const assignment = String.raw`\w+\s*=\s*(?:'(?:[^'\\]|\\[^]|'')*'|[-\w.]+)`;
const settingsClause = new RegExp(String.raw`[ \t]+SETTINGS\s+${assignment}(?:\s*,\s*${assignment})*`, 'iy');

/**
 * Where a SETTINGS clause behind the format ends: `FORMAT CSV SETTINGS a = 1, b = 'x'`. Only on the line of
 * the format, since the word may also be the first of the data.
 */
function trailingSettingsEnd(text: string, formatEnd: number): number {
  settingsClause.lastIndex = formatEnd;
  return formatEnd + (settingsClause.exec(text)?.[0].length ?? 0);
}

/** ClickHouse's rule: blanks and one line break behind the format do not belong to the data. */
function dataStart(text: string, from: number): number {
  let at = from;
  while (' \t\f'.includes(text.charAt(at)) && at < text.length) at += 1;
  if (text.charAt(at) === ';' && text.slice(at + 1).trim() !== '') {
    throw new EngineError(62, 'SYNTAX_ERROR', "You have excessive ';' symbol before data for INSERT");
  }
  if (text.charAt(at) === ';') return text.length;
  if (text.charAt(at) === '\r') at += 1;
  if (text.charAt(at) === '\n') at += 1;
  return at;
}

/** Walks over the tokens of a text. */
class Cursor {
  readonly #text: string;
  #at: number;

  constructor(text: string, from: number) {
    this.#text = text;
    this.#at = from;
  }

  /** The next token, or the one after it, without moving. */
  peek(skip = 0): Token | undefined {
    const token = nextToken(this.#text, this.#at);
    return skip === 0 || token === undefined ? token : nextToken(this.#text, token.end);
  }

  take(): Token | undefined {
    const token = this.peek();
    if (token !== undefined) this.#at = token.end;
    return token;
  }

  skipWord(word: string): void {
    const token = this.peek();
    if (token?.kind === 'word' && token.text === word) this.take();
  }

  /** Skips a balanced group; false when the next token does not open one, or it is not closed. */
  skipGroup(open: string): boolean {
    const token = this.take();
    return token?.text === open && this.leaveGroup(token);
  }

  /** Having taken a token that opens a group, goes behind its end. */
  leaveGroup(opening: Token): boolean {
    let depth = nesting(opening);
    while (depth > 0) {
      const token = this.take();
      if (token === undefined) return false;
      depth += nesting(token);
    }
    return true;
  }
}
