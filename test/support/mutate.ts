/** Changes attacks at random, in the ways that have deceived readers of SQL before. */
import type { Attack } from './attacks.ts';
import type { Random } from './faults/random.ts';

/** One request of a mutated attack. */
export interface MutatedRequest {
  readonly sql: Buffer;
  readonly settings: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
}

/** White space of every kind that some lexer takes for it, and comments. */
const spaces = [
  ' ',
  '\t',
  '\n',
  '\r',
  '\f',
  '\v',
  '\0',
  '\u00a0',
  '\u0085',
  '\u1680',
  '\u180e',
  '\u2003',
  '\u200b',
  '\u2028',
  '\u202f',
  '\u2060',
  '\u3000',
  '\ufeff',
  '/**/',
  '/* */ ',
  '-- \n',
  '--\n',
  '# \n',
  '#!\n',
  '/*/**/*/',
];

type Change = (sql: string, random: Random) => string;

const between = (
  sql: string,
  random: Random,
  pattern: RegExp,
  replacement: (found: string) => string,
): string => {
  const places = [...sql.matchAll(pattern)];
  if (places.length === 0) return sql;
  const { index = 0, 0: found } = random.pick(places);
  return sql.slice(0, index) + replacement(found) + sql.slice(index + found.length);
};

const changes: readonly Change[] = [
  // White space where there is some, and where a token ends.
  (sql, random) => between(sql, random, / /g, () => random.pick(spaces) + (random.chance(0.3) ? ' ' : '')),
  (sql, random) => sql.replaceAll(' ', () => random.pick(spaces)),
  (sql, random) => between(sql, random, /[(),.=]/g, (found) => random.pick(spaces) + found),
  (sql, random) => between(sql, random, /[(),.=]/g, (found) => found + random.pick(spaces)),
  (sql, random) => random.pick(spaces) + sql,
  (sql, random) =>
    sql +
    random.pick([';', ';;', '; ', '\0', '-- ', '/*', ' # x', '; -- x', ';SELECT 1', '\\', '\\G', '\u00a0;']),
  // Case and quotes of names.
  (sql, random) =>
    between(sql, random, /\b[A-Za-z]+\b/g, (word) =>
      random.chance(0.5) ? word.toLowerCase() : word.toUpperCase(),
    ),
  (sql, random) =>
    between(sql, random, /\b[a-z]\w+\b/g, (word) => random.pick([`\`${word}\``, `"${word}"`, `“${word}”`])),
  (sql, random) =>
    between(sql, random, /\bfile\b/g, () =>
      random.pick([
        '`f\\x69le`',
        '`fi\\le`',
        '"f\\151le"',
        'FILE',
        'File',
        '`file`',
        'default.file',
        '`default.file`',
        'file\\',
        'ﬁle',
        'fıle',
      ]),
    ),
  // Texts.
  (sql, random) => between(sql, random, /'[^']*'/g, (text) => `$$${text.slice(1, -1)}$$`),
  (sql, random) => between(sql, random, /'[^']*'/g, (text) => `$h$${text.slice(1, -1)}$h$`),
  (sql, random) =>
    between(sql, random, /'[^']*'/g, (text) => {
      const inner = text.slice(1, -1);
      const at = random.integer(0, inner.length);
      return random.pick([
        `concat('${inner.slice(0, at)}', '${inner.slice(at)}')`,
        `'${inner.slice(0, at)}' || '${inner.slice(at)}'`,
        `unhex('${Buffer.from(inner).toString('hex')}')`,
        `'${[...Buffer.from(inner)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}'`,
        `‘${inner}’`,
        `"${inner}"`,
        `materialize('${inner}')`,
        `('${inner}')`,
        `'${inner}'::String`,
      ]);
    }),
  (sql, random) =>
    sql.replace(
      /^SELECT /,
      () =>
        `SELECT ${random.pick(['1 AS $a$, ', '$a$x$a$, ', '1 AS $$, ', "'\\'', ", '1 AS `$a$`, ', '$a$, ', 'DISTINCT ', '1 AS x -- $a$\n, '])}`,
    ),
  // A function in the place of another.
  (sql, random) =>
    between(sql, random, /\b(upper|lower|file|sum|JSONExtract)\b/g, () =>
      random.pick([
        'file',
        'file',
        'formatRow',
        'url',
        'filesystem',
        'catboostEvaluate',
        'aiGenerate',
        'hasColumnInTable',
        'dictGet',
        'eval',
        'executable',
        'getServerSetting',
        'logTrace',
        'showCertificate',
        'globalVariable',
        'addressToLine',
        'regionToName',
      ]),
    ),
  // Calls in other dress.
  (sql, random) =>
    between(sql, random, /\b(\w+)\(('[^']*')\)/g, (call) => {
      const [, name = '', text = ''] = /^(\w+)\((.*)\)$/.exec(call) ?? [];
      return random.pick([
        `arrayMap(${name}, [${text}])`,
        `arrayMap(x -> ${name}(x), [${text}])`,
        `arrayFilter(x -> ${name}(x) != '', [${text}])`,
        `arrayMap((${name}), [${text}])`,
        `arrayFirst(x -> 1, arrayMap(${name}, [${text}]))`,
        `mapApply((k, v) -> (k, ${name}(v)), map(1, ${text}))`,
        `arrayFold((a, x) -> ${name}(x), [${text}], '')`,
        `if(1, ${name}(${text}), '')`,
        `(SELECT ${name}(${text}))`,
        `(SELECT * APPLY ${name} FROM (SELECT ${text}))`,
        `(SELECT COLUMNS('.*') APPLY ${name} FROM (SELECT ${text} AS x))`,
        `CAST(${name}(${text}), 'String')`,
        `${name}(${text})::String`,
        `CASE WHEN 1 THEN ${name}(${text}) END`,
        `ignore(${name}(${text}))`,
        `throwIf(${name}(${text}) != '', ${text})`,
      ]);
    }),
  // Statements within statements.
  (sql, random) =>
    sql.startsWith('SELECT')
      ? random.pick([
          `SELECT * FROM (${sql})`,
          `WITH q AS (${sql}) SELECT * FROM q`,
          `SELECT 1 UNION ALL ${sql}`,
          `SELECT (${sql})`,
          `SELECT 1 IN (${sql})`,
          `(${sql})`,
          `EXPLAIN ${sql}`,
          `EXPLAIN PIPELINE ${sql}`,
          `EXPLAIN SYNTAX ${sql}`,
          `EXPLAIN QUERY TREE ${sql}`,
          `DESCRIBE (${sql})`,
          `SELECT * FROM view(${sql})`,
          `SELECT * FROM viewExplain('', '', (${sql}))`,
          `INSERT INTO FUNCTION null('s String') ${sql}`,
          `CREATE VIEW IF NOT EXISTS canary_fuzz AS ${sql}`,
          `CREATE OR REPLACE VIEW canary_fuzz AS ${sql}`,
          `CREATE MATERIALIZED VIEW IF NOT EXISTS canary_fuzz_mv ENGINE = Memory POPULATE AS ${sql}`,
          `CREATE TABLE IF NOT EXISTS canary_fuzz_t ENGINE = Memory AS ${sql}`,
          `CREATE TEMPORARY TABLE canary_fuzz_t AS ${sql}`,
          `SELECT * FROM canary_fuzz`,
          `SELECT * FROM canary_fuzz_t`,
          `SELECT * FROM loop(canary_fuzz)`,
          `SELECT * FROM merge('default', 'canary')`,
          `SELECT * FROM cluster('default', view(${sql}))`,
          `${sql} INTERSECT ${sql}`,
          `SELECT * FROM values('x String', (${sql}))`,
          `${sql} PARALLEL WITH ${sql}`,
          `FROM (${sql}) SELECT *`,
          `SELECT 1 WHERE EXISTS (${sql})`,
          `SELECT * FROM numbers(1) ORDER BY (${sql})`,
          `SELECT 1 LIMIT (${sql})`,
          `SELECT 1 SETTINGS additional_result_filter = (${sql})`,
          `BACKUP TABLE x TO (${sql})`,
          `SET dialect = 'kusto'; ${sql}`,
          `KILL QUERY WHERE query_id = (${sql})`,
          `SHOW TABLES WHERE name = (${sql})`,
          `ALTER TABLE canary_fuzz_t UPDATE s = (${sql}) WHERE 1`,
          `DELETE FROM canary_fuzz_t WHERE (${sql}) = ''`,
          `OPTIMIZE TABLE canary_fuzz_t FINAL DEDUPLICATE BY (${sql})`,
          `SELECT eval('${sql.replaceAll("'", "\\'")}')`,
          `SELECT formatQuery('${sql.replaceAll("'", "\\'")}')`,
        ])
      : sql,
  // Clauses that are somewhere else, or twice.
  (sql, random) =>
    sql +
    random.pick([
      " INTO OUTFILE '{out}'",
      ' FORMAT Template',
      " FORMAT Template SETTINGS format_template_row = '{file}'",
      " SETTINGS format_template_row = '{file}'",
      ' FORMAT Null',
      ' SETTINGS max_threads = 1',
      " SETTINGS additional_result_filter = 'file(\\'{file}\\') != \\'\\''",
      ' SETTINGS readonly = 0',
      " SETTINGS dialect = 'prql'",
      ' LIMIT 1',
      " INTO OUTFILE '{out}' TRUNCATE FORMAT TSV",
      ' AS `a`',
      ' SETTINGS allow_experimental_eval_table_function = 1',
      " COMMENT 'x'",
      ' PARALLEL WITH SELECT 1',
      ' SETTINGS use_query_cache = 1',
      ' SETTINGS input_format_values_interpret_expressions = 1',
    ]),
  (sql, random) =>
    sql.replace(
      /SETTINGS (\w+) = /,
      (_, name) =>
        `SETTINGS ${random.pick(['', 'max_threads = 1, '])}${random.pick([name, `\`${name}\``, name.toUpperCase(), `"${name}"`, `${name} = ${name}`])} = `,
    ),
  // Bytes.
  (sql, random) => {
    const at = random.integer(0, sql.length);
    return (
      sql.slice(0, at) + String.fromCharCode(random.integer(0, 255)) + sql.slice(at + random.integer(0, 1))
    );
  },
  (sql, random) => {
    const at = random.integer(0, sql.length);
    const length = random.integer(1, 12);
    return sql.slice(0, at) + sql.slice(at + length);
  },
  (sql, random) => {
    const at = random.integer(0, sql.length);
    const from = random.integer(0, sql.length);
    return sql.slice(0, at) + sql.slice(from, from + random.integer(1, 20)) + sql.slice(at);
  },
];

/**
 * A mutated attack as requests. Placeholders stay; `other` gives pieces of another attack.
 * @param random says what is changed, and how often
 */
export function mutate(attack: Attack, other: Attack, random: Random): MutatedRequest[] {
  return attack.sql.map((statement) => {
    let sql = statement;
    for (let left = random.integer(0, 4); left > 0; left -= 1) sql = random.pick(changes)(sql, random);
    if (random.chance(0.1)) {
      const at = random.integer(0, sql.length);
      const piece = other.sql[0];
      const from = random.integer(0, piece.length);
      sql = sql.slice(0, at) + piece.slice(from, from + random.integer(1, 40)) + sql.slice(at);
    }
    const isLatin = random.chance(0.1);
    return {
      sql: Buffer.from(sql, isLatin ? 'latin1' : 'utf8'),
      settings: { ...attack.settings, ...(random.chance(0.15) && randomSetting(random)) },
      params: { f: 'file', ...attack.params },
    };
  });
}

function randomSetting(random: Random): Record<string, string> {
  return random.pick<Record<string, string>>([
    { format_template_row: '{file}' },
    { format_schema: '{file}:M' },
    { output_format_schema: '{out}' },
    { additional_result_filter: "file('{file}') != ''" },
    { dialect: 'kusto' },
    { implicit_table_at_top_level: '{file}' },
    { readonly: '00' },
    { allow_introspection_functions: '1' },
    { input_format_values_interpret_expressions: '1' },
    { allow_experimental_eval_table_function: '1' },
    { default_format: 'Template' },
    { default_format: 'Protobuf' },
    { compatibility: '21.1' },
    { allow_ddl: '1' },
    { max_threads: "1, format_template_row = '{file}'" },
    { 'max_threads = 1, format_template_row': '{file}' },
    { database: 'system' },
    { database: '{file}' },
    { profile: 'default' },
    { wait_end_of_query: '1' },
    { log_comment: "x', format_template_row = '{file}" },
    { session_timezone: '../../../..{file}' },
  ]);
}
