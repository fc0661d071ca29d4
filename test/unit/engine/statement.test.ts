import { describe, expect, it } from 'vitest';
import { parseStatement } from '../../../src/engine/statement.ts';

/** The format, the data, and the statement as it would read with a file in place of the data. */
function split(text: string) {
  const statement = parseStatement(Buffer.from(text).toString('latin1'));
  if (statement.kind !== 'insert-data') return statement.kind;
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
    ['INSERT INTO t SELECT 1', 'insert'],
    ['INSERT INTO t (SELECT 1)', 'insert'],
    ['INSERT INTO t (a) WITH 1 AS x SELECT x', 'insert'],
    ['SELECT 1', 'select'],
    ['-- INSERT\nWITH 1 AS x SELECT x', 'select'],
    ['CREATE TABLE t (a UInt8) ENGINE = Memory', 'other'],
    ['1 + 1', 'other'],
  ])('%s is %s', (text, kind) => {
    expect(split(text)).toBe(kind);
  });

  it.each([
    ['SELECT 1 FORMAT JSON', 'JSON'],
    ["SELECT 'FORMAT CSV' AS a FORMAT /* c */ JSONEachRow;", 'JSONEachRow'],
    ['SELECT * FROM (SELECT 1 FORMAT CSV)', undefined],
    ['SELECT `format` FROM t', undefined],
  ])('%s names the format %s', (text, format) => {
    expect(parseStatement(text)).toMatchObject({ format });
  });

  it('allows only one statement, however it is hidden', () => {
    for (const text of ['SELECT 1; SELECT 2', "SELECT '\\'';DROP TABLE t", 'SELECT 1 /* ; */ ;\n-- x\n x']) {
      expect(() => parseStatement(text)).toThrow('Multi-statements');
    }
    for (const text of ['SELECT 1;', 'SELECT 1;; -- x', "SELECT ';', `;`, $$;$$ -- ;", "SELECT 'it''s;'"]) {
      expect(() => parseStatement(text)).not.toThrow();
    }
  });

  it('keeps files of the server out of reach of INTO OUTFILE and FROM INFILE', () => {
    expect(() => parseStatement("SELECT 1 INTO OUTFILE 'x'")).toThrow('INTO OUTFILE is not allowed');
    expect(() => parseStatement("INSERT INTO t FROM INFILE 'x' FORMAT CSV")).toThrow('infile');
    expect(() => parseStatement("INSERT INTO t (a) FROM/**/INFILE 'x' FORMAT CSV")).toThrow('infile');
  });

  it('knows the function file from a table of that name', () => {
    for (const text of [
      "SELECT file('x')",
      "SELECT `file` ('x')",
      "SELECT `f\\x69le`('x')",
      "SELECT 1 + file/**/('x')",
    ]) {
      expect(() => parseStatement(text)).toThrow('does not read or write files');
    }
    for (const text of [
      'CREATE TABLE IF NOT EXISTS file (a UInt8)',
      'SELECT file FROM file',
      "SELECT 'file('",
      'SELECT my_file(1)',
    ]) {
      expect(() => parseStatement(text)).not.toThrow();
    }
  });

  it('does not stream totals', () => {
    expect(parseStatement('SELECT 1 GROUP BY 1 WITH TOTALS')).toMatchObject({ isStreamable: false });
    expect(parseStatement('SELECT 1')).toMatchObject({ isStreamable: true });
  });

  it('refuses an empty query', () => {
    expect(() => parseStatement(' -- x\n')).toThrow('Empty query');
  });
});
