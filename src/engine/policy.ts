/**
 * Judges statements: which may run, and for whom. It sees what the engine's own parser made of a statement
 * (canonical.ts), and that text, not the one that was sent, is what runs. Rights of users are ClickHouse's business
 * (access.ts); here is what no right covers: functions and clauses that reach files, sockets and processes.
 * docs/security.md lists each way and what closes it.
 */
import { type CanonicalToken, readCanonical } from './canonical.ts';
import { EngineError } from './error.ts';
import { checkSetting, checkTableSetting, type Limits } from './settings.ts';
import {
  engines,
  formats,
  fragileFormats,
  structuredFunctions,
  systemTables,
  type Vocabulary,
} from './vocabulary.ts';

/** Who asks: the owner of the data, or somebody who may only read. */
export type Role = 'owner' | 'reader';

/** What a statement is judged by, beside its text. */
interface Judgement {
  readonly role: Role;
  readonly vocabulary: Vocabulary;
  readonly limits: Limits;
  /** Values of `{name:Type}`. */
  readonly params: ReadonlyMap<string, string>;
}

/** What a statement does: returns rows, inserts, or changes something else. */
export type StatementKind = 'read' | 'insert' | 'change';

/** First words of statements, in the engine's spelling. Anything else is refused. */
const openings: ReadonlyArray<readonly [opening: RegExp, kind: StatementKind]> = [
  [/^(SELECT|WITH|DESCRIBE|EXISTS|CHECK TABLE|EXPLAIN|USE)\b/, 'read'],
  [
    /^SHOW (TABLES|FULL TABLES|DATABASES|CREATE|(EXTENDED |FULL )*COLUMNS|(EXTENDED )?INDEX(ES)?|PROCESSLIST|FUNCTIONS|SETTINGS|CHANGED|ENGINES|GRANTS|CLUSTERS|DICTIONARIES)\b/,
    'read',
  ],
  // For a request of one statement it does nothing. Not SET ROLE and SET DEFAULT ROLE.
  [/^SET \w+ =/, 'read'],
  [/^INSERT INTO\b/, 'insert'],
  [/^CREATE (OR REPLACE )?(TEMPORARY )?(TABLE|VIEW|MATERIALIZED VIEW|DATABASE)\b/, 'change'],
  [/^REPLACE (TEMPORARY )?TABLE\b/, 'change'],
  [/^ALTER TABLE\b/, 'change'],
  [/^(DROP|TRUNCATE) (TEMPORARY )?(TABLE|VIEW|DATABASE)\b/, 'change'],
  [/^(RENAME TABLE|EXCHANGE TABLES|OPTIMIZE TABLE|DELETE FROM|UPDATE)\b/, 'change'],
  [/^KILL (QUERY|MUTATION)\b/, 'change'],
  [/^(BACKUP|RESTORE)\b/, 'change'],
];

/**
 * Judges a statement.
 * @param canonical as the engine's parser writes it
 * @throws EngineError 497 ACCESS_DENIED, or the code that ClickHouse's server has for the same refusal
 */
export function judge(canonical: string, judgement: Judgement): StatementKind {
  const opening = openings.find(([pattern]) => pattern.test(canonical));
  if (opening === undefined) {
    const words = /^[A-Z]+( [A-Z]+)?/.exec(canonical)?.[0] ?? 'this';
    throw denied(`The embedded ClickHouse does not execute ${words} statements`);
  }
  new Judge(canonical, judgement).judge();
  return opening[1];
}

/** What stands between two parentheses. */
interface Group {
  /** Whether it holds the arguments of a call. */
  readonly isCall: boolean;
  /** Whether the words at this moment are those of its FROM clause. */
  isFrom: boolean;
}

/**
 * Names that the engine looks for in the file system when no table has them: with `{` it lists a directory before it
 * asks for any right.
 */
const unlikeTable = /[/\\*?{}[\]:~]/;

/** Types that have names between their parentheses: a property may be called as a function is. */
const typesWithNames = new Set(['JSON', 'Tuple', 'Nested']);

/** Words that end a FROM clause. */
const endOfFrom = new Set(
  'SELECT WHERE PREWHERE GROUP HAVING ORDER LIMIT OFFSET SETTINGS FORMAT UNION EXCEPT INTERSECT WINDOW QUALIFY WITH'.split(
    ' ',
  ),
);

/** Walks over one statement. */
class Judge {
  readonly #text: string;
  readonly #tokens: readonly CanonicalToken[];
  readonly #judgement: Judgement;
  readonly #isBackup: boolean;
  /** The statement and the groups around the current token, innermost last. */
  readonly #groups: Group[] = [{ isCall: false, isFrom: false }];
  #at = 0;

  constructor(text: string, judgement: Judgement) {
    this.#text = text;
    this.#tokens = readCanonical(text);
    this.#judgement = judgement;
    this.#isBackup = /^(BACKUP|RESTORE)\b/.test(text);
  }

  judge(): void {
    if (this.#tokens[0]?.text === 'SET') this.#assignments(1);
    if (this.#text.startsWith('SHOW PROCESSLIST')) this.#systemTable('processes');
    for (; this.#at < this.#tokens.length; this.#at += 1) {
      const token = this.#tokens[this.#at] as CanonicalToken;
      if (token.text === 'system' && this.#isSymbol(1, '.')) this.#systemTable(this.#peek(2)?.text ?? '');
      if (token.kind === 'word') this.#word(token);
      else if (token.kind === 'name') this.#name(token);
      else if (token.kind === 'symbol') {
        this.#group(token);
        if (token.text === '{') this.#substitution();
      }
    }
  }

  #peek(distance: number): CanonicalToken | undefined {
    return this.#tokens[this.#at + distance];
  }

  #isSymbol(distance: number, text: string): boolean {
    const token = this.#peek(distance);
    return token?.kind === 'symbol' && token.text === text;
  }

  #isWord(distance: number, text: string): boolean {
    const token = this.#peek(distance);
    return token?.kind === 'word' && token.text === text;
  }

  #word(token: CanonicalToken): void {
    this.#clause(token.text);
    if (this.#isCall(token)) this.#call(token.text);
    else if (this.#judgement.vocabulary.isRefused(token.text) && this.#mayBeFunction()) {
      throw denied(
        `The embedded ClickHouse has no function ${token.text}; write a column of that name as table.${token.text}`,
      );
    }
  }

  #name(token: CanonicalToken): void {
    if (this.#isCall(token)) this.#call(token.text);
    const isAlias = this.#isWord(-1, 'AS') || this.#isSymbol(-1, '.');
    if (unlikeTable.test(token.text) && !isAlias && this.#isTable()) {
      throw denied('The embedded ClickHouse does not read or write files');
    }
  }

  /** Whether a name stands where that of a table may. */
  #isTable(): boolean {
    const before = this.#peek(-1);
    const isNamed =
      before?.kind === 'word' && /^(TABLE|INTO|TO|EXISTS|VIEW|IN|DESCRIBE|FROM)$/.test(before.text);
    return isNamed || this.#groups.at(-1)?.isFrom === true;
  }

  /**
   * The engine writes a call without a space before its parenthesis, and everything else with one, but for the names of
   * columns behind the alias of a table: `FROM (…) AS t(a, b)`.
   */
  #isCall(token: CanonicalToken): boolean {
    if (this.#isWord(-1, 'AS') && this.#groups.at(-1)?.isFrom === true) return false;
    return this.#isSymbol(1, '(') && this.#peek(1)?.start === token.end;
  }

  /** Whether a bare name can mean a function: as an argument of another one, or of APPLY. */
  #mayBeFunction(): boolean {
    const isQualified = this.#isSymbol(-1, '.') || this.#isSymbol(1, '.') || this.#isSymbol(-1, '^');
    return !isQualified && (this.#isWord(-1, 'APPLY') || this.#groups.some(({ isCall }) => isCall));
  }

  /** Goes into a group, or out of it. Those of a call and of an array hold arguments. */
  #group(token: CanonicalToken): void {
    if ('([{'.includes(token.text)) {
      const before = this.#peek(-1);
      const isNamed = before?.kind === 'word' || before?.kind === 'name' || before?.text === ')';
      const isCall =
        token.text === '[' || (isNamed && before.end === token.start && !typesWithNames.has(before.text));
      this.#groups.push({ isCall, isFrom: false });
    } else if (')]}'.includes(token.text)) {
      this.#groups.pop();
    }
  }

  #call(name: string): void {
    if (name === 'Disk' && this.#isBackup) {
      this.#disk();
      return;
    }
    if (engines.has(name) && this.#isWord(-2, 'ENGINE')) return;
    if (!this.#judgement.vocabulary.isCallable(name)) {
      throw denied(`The embedded ClickHouse has no function ${name.slice(0, 100)}`);
    }
    if (name === 'merge') this.#merge();
    if (structuredFunctions.has(name)) this.#structured(name);
  }

  #clause(word: string): void {
    const next = this.#peek(1);
    const group = this.#groups.at(-1);
    if (group !== undefined && word === 'FROM') group.isFrom = true;
    if (group !== undefined && endOfFrom.has(word)) group.isFrom = false;
    if (word === 'OUTFILE' && this.#isWord(-1, 'INTO')) {
      throw new EngineError(358, 'INTO_OUTFILE_NOT_ALLOWED', 'INTO OUTFILE is not allowed');
    }
    if (word === 'INFILE' && this.#isWord(-1, 'FROM')) {
      throw new EngineError(78, 'UNKNOWN_TYPE_OF_QUERY', 'Query has infile and was send directly to server');
    }
    if ((word === 'SQL' && this.#isWord(1, 'SECURITY')) || (word === 'DEFINER' && this.#isSymbol(1, '='))) {
      throw denied('Views of the embedded ClickHouse run with the rights of the user who reads them');
    }
    if (word === 'PARALLEL' && this.#isWord(1, 'WITH')) throw denied('PARALLEL WITH is not allowed');
    if (word === 'FORMAT' && (next?.kind === 'word' || next?.kind === 'name')) checkFormat(next.text);
    if (word === 'ENGINE' && this.#isSymbol(1, '=')) this.#engine();
    if (word === 'SETTINGS' || (word === 'SETTING' && this.#isWord(-1, 'MODIFY'))) this.#assignments(1);
  }

  #engine(): void {
    const name = this.#peek(2)?.text ?? '';
    if (!engines.has(name)) {
      throw denied(`The embedded ClickHouse has no engine ${name.slice(0, 100)}`);
    }
  }

  /** `name = value, …`. Anything else behind the word SETTINGS is no such clause: a column may have that name. */
  #assignments(distance: number): void {
    let at = distance;
    while (/^(word|name)$/.test(this.#peek(at)?.kind ?? '') && this.#isSymbol(at + 1, '=')) {
      const name = this.#peek(at)?.text ?? '';
      const sign = this.#isSymbol(at + 2, '-') ? 1 : 0;
      const value = this.#peek(at + 2 + sign);
      at += 3 + sign;
      if (value?.kind === 'symbol' || value === undefined)
        throw denied(`Setting ${name} must be set to a literal`);
      if (this.#isSymbol(at, '(') && !(this.#isBackup && name === 'base_backup' && value.text === 'Disk')) {
        throw denied(`Setting ${name} must be set to a literal`);
      }
      this.#setting(name, (sign === 1 ? '-' : '') + this.#text.slice(value.start, value.end));
      if (!this.#isSymbol(at, ',')) return;
      at += 1;
    }
  }

  #setting(name: string, value: string): void {
    const { vocabulary, limits } = this.#judgement;
    if (this.#isBackup) {
      if (/^(base_backup|async|structure_only|allow_non_empty_tables|compression_level|id)$/.test(name))
        return;
      throw denied(`Setting ${name} of a backup cannot be changed in the embedded ClickHouse`);
    }
    const isOfTable = /^(CREATE|ALTER|REPLACE)\b/.test(this.#text);
    if (isOfTable && checkTableSetting(vocabulary, name, value)) return;
    checkSetting(vocabulary, limits, name, value);
  }

  /** `Disk('backups', 'name')`: the one disk that backups may use, and a name that leads nowhere else. */
  #disk(): void {
    const [open, disk, comma, name, close] = [1, 2, 3, 4, 5].map((distance) => this.#peek(distance));
    const isPlain = open?.text === '(' && comma?.text === ',' && close?.text === ')';
    const isName = name?.kind === 'string' && /^[\w-][\w.-]{0,199}$/.test(name.text);
    if (isPlain && disk?.kind === 'string' && disk.text === 'backups' && isName) return;
    throw denied("Backups of the embedded ClickHouse are written as Disk('backups', 'name')");
  }

  /** `{name:Type}`. The value of an Identifier becomes a name in the statement: it is judged as one. */
  #substitution(): void {
    const name = this.#peek(1);
    if (name?.kind !== 'word' || !this.#isSymbol(2, ':')) {
      throw denied('The embedded ClickHouse does not accept this statement, at: {');
    }
    const isIdentifier = this.#isWord(3, 'Identifier');
    while (this.#at < this.#tokens.length && !this.#isSymbol(0, '}')) this.#at += 1;
    this.#groups.pop();
    if (!isIdentifier) return;
    const value = this.#judgement.params.get(name.text) ?? '';
    if (
      unlikeTable.test(value) ||
      /^system(\.|$)/.test(value) ||
      this.#judgement.vocabulary.isRefused(value)
    ) {
      throw denied(`The value of parameter ${name.text} is not a name that the embedded ClickHouse accepts`);
    }
  }

  /** No other database is named so: `readParameters` lets nobody make it the current one. */
  #systemTable(name: string): void {
    if (systemTables[this.#judgement.role].has(name)) return;
    throw denied(`${this.#judgement.role}: Not enough privileges to read system.${name.slice(0, 100)}`);
  }

  /** `merge('database', 'tables')` finds tables by a pattern: not those of `system`, nor by an expression. */
  #merge(): void {
    for (let distance = 2; !this.#isSymbol(distance, ')'); distance += 1) {
      const { kind, text } = this.#peek(distance) ?? { kind: 'symbol', text: '' };
      const isPlain = kind === 'symbol' ? text === ',' : text !== 'system' && text !== 'REGEXP';
      if (!isPlain) throw denied("Use merge('database', 'pattern'), with a database other than system");
    }
  }

  /**
   * The argument that has the columns of a table as text, as in `values('a String, b String', …)`: a literal, so that it
   * can be looked into. The others are expressions as everywhere.
   */
  #structured(name: string): void {
    let at = 2;
    if (name === 'format') {
      const format = this.#peek(at);
      if (format?.kind !== 'word') throw notLiteral();
      checkFormat(format.text);
      if (fragileFormats.has(format.text.toLowerCase())) {
        throw denied(`The function format of the embedded ClickHouse does not read ${format.text}`);
      }
      at += 2;
    }
    const first = this.#peek(at);
    const isLast = this.#isSymbol(at + 1, ')');
    if (first?.kind === 'string' && (isLast || this.#isSymbol(at + 1, ','))) {
      // Without columns the text that `format` has is data.
      if (name !== 'format' || !isLast) judgeStructure(first.text, this.#judgement);
      return;
    }
    // Rows need no columns before them, and `generateRandom()` makes its own.
    const isRow =
      name === 'values' && (first?.kind === 'number' || this.#isSymbol(at, '-') || this.#isTuple(at));
    if (isRow || (name === 'generateRandom' && this.#isSymbol(at, ')'))) return;
    throw notLiteral();
  }

  /** `(a, b)`. Without a comma parentheses are none: what is in them could be a text with columns. */
  #isTuple(at: number): boolean {
    if (!this.#isSymbol(at, '(')) return false;
    for (let depth = 0, distance = at; ; distance += 1) {
      const token = this.#peek(distance);
      if (token === undefined) return false;
      if (token.kind !== 'symbol') continue;
      if ('([{'.includes(token.text)) depth += 1;
      else if (')]}'.includes(token.text)) depth -= 1;
      else if (token.text === ',' && depth === 1)
        return !/^(SELECT|WITH)$/.test(this.#peek(at + 1)?.text ?? '');
      if (depth === 0) return false;
    }
  }
}

/** Refuses columns that are computed: what computes them would run unseen. */
function judgeStructure(text: string, judgement: Judgement): void {
  const judge = new Judge(text, judgement);
  if (/\b(DEFAULT|MATERIALIZED|ALIAS|EPHEMERAL|TTL|CODEC)\b/i.test(text)) throw notLiteral();
  judge.judge();
}

/**
 * Lets a format pass, or not.
 * @throws EngineError 73 for one that is not on the list
 */
export function checkFormat(name: string): void {
  if (formats.has(name.toLowerCase())) return;
  throw new EngineError(73, 'UNKNOWN_FORMAT', `Unknown format ${printable(name)}`);
}

function printable(text: string): string {
  return text.slice(0, 100).replace(/[^\x20-\x7e]/g, '?');
}

function notLiteral(): EngineError {
  return denied(
    'This table function of the embedded ClickHouse takes its columns as a literal, without expressions',
  );
}

function denied(message: string): EngineError {
  return new EngineError(497, 'ACCESS_DENIED', message);
}
