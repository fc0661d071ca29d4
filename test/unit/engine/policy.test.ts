import { describe, expect, it } from 'vitest';
import { judge, type Role } from '../../../src/engine/policy.ts';
import { Vocabulary } from '../../../src/engine/vocabulary.ts';

const row = (name: string, categories: string, is_aggregate = 0) => ({
  name,
  is_aggregate,
  alias_to: '',
  case_insensitive: 0,
  categories,
});
const vocabulary = new Vocabulary({
  functions: [
    row('length', 'Arrays'),
    row('arrayMap', 'Arrays'),
    row('unhex', 'Encoding'),
    row('file', 'Other'),
    row('sum', 'Aggregate Functions', 1),
    row('groupFormat', 'Aggregate Functions', 1),
  ],
  types: ['String'],
  combinators: ['If', 'State', 'SimpleState'],
  settings: new Map([
    ['max_threads', 'MaxThreads'],
    ['session_timezone', 'Timezone'],
    ['format_schema', 'String'],
  ]),
  tableSettings: new Map([['index_granularity', 'UInt64']]),
  timezones: new Set(['America/Argentina/Buenos_Aires']),
});
const limits = new Map([['max_threads', 4]]);

function verdict(sql: string, role: Role = 'owner', params: Readonly<Record<string, string>> = {}) {
  return judge(sql, { role, vocabulary, limits, params: new Map(Object.entries(params)) });
}

describe('what may run', () => {
  it.each([
    ['SELECT length(a), sumIf(b, c) FROM d WHERE file = 1 SETTINGS max_threads = 2', 'read'],
    ["SELECT now FROM a SETTINGS session_timezone = 'America/Argentina/Buenos_Aires'", 'read'],
    ['SELECT * FROM format(JSONEachRow, \'{"a":1}\')', 'read'],
    ["SELECT * FROM format(RowBinary, 'a String', unhex('00'))", 'read'],
    ["SELECT * FROM `values`('a String', ('x'))", 'read'],
    ["SELECT * FROM merge('default', '^events')", 'read'],
    ['SELECT * FROM (SELECT 1) AS t(a, b)', 'read'],
    ['SELECT * FROM system.processes', 'read'],
    ['INSERT INTO a (b) VALUES', 'insert'],
    ['CREATE TABLE a (`b` String) ENGINE = MergeTree ORDER BY b SETTINGS index_granularity = 1024', 'change'],
    ["BACKUP TABLE a TO Disk('backups', 'b')", 'change'],
  ])('%s', (sql, kind) => expect(verdict(sql)).toBe(kind));

  it('for a reader', () => expect(verdict('SELECT name FROM system.tables', 'reader')).toBe('read'));
});

describe('what may not run', () => {
  it.each([
    "SELECT file('/p')",
    "SELECT `file`('/p')",
    "SELECT arrayMap(file, ['/p'])",
    'SELECT * APPLY(file) FROM a',
    "SELECT groupFormat('Protobuf')(a) FROM b",
    "SELECT * FROM format(JSONEachRow, unhex('61'), '{}')",
    "SELECT * FROM format('JSONEachRow', 'a String', '{}')",
    "SELECT * FROM format(JSONEachRow, ('a String', 'b'), '{}')",
    "SELECT * FROM null('a String DEFAULT length(b)')",
    "SELECT * FROM `null`(('a String DEFAULT length(b)'))",
    "SELECT * FROM null(unhex('61'))",
    "SELECT * FROM format(ORC, 'a String', unhex('4f5243'))",
    'SELECT * FROM system.models',
    'SELECT 1 IN (`system`.`models`)',
    "SELECT * FROM merge('system', 'models')",
    "SELECT * FROM merge(REGEXP 'sys', 'models')",
    "SELECT * FROM merge(concat('sys', 'tem'), 'models')",
    'SELECT * FROM `/etc/passwd`',
    "SELECT 1 INTO OUTFILE 'a'",
    'SELECT 1 SETTINGS max_threads = 5',
    "SELECT 1 SETTINGS format_schema = 'a'",
    "SELECT 1 SETTINGS session_timezone = 'file:/p'",
    "SELECT 1 SETTINGS session_timezone = 'fi'",
    "SELECT 1 SETTINGS session_timezone = 'America'",
    "CREATE TABLE a (`b` String) ENGINE = File('CSV')",
    "BACKUP TABLE a TO Disk('backups', '../b')",
    "BACKUP TABLE a TO File('b')",
    "CREATE TABLE a (`b` String) AS file('/p')",
    "CREATE TABLE a AS file('/p')",
    'SYSTEM SHUTDOWN',
    `SELECT sum${'If'.repeat(50_000)}(a)`,
  ])('%.80s', (sql) => expect(() => verdict(sql)).toThrow(expect.objectContaining({ name: 'EngineError' })));

  it.each(['file', 'system', 'system.models', '/etc/passwd'])('the name %s by a parameter', (value) => {
    expect(() => verdict('SELECT {a:Identifier} FROM b', 'owner', { a: value })).toThrow(/not a name/);
  });

  it.each(['SELECT query FROM system.processes', 'SHOW PROCESSLIST', 'SELECT * FROM system.errors'])(
    'for a reader: %s',
    (sql) => expect(() => verdict(sql, 'reader')).toThrow(expect.objectContaining({ code: 497 })),
  );
});
