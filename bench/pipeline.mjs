/** The engine and the streamer, started as users do. */
import { join } from 'node:path';
import { findFreePort, importBuilt, lastDescendantOf, startMillrace } from './program.mjs';

/** Users of the embedded ClickHouse have rights in this database and in `default`; it may be dropped and made again. */
export const benchDatabase = 'bench';

/**
 * Starts the embedded ClickHouse, and a client of it. Nobody needs a password: it is on loopback, for the benchmark alone.
 * @returns `pid` is that of the engine's own process, within its sandbox
 */
export async function startEngine(dir, undo) {
  const url = `http://127.0.0.1:${await findFreePort()}`;
  const flags = ['--data-dir', join(dir, 'engine'), '--clickhouse-url', url, '--log-level', 'error'];
  const own = ['--clickhouse-database', benchDatabase, '--no-clickhouse-auth'];
  const { pid: parent, stop: stopEngine } = await startMillrace(['clickhouse', ...flags, ...own]);
  undo.push(() => stopEngine());
  const { createClickHouse } = await importBuilt('clickhouse/client.js');
  const account = { database: '', user: 'default', password: '', timeoutMs: 3_600_000 };
  const clickhouse = createClickHouse({ url: new URL(url), ...account });
  undo.push(() => clickhouse.close());
  const [{ version }] = await clickhouse.query('SELECT version() AS version');
  const stop = async () => {
    await clickhouse.close();
    await stopEngine();
  };
  return { pid: lastDescendantOf(parent), url, clickhouse, version, stop };
}

/** Starts a streamer with a group of its own, into a database of the engine; `flags` lead to its buffer. */
export async function startStreamer({ engine, database, group, flags }, { execArgv = [] } = {}) {
  const listen = ['--stream-listen', `127.0.0.1:${await findFreePort()}`, '--log-level', 'warn'];
  const clickhouse = ['--clickhouse-url', engine.url, '--clickhouse-database', database];
  return await startMillrace(['stream', ...listen, ...clickhouse, '--kafka-group', group, ...flags], {
    execArgv,
  });
}

/**
 * Parts that inserts have made in `events`, merged since or not: each takes a block number of its month, and a merged
 * one those of its parts.
 */
export async function readPartsMade(clickhouse, database) {
  const [{ parts }] = await clickhouse.query(
    `SELECT toFloat64(sum(last)) AS parts FROM (SELECT max(max_block_number) AS last FROM system.parts
     WHERE database = '${database}' AND table = 'events' GROUP BY partition)`,
  );
  return parts;
}
