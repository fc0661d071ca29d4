/**
 * Reads statements as the engine itself writes them (`formatQuerySingleLine`). Comments, heredocs, every kind of
 * white space and of quotes are gone there, so that a lexer of five kinds of tokens sees what the engine sees. What
 * does not look like that is refused: nothing is executed that was not understood here.
 *
 * Splits SQL into tokens, as far as is needed to find where a statement ends and where its data begins. It
 * reads bytes as Latin-1: positions are byte offsets, and every delimiter of SQL is ASCII.
 */
import { EngineError } from './error.ts';

/** A token. Positions are indexes into the text. */
export interface CanonicalToken {
  /** `word` is bare: a keyword or a name. `name` was in back-quotes. */
  readonly kind: 'word' | 'name' | 'string' | 'number' | 'symbol';
  readonly start: number;
  readonly end: number;
  /** What was written; for names and strings what it stands for. */
  readonly text: string;
}

/** In the order of the groups of the pattern. */
const kinds = ['word', 'name', 'string', 'number', 'symbol'] as const;

/** Of what is quoted only the first sign: a text of megabytes is more than a pattern can walk over. */
const pattern =
  /[ \n]*(?:([A-Za-z_]\w*)|(`)|(')|(\d(?:[\w.]|(?<=[eE])[+-])*)|(--|\/\*|[()[\]{},.;=<>!+\-*/%|?:^@&~]))/y;

/** Tokens of a statement at most: the engine itself executes no tree of that size. */
const maxTokens = 1_000_000;

/**
 * Splits a canonical statement.
 * @throws EngineError 62 for anything that canonical text does not have
 */
export function readCanonical(text: string): CanonicalToken[] {
  const tokens: CanonicalToken[] = [];
  const end = text.trimEnd().length;
  pattern.lastIndex = 0;
  while (pattern.lastIndex < end) {
    const at = pattern.lastIndex;
    const match = pattern.exec(text);
    if (match === null || match[5]?.length === 2) throw unreadable(text, at);
    if (tokens.length === maxTokens) {
      throw new EngineError(168, 'TOO_BIG_AST', `The statement has more than ${maxTokens} words and symbols`);
    }
    let group = 1;
    while (match[group] === undefined && group < kinds.length) group += 1;
    const kind = kinds[group - 1] ?? 'symbol';
    const first = match[group] ?? '';
    const start = pattern.lastIndex - first.length;
    const isQuoted = kind === 'name' || kind === 'string';
    const behind = isQuoted ? endOfQuoted(text, start, first) : pattern.lastIndex;
    if (behind === undefined) throw unreadable(text, start);
    pattern.lastIndex = behind;
    tokens.push({ kind, start, end: behind, text: isQuoted ? unquote(text.slice(start, behind)) : first });
  }
  return tokens;
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['0', '\0'],
  ['a', '\x07'],
  ['v', '\v'],
  ['e', '\x1b'],
]);

/** What a quoted text stands for, by ClickHouse's escapes. */
function unquote(source: string): string {
  return source
    .slice(1, -1)
    .replace(
      /\\x([0-9A-Fa-f]{2})|\\([\s\S])|''|``/g,
      (whole, hex: string | undefined, char: string | undefined) => {
        if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
        return char === undefined ? whole.charAt(0) : (escapes.get(char) ?? char);
      },
    );
}

function unreadable(text: string, at: number): EngineError {
  const rest = text.slice(at, at + 40).trim();
  return new EngineError(
    62,
    'SYNTAX_ERROR',
    `Syntax error: the embedded ClickHouse does not accept this statement, at: ${rest}`,
  );
}

/** A token. `word` is a bare name, a keyword or a number; `quoted` is a name in quotes. */
export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'symbol';
  readonly start: number;
  readonly end: number;
  /** Upper case for a word, so that keywords compare. For others, the text as it is. */
  readonly text: string;
}

const blanks = ' \t\n\r\f\v\0';
const word = /[A-Za-z0-9_$\x80-\xff]+/y;
const heredocTag = /\$\w*\$/y;
/** Typographic quotes, which ClickHouse accepts, in the Latin-1 reading of their UTF-8. */
const curlyQuotes = new Map([
  ['\xe2\x80\x98', '\xe2\x80\x99'],
  ['\xe2\x80\x9c', '\xe2\x80\x9d'],
]);

/** The next token at or after `from`, skipping spaces and comments; undefined at the end of the text. */
export function nextToken(text: string, from: number): Token | undefined {
  const start = skipBlank(text, from);
  if (start >= text.length) return undefined;
  const first = text.charAt(start);
  if (first === "'") return token('string', text, start, endOfQuoted(text, start, first) ?? text.length);
  if (first === '`' || first === '"')
    return token('quoted', text, start, endOfQuoted(text, start, first) ?? text.length);
  const curlyEnd = curlyQuotes.get(text.slice(start, start + 3));
  if (curlyEnd !== undefined) {
    const kind = curlyEnd.endsWith('\x99') ? 'string' : 'quoted';
    return token(kind, text, start, endAfter(text, curlyEnd, start + 3));
  }
  const tag = matchAt(heredocTag, text, start);
  if (tag !== '') return token('string', text, start, endAfter(text, tag, start + tag.length));
  const name = matchAt(word, text, start);
  if (name !== '') return token('word', text, start, start + name.length);
  return token('symbol', text, start, start + 1);
}

function token(kind: Token['kind'], text: string, start: number, end: number): Token {
  const source = text.slice(start, end);
  return { kind, start, end, text: kind === 'word' ? source.toUpperCase() : source };
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}

function skipBlank(text: string, from: number): number {
  let at = from;
  for (;;) {
    if (at < text.length && blanks.includes(text.charAt(at))) at += 1;
    else if (text.startsWith('/*', at)) at = endAfter(text, '*/', at + 2);
    else if (text.startsWith('--', at) || text.startsWith('# ', at) || text.startsWith('#!', at)) {
      at = endAfter(text, '\n', at);
    } else return at;
  }
}

/** The position after the next `mark`, or the end of the text. */
function endAfter(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from);
  return found < 0 ? text.length : found + mark.length;
}

/** The position behind the closing quote of what `start` opens; undefined when there is none. */
function endOfQuoted(text: string, start: number, quote: string): number | undefined {
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === '\\') at += 1;
    else if (char === quote) {
      if (text.charAt(at + 1) !== quote) return at + 1;
      at += 1;
    }
  }
  return undefined;
}

/** How much deeper a token leads: into parentheses and the like, or out of them. */
export function nesting(token: Token): number {
  if (token.kind !== 'symbol') return 0;
  if ('([{'.includes(token.text)) return 1;
  return ')]}'.includes(token.text) ? -1 : 0;
}
