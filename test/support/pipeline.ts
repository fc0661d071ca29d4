/** A real streamer between a buffer and the embedded ClickHouse, in this process. */
import { pino } from 'pino';
import type { BufferReader } from '../../src/buffer/buffer.ts';
import { type ClickHouse, createClickHouse } from '../../src/clickhouse/client.ts';
import { loadSchema } from '../../src/schema/schema.ts';
import { type Streamer, startStreamer } from '../../src/streamer/streamer.ts';

/** A client of the ClickHouse at `url`. */
export function connect(url: string): ClickHouse {
  return createClickHouse({
    url: new URL(url),
    database: '',
    user: 'default',
    password: '',
    timeoutMs: 60_000,
  });
}

/** A client that does the same, but for these methods. */
export function changeClient(client: ClickHouse, changed: Partial<ClickHouse>): ClickHouse {
  return {
    url: client.url,
    query: (...args) => client.query(...args),
    stream: (...args) => client.stream(...args),
    execute: (...args) => client.execute(...args),
    insert: (...args) => client.insert(...args),
    ping: () => client.ping(),
    close: () => client.close(),
    ...changed,
  };
}

/** Limits that have nothing to do with what tests of a whole pipeline look at. */
const wide = { idsLimits: { windowMs: 600_000, maxIds: 1_000_000 }, settleAfterMs: 600_000 };

/** Starts a streamer; `clickhouse` is closed with it. */
export async function deliverTo(
  database: string,
  options: { reader: BufferReader; clickhouse: ClickHouse; batchRows?: number },
): Promise<Streamer> {
  const { reader, clickhouse, batchRows = 1_000 } = options;
  const { columns } = loadSchema();
  return await startStreamer({
    ...wide,
    listen: { host: '127.0.0.1', port: 0 },
    reader,
    statusHosts: [],
    buffer: 'test',
    clickhouse,
    tables: { database, cluster: undefined, columns },
    limits: { rows: batchRows, bytes: 1_000_000, ageMs: 20 },
    log: pino({ level: process.env.MILLRACE_TEST_LOG ?? 'silent' }),
  });
}
