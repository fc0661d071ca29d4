import { expect, it } from 'vitest';
import { isKillById, withClientIds } from '../../../src/engine/running.ts';

it.each([
  ["KILL QUERY WHERE query_id = 'a' ASYNC", true],
  ["KILL QUERY WHERE query_id = 'a' ASYNC FORMAT JSON", true],
  ["KILL QUERY WHERE query_id = 'a' SYNC", false],
  ["KILL QUERY WHERE query_id = 'a' OR 1 ASYNC", false],
  ["KILL QUERY WHERE query_id = concat('a') ASYNC", false],
  ["KILL QUERY WHERE query_id != 'a' ASYNC", false],
  ["KILL QUERY WHERE query LIKE '%' ASYNC", false],
  ["KILL MUTATION WHERE mutation_id = 'a'", false],
])('a reader may ask for %s: %s', (sql, may) => {
  expect(isKillById(sql)).toBe(may);
});

it('lets a reader end queries of readers alone', () => {
  const sql = withClientIds("KILL QUERY WHERE query_id = 'a' ASYNC", 'reader');
  expect(sql).toMatch(
    /^KILL QUERY WHERE startsWith\(Settings\['chdb_client_name'\], 'reader '\) AND if\(.*\) = 'a' ASYNC$/,
  );
});

it.each([
  'SELECT 1',
  "SELECT 'system.processes'",
  'DESCRIBE TABLE system.processes',
  'SELECT system.processes.query_id FROM system.processes',
])('leaves %s as it is', (sql) => {
  expect(withClientIds(sql, 'owner')).toBe(sql);
});
