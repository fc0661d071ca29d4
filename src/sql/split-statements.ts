/**
 * Splits a text into its statements, by what ClickHouse takes for quotes, comments and heredocs: only a semicolon
 * outside of all of them ends a statement. Source: src/Parsers/Lexer.cpp of ClickHouse, of 2025 on: comments nest.
 */

/** A statement, without its semicolon. */
export interface Statement {
  readonly text: string;
  /** Line of the text where it begins, from 1. */
  readonly line: number;
}

/** What a text holds. */
interface SplitText {
  /** Those that a semicolon ends. One without anything but comments is none. */
  readonly complete: readonly Statement[];
  /** What follows the last semicolon, when that is more than comments. */
  readonly rest: Statement | undefined;
  /** Whether the rest is an INSERT with data in a format other than Values, in which a semicolon ends nothing. */
  readonly isData: boolean;
}

/** A name, a keyword, a number. A `$` within one begins no heredoc. */
const word = /[A-Za-z0-9_$]+/y;
const heredocTag = /\$\w*\$/y;
/** A comment or white space that begins here, up to where a line or a mark of a comment is. */
const blank = /[\s\0]+|(?:--|\/\/|# |#!)[^\n]*/y;
const quotes = new Map([
  ["'", "'"],
  ['"', '"'],
  ['`', '`'],
  ['\u2018', '\u2019'],
  ['\u201c', '\u201d'],
]);

/**
 * Splits a text. The data of `INSERT … FORMAT name` is no SQL: it goes on to the end of the text, as on the way to
 * ClickHouse.
 */
export function splitStatements(text: string): SplitText {
  const complete: Statement[] = [];
  let start = 0;
  let words = new InsertWatch();
  /** Where the first token of the statement is. */
  let first: number | undefined;
  let isData = false;
  let line = 1;
  let counted = 0;
  const take = (end: number): Statement | undefined => {
    if (first === undefined) return undefined;
    for (; counted < first; counted += 1) if (text[counted] === '\n') line += 1;
    return { text: text.slice(start, end), line };
  };
  for (let at = skipBlank(text, 0); at < text.length; ) {
    const end = endOfToken(text, at);
    if (text[at] === ';') {
      const statement = take(at);
      if (statement !== undefined) complete.push(statement);
      start = end;
      first = undefined;
      words = new InsertWatch();
    } else {
      first ??= at;
      isData = words.isDataAfter(text.slice(at, end)) && text[skipBlank(text, end)] !== ';';
      if (isData) break;
    }
    at = skipBlank(text, end);
  }
  return { complete, rest: take(text.length), isData };
}

/** Looks for INSERT as the first word of a statement, and FORMAT with a name other than Values after it. */
class InsertWatch {
  #count = 0;
  #isInsert = false;
  #previous = '';

  /** Whether data follows this token. */
  isDataAfter(token: string): boolean {
    const upper = token.length > 64 ? '' : token.toUpperCase();
    if (this.#count++ === 0) this.#isInsert = upper === 'INSERT';
    const isFormat = this.#previous === 'FORMAT' && /^[A-Z]\w*$/.test(upper) && upper !== 'VALUES';
    this.#previous = upper;
    return this.#isInsert && isFormat;
  }
}

function skipBlank(text: string, from: number): number {
  let at = from;
  for (;;) {
    const end = text.startsWith('/*', at) ? endOfComment(text, at) : at + matchAt(blank, text, at).length;
    if (end === at) return at;
    at = end;
  }
}

function endOfComment(text: string, start: number): number {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = start;
  let depth = 0;
  for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
    depth += mark[0] === '/*' ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return text.length;
}

function endOfToken(text: string, at: number): number {
  const quote = quotes.get(text.charAt(at));
  if (quote !== undefined) return endOfQuoted(text, at + 1, quote);
  const tag = matchAt(heredocTag, text, at);
  const closed = tag === '' ? -1 : text.indexOf(tag, at + tag.length);
  // One that nothing closes is a name.
  if (closed >= 0) return closed + tag.length;
  return at + Math.max(1, matchAt(word, text, at).length);
}

/** Quotes that are doubled, or behind a backslash, are part of the text; typographic ones never are. */
function endOfQuoted(text: string, from: number, quote: string): number {
  const isPlain = quote < '\u0080';
  for (let at = from; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (isPlain && char === '\\') at += 1;
    else if (char === quote) {
      if (!isPlain || text.charAt(at + 1) !== quote) return at + 1;
      at += 1;
    }
  }
  return text.length;
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}
