import { describe, expect, it } from 'vitest';
import { insertIn, shapeOf } from '../../../src/engine/statement.ts';

/** The format, the data, and the statement as it would read with a file in place of the data. */
function split(text: string) {
  const statement = insertIn(Buffer.from(text).toString('latin1'));
  if (statement === undefined) return undefined;
  const bytes = Buffer.from(text);
  const part = (from: number, to?: number) => bytes.subarray(from, to).toString();
  const settings = part(statement.sourceAt, statement.settingsEnd) + statement.trailingSettings;
  return {
    sql: `${part(0, statement.sourceAt)}<FILE> ${settings}FORMAT ${statement.format}`,
    data: part(statement.dataAt),
  };
}

describe('an INSERT with data', () => {
  it.each([
    ['INSERT INTO t FORMAT CSV\n1,2\n', 'INSERT INTO t <FILE> FORMAT CSV', '1,2\n'],
    [
      'insert into db.t (a, `b)`) format JSONEachRow {"a":1}',
      'insert into db.t (a, `b)`) <FILE> FORMAT JSONEachRow',
      '{"a":1}',
    ],
    [
      "INSERT INTO t (a,b) SETTINGS x=1, y='FORMAT CSV' FORMAT TSV\r\n\n1\t2",
      "INSERT INTO t (a,b) <FILE> SETTINGS x=1, y='FORMAT CSV' FORMAT TSV",
      '\n1\t2',
    ],
    ["INSERT INTO t VALUES (1, 'FORMAT; x')", 'INSERT INTO t <FILE> FORMAT Values', " (1, 'FORMAT; x')"],
    ['INSERT INTO TABLE `a b`."c" VALUES(1)', 'INSERT INTO TABLE `a b`."c" <FILE> FORMAT Values', '(1)'],
    [
      "insert into function null('a UInt32') FORMAT JSONEachRow\n{}",
      "insert into function null('a UInt32') <FILE> FORMAT JSONEachRow",
      '{}',
    ],
    ['INSERT INTO {t:Identifier} FORMAT CSV\n1', 'INSERT INTO {t:Identifier} <FILE> FORMAT CSV', '1'],
    [
      '/* FORMAT x */ INSERT INTO t -- VALUES\n/* ; */ FORMAT CSV\n;1',
      '/* FORMAT x */ INSERT INTO t -- VALUES\n/* ; */ <FILE> FORMAT CSV',
      ';1',
    ],
    ['INSERT INTO format FORMAT CSV\n1', 'INSERT INTO format <FILE> FORMAT CSV', '1'],
    [
      'INSERT INTO settings SETTINGS a=1 FORMAT CSV 1',
      'INSERT INTO settings <FILE> SETTINGS a=1 FORMAT CSV',
      '1',
    ],
    [
      "INSERT INTO t FORMAT CSV SETTINGS a = 1.5, b='x\\'y'\n1",
      "INSERT INTO t <FILE>  SETTINGS a = 1.5, b='x\\'y'FORMAT CSV",
      '1',
    ],
    ['INSERT INTO t FORMAT TSV\nSETTINGS a = 1', 'INSERT INTO t <FILE> FORMAT TSV', 'SETTINGS a = 1'],
    ['INSERT INTO "tablé" (ключ) FORMAT CSV\nя', 'INSERT INTO "tablé" (ключ) <FILE> FORMAT CSV', 'я'],
    ['INSERT INTO t FORMAT RowBinary\n', 'INSERT INTO t <FILE> FORMAT RowBinary', ''],
    ['INSERT INTO t FORMAT CSV;\n', 'INSERT INTO t <FILE> FORMAT CSV', ''],
    [
      "INSERT INTO FUNCTION file('x') PARTITION BY f(a) VALUES (1)",
      "INSERT INTO FUNCTION file('x') PARTITION BY f(a) <FILE> FORMAT Values",
      ' (1)',
    ],
  ])('%j', (text, sql, data) => {
    expect(split(text)).toEqual({ sql, data });
  });

  it('refuses a semicolon between format and data, as ClickHouse does', () => {
    expect(() => split('INSERT INTO t FORMAT CSV; 1')).toThrow("excessive ';'");
  });
});

describe('other statements', () => {
  it.each([
    'INSERT INTO t SELECT 1',
    'INSERT INTO t (SELECT 1)',
    'INSERT INTO t (a) WITH 1 AS x SELECT x',
    'SELECT 1',
    '-- INSERT\nWITH 1 AS x SELECT x',
    'CREATE TABLE t (a UInt8) ENGINE = Memory',
    '1 + 1',
    '',
  ])('%j has no data', (text) => {
    expect(split(text)).toBeUndefined();
  });
});

describe('the shape of a result', () => {
  it.each([
    ['SELECT 1 FORMAT JSON', 'JSON', true],
    ["SELECT 'FORMAT CSV' AS a FORMAT JSONEachRow", 'JSONEachRow', true],
    ['SELECT * FROM (SELECT 1)', undefined, true],
    ['SELECT format FROM t', undefined, true],
    ['SELECT 1 GROUP BY 1 WITH TOTALS', undefined, false],
    ['SELECT 1 SETTINGS extremes = 1', undefined, false],
    ['SHOW TABLES FORMAT CSV', 'CSV', false],
    ['SELECT 1 FORMAT `Values`', 'Values', true],
  ])('%s', (sql, format, isStreamable) => {
    expect(shapeOf(sql)).toEqual({ format, isStreamable });
  });

  it('has the longest time that the statement asks for', () => {
    const sql = 'SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 9) SETTINGS max_execution_time = 2.5';
    expect(shapeOf(sql).maxSeconds).toBe(9);
  });
});
