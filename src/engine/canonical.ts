/**
 * Reads statements as the engine itself writes them (`formatQuerySingleLine`). Comments, heredocs, every kind of
 * white space and of quotes are gone there, so that a lexer of five kinds of tokens sees what the engine sees. What
 * does not look like that is refused: nothing is executed that was not understood here.
 */
import { EngineError } from './error.ts';
import { endOfQuoted } from './lexer.ts';

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
      throw new EngineError(168, 'TOO_BIG_AST', `The statement has more than ${maxTokens} words and signs`);
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
    `Syntax error: the embedded ClickHouse does not take this statement, at: ${rest}`,
  );
}
