/** What a statement is: an INSERT whose data follows, an INSERT without, or something that returns rows. */
import { EngineError } from './error.ts';
import { type InsertWithData, insertOf } from './insert.ts';
import { nesting, nextToken, type Token } from './lexer.ts';

/** A statement, as far as the HTTP interface must understand it. Positions are byte offsets. */
export type Statement = InsertWithData | PlainStatement;

/** Everything else. */
export interface PlainStatement {
  readonly kind: 'insert' | 'select' | 'other';
  /** The output format that the statement names itself. */
  readonly format: string | undefined;
  /** False where a piece of the result is not simply a piece of the whole: totals, extremes. */
  readonly isStreamable: boolean;
}

/**
 * Reads a statement, given as Latin-1.
 * @throws EngineError when ClickHouse's HTTP interface would refuse it
 */
export function parseStatement(text: string): Statement {
  const first = nextToken(text, 0);
  if (first === undefined) throw new EngineError(62, 'SYNTAX_ERROR', 'Empty query');
  if (first.text !== 'INSERT') {
    return plainStatement(text, first.text === 'SELECT' || first.text === 'WITH' ? 'select' : 'other');
  }
  return insertOf(text, first.end) ?? plainStatement(text, 'insert');
}

/** Words that make the pieces of a streamed result differ from the whole. */
const unstreamable = new Set(['TOTALS', 'EXTREMES', 'OUTPUT_FORMAT_JSON_ARRAY_OF_ROWS', 'INSERT']);

function plainStatement(text: string, kind: PlainStatement['kind']): PlainStatement {
  let depth = 0;
  let format: string | undefined;
  let isStreamable = true;
  let previous: Token | undefined;
  let ended = false;
  const calls = new CallCheck();
  for (let token = nextToken(text, 0); token !== undefined; token = nextToken(text, token.end)) {
    if (token.text === ';' && token.kind === 'symbol') ended = true;
    else if (ended) throw new EngineError(62, 'SYNTAX_ERROR', 'Multi-statements are not allowed');
    depth += nesting(token);
    if (token.kind === 'word' && previous?.kind === 'word') {
      refuseFiles(previous.text, token.text);
      if (depth === 0 && previous.text === 'FORMAT') format = text.slice(token.start, token.end);
    }
    if (token.kind === 'word' && unstreamable.has(token.text)) isStreamable = false;
    calls.see(token);
    if (kind === 'insert' && token.text === '(' && previous?.text === 'INPUT') {
      throw new EngineError(48, 'NOT_IMPLEMENTED', 'The embedded ClickHouse has no table function input()');
    }
    previous = token;
  }
  return { kind, format, isStreamable };
}

/**
 * Refuses expressions that the engine must not evaluate, in the data of VALUES.
 * @throws EngineError for the function `file`
 */
export function checkExpressions(text: string): void {
  const calls = new CallCheck();
  for (let token = nextToken(text, 0); token !== undefined; token = nextToken(text, token.end)) {
    calls.see(token);
  }
}

/** Words before a name that make it the name of a table, with its columns in parentheses. */
const beforeTable = new Set(['TABLE', 'INTO', 'EXISTS', 'VIEW', '.']);

/** Looks for the function `file`: it reads any file in an embedded engine, and no grant withholds it. */
class CallCheck {
  #name: Token | undefined;
  #before: Token | undefined;

  see(token: Token): void {
    const isCall =
      token.kind === 'symbol' && token.text === '(' && !beforeTable.has(this.#before?.text ?? '');
    if (isCall && this.#name !== undefined && mayBeFile(this.#name)) {
      throw new EngineError(497, 'ACCESS_DENIED', 'The embedded ClickHouse does not read or write files');
    }
    this.#before = this.#name;
    this.#name = token;
  }
}

/** A quoted name may be spelled with escapes; nobody has a reason to call a function by such a name. */
function mayBeFile(name: Token): boolean {
  if (name.kind === 'word') return name.text === 'FILE';
  return (
    name.kind === 'quoted' && (name.text.slice(1, -1).toLowerCase() === 'file' || name.text.includes('\\'))
  );
}

/** The engine would execute these on this machine; a server refuses them over HTTP. */
function refuseFiles(first: string, second: string): void {
  if (first === 'INTO' && second === 'OUTFILE') {
    throw new EngineError(358, 'INTO_OUTFILE_NOT_ALLOWED', 'INTO OUTFILE is not allowed');
  }
  if (first === 'FROM' && second === 'INFILE') {
    throw new EngineError(78, 'UNKNOWN_TYPE_OF_QUERY', 'Query has infile and was send directly to server');
  }
}
