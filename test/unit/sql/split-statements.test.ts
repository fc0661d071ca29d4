import { describe, expect, test } from 'vitest';
import { splitStatements } from '../../../src/sql/split-statements.ts';
import { fc } from '../../support/fast-check.ts';

/** Texts of the statements that a file would run. */
function textsOf(text: string): string[] {
  const { complete, rest } = splitStatements(text);
  return [...complete, ...(rest === undefined ? [] : [rest])].map((statement) => statement.text.trim());
}

describe('statements', () => {
  test.each([
    ['one without a semicolon', 'SELECT 1', ['SELECT 1']],
    ['one with a semicolon', 'SELECT 1;\n', ['SELECT 1']],
    ['several', 'SELECT 1; SELECT 2 ;SELECT 3', ['SELECT 1', 'SELECT 2', 'SELECT 3']],
    ['none', ' ;; ; -- only this\n; /* and ; this */', []],
    ['a semicolon in quotes', `SELECT ';', ";", \`;\`; SELECT 2`, [`SELECT ';', ";", \`;\``, 'SELECT 2']],
    ['doubled quotes', `SELECT ''';', 'a'';b'; SELECT 2`, [`SELECT ''';', 'a'';b'`, 'SELECT 2']],
    [
      'a quote behind a backslash',
      `SELECT '\\';'; SELECT '\\\\'; SELECT 3`,
      [`SELECT '\\';'`, `SELECT '\\\\'`, 'SELECT 3'],
    ],
    ['typographic quotes', 'SELECT ‘;\\’, “;”; SELECT 2', ['SELECT ‘;\\’, “;”', 'SELECT 2']],
    [
      'a comment to the end of the line',
      "SELECT 1 -- ; it's\n+ 1; SELECT 2",
      ["SELECT 1 -- ; it's\n+ 1", 'SELECT 2'],
    ],
    [
      'other comments of a line',
      'SELECT 1 // ;\n, 2 # ;\n, 3 #! ;\n; SELECT 2',
      ['SELECT 1 // ;\n, 2 # ;\n, 3 #! ;', 'SELECT 2'],
    ],
    ['a comment', "SELECT /* ; ' */ 1; SELECT 2", ["SELECT /* ; ' */ 1", 'SELECT 2']],
    [
      'comments within comments',
      'SELECT /* /* ; */ ; */ 1; SELECT 2',
      ['SELECT /* /* ; */ ; */ 1', 'SELECT 2'],
    ],
    [
      'marks of comments in quotes',
      "SELECT '/*'; SELECT '--'; SELECT '*/'",
      ["SELECT '/*'", "SELECT '--'", "SELECT '*/'"],
    ],
    ['a heredoc', "SELECT $a$;'$b$;$a$; SELECT 2", ["SELECT $a$;'$b$;$a$", 'SELECT 2']],
    ['a heredoc without a name', 'SELECT $$;$$; SELECT 2', ['SELECT $$;$$', 'SELECT 2']],
    ['a heredoc that never ends is a name', 'SELECT 1 AS $a$; SELECT 2', ['SELECT 1 AS $a$', 'SELECT 2']],
    ['a dollar within a name', 'SELECT 1 AS x$a$; SELECT 2 AS $a$', ['SELECT 1 AS x$a$', 'SELECT 2 AS $a$']],
    ['a quote that never ends', "SELECT 'a; SELECT 2", ["SELECT 'a; SELECT 2"]],
    ['a comment that never ends', 'SELECT 1 /* ; SELECT 2', ['SELECT 1 /* ; SELECT 2']],
    ['values', "INSERT INTO t VALUES (';'); SELECT 2", ["INSERT INTO t VALUES (';')", 'SELECT 2']],
    [
      'values as a format',
      'INSERT INTO t FORMAT Values (1); SELECT 2',
      ['INSERT INTO t FORMAT Values (1)', 'SELECT 2'],
    ],
    ['data', "INSERT INTO t FORMAT CSV\n1;2\nit's;\n", ["INSERT INTO t FORMAT CSV\n1;2\nit's;"]],
    [
      'a format without data',
      'INSERT INTO t SELECT 1 FORMAT Null; SELECT 2',
      ['INSERT INTO t SELECT 1 FORMAT Null', 'SELECT 2'],
    ],
    ['the format of a result', 'SELECT 1 FORMAT CSV; SELECT 2', ['SELECT 1 FORMAT CSV', 'SELECT 2']],
  ])('%s', (_, text, expected) => {
    expect(textsOf(text)).toEqual(expected);
  });

  test('say in which line they begin', () => {
    const { complete, rest } = splitStatements('-- first\nSELECT 1;\n\n  SELECT\n2; SELECT 3');
    expect(complete.map(({ line }) => line)).toEqual([2, 4]);
    expect(rest?.line).toBe(5);
  });

  test('are not cut within any quoted text, and nothing gets lost', () => {
    const inner = fc.string({
      unit: fc.constantFrom(';', "'", '"', '`', '\\', '-', '/', '*', '$', '\n', 'a', ' '),
    });
    const quoted = inner.map((text) => `SELECT '${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`);
    const property = fc.property(fc.array(quoted, { minLength: 1 }), (statements) => {
      expect(textsOf(statements.join(';'))).toEqual(statements);
    });
    fc.assert(property, { numRuns: 300 });
  });

  test('of a megabyte take no stack', () => {
    const long = `SELECT '${"''".repeat(500_000)}'`;
    expect(textsOf(`${long}; ${'/*'.repeat(100_000)}`)[0]).toBe(long);
  });
});
