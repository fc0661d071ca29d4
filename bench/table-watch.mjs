/** Watches a table from outside: when each of its rows could be queried. */
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 100;

/** Asks every 100 ms how far each partition is. @returns `end`, which stops it and says how fresh the rows were */
export function watchTable(clickhouse, table) {
  const seen = [];
  const last = new Map();
  let isEnded = false;
  const sql = `SELECT partition, toFloat64(max(offset)) AS last FROM ${table}
    WHERE received_at > now64(3) - INTERVAL 30 SECOND GROUP BY partition`;
  const polling = (async () => {
    while (!isEnded) {
      const rows = await clickhouse.query(sql);
      const at = Date.now();
      for (const row of rows) {
        if (row.last === last.get(row.partition)) continue;
        last.set(row.partition, row.last);
        seen.push({ ...row, at });
      }
      await sleep(pollMs);
    }
  })();
  return {
    async end(sinceMs) {
      isEnded = true;
      await polling;
      return await readFreshness(clickhouse, { table, seen, sinceMs });
    },
  };
}

/** A row counts as queryable from the first answer with an offset of its partition that is not below its own. */
async function readFreshness(clickhouse, { table, seen, sinceMs }) {
  const seenTable = `${table}_seen`;
  await clickhouse.execute(
    `CREATE TABLE ${seenTable} (partition UInt32, last UInt64, at Int64) ENGINE = MergeTree ORDER BY (partition, last)`,
  );
  const lines = seen.map((row) => JSON.stringify(row)).join('\n');
  await clickhouse.insert(`INSERT INTO ${seenTable} FORMAT JSONEachRow`, Buffer.from(lines));
  const [row] = await clickhouse.query(
    `SELECT toFloat64(count()) AS rows, toFloat64(uniqExact(partition, offset)) AS distinct,
       quantilesExact(0.5, 0.99, 0.999)(seen.at - toUnixTimestamp64Milli(received_at)) AS ms,
       max(seen.at - toUnixTimestamp64Milli(received_at)) AS max
     FROM ${table} AS events ASOF JOIN ${seenTable} AS seen
       ON events.partition = seen.partition AND events.offset <= seen.last
     WHERE toUnixTimestamp64Milli(received_at) >= ${sinceMs}`,
  );
  await clickhouse.execute(`DROP TABLE ${seenTable}`);
  const [p50, p99, p999] = row.ms.map(Number);
  return { rows: row.rows, distinct: row.distinct, ...{ p50, p99, p999, max: Number(row.max) } };
}
