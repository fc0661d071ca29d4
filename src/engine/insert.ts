/** Takes an INSERT apart: which table, which format, and where its data begins. */
import { EngineError } from './error.ts';
import { nesting, nextToken, type Token } from './lexer.ts';

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
export function insertOf(text: string, from: number): InsertWithData | undefined {
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
