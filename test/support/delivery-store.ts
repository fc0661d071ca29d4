/** A real ClickHouse with the tables, and what a delivery test asks of it. */
import { pino } from 'pino';
import type { OwnedPartition } from '../../src/buffer/buffer.ts';
import { type ClickHouse, createClickHouse } from '../../src/clickhouse/client.ts';
import { EventsStructure } from '../../src/clickhouse/inserts.ts';
import type { TablesOptions } from '../../src/clickhouse/table-definitions.ts';
import { ensureTables, nameTables, type Tables } from '../../src/clickhouse/tables.ts';
import { loadSchema } from '../../src/schema/schema.ts';
import { createClickHouseSink, type InsertResult } from '../../src/streamer/inserts/clickhouse-sink.ts';
import type { BlockOwner, BlockTarget } from '../../src/streamer/inserts/insert-block.ts';
import type { SealedBatch } from '../../src/streamer/protocol/batch.ts';
import { Lease } from '../../src/streamer/protocol/lease.ts';
import { startTestEngine, type TestEngine } from './engine.ts';
import { testIdentity } from './sealed-batch.ts';

const log = pino({ level: 'silent' });

/** Where each offset is, in order; an offset that is twice in a table is there twice. */
export interface Stored {
  readonly events: readonly number[];
  readonly deadLetters: readonly number[];
  readonly repeats: readonly number[];
}

/** A dead letter as stored. */
export interface StoredLetter {
  readonly offset: number;
  readonly code: number;
  readonly column: string;
  readonly reason: string;
  readonly raw: Buffer;
}

/** A running ClickHouse, and databases in it. */
export interface DeliveryStore {
  readonly clickhouse: ClickHouse;
  /** Makes the tables in a database of their own. */
  createTables(options?: Partial<TablesOptions>): Promise<Tables>;
  stored(tables: Tables, topicId: string): Promise<Stored>;
  letters(tables: Tables, topicId: string): Promise<StoredLetter[]>;
  /** Ends the server with SIGKILL and starts it again with the same data at the same address. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** Those that its user has rights in. */
const names = Array.from({ length: 100 }, (_, index) => `d${index}`);

/** Starts it. */
export async function openDeliveryStore(): Promise<DeliveryStore> {
  let engine: TestEngine = await startTestEngine({ databases: names });
  const url = new URL(engine.url);
  const clickhouse = createClickHouse({
    url,
    database: '',
    user: 'default',
    password: '',
    timeoutMs: 60_000,
  });
  let databases = 0;

  async function offsetsIn(table: string, topicId: string): Promise<number[]> {
    const sql = `SELECT offset FROM ${table} WHERE topic_id = {topicId:String} ORDER BY offset`;
    const rows = await clickhouse.query<{ offset: number | string }>(sql, { params: { topicId } });
    return rows.map(({ offset }) => Number(offset));
  }

  return {
    clickhouse,
    async createTables(change) {
      const database = names[databases++];
      if (database === undefined) throw new Error(`a store has ${names.length} databases at most`);
      const options = { database, cluster: undefined, columns: loadSchema().columns, ...change };
      await ensureTables(clickhouse, options, log);
      return nameTables(options);
    },
    async stored({ events, deadLetters, repeats }, topicId) {
      return {
        events: await offsetsIn(events, topicId),
        deadLetters: await offsetsIn(deadLetters, topicId),
        repeats: await offsetsIn(repeats, topicId),
      };
    },
    async letters({ deadLetters }, topicId) {
      const sql = `SELECT offset, code, \`column\`, reason, hex(raw) AS raw FROM ${deadLetters} WHERE topic_id = {topicId:String} ORDER BY offset SETTINGS max_result_bytes = 1000000000`;
      const rows = await clickhouse.query<Omit<StoredLetter, 'raw'> & { raw: string }>(sql, {
        params: { topicId },
      });
      return rows.map((row) => ({ ...row, offset: Number(row.offset), raw: Buffer.from(row.raw, 'hex') }));
    },
    async restart() {
      await engine.stop('SIGKILL');
      engine = await startTestEngine({ dataDir: engine.dataDir, port: Number(url.port), databases: names });
    },
    async close() {
      await clickhouse.close();
      await engine.dispose();
    },
  };
}

/** Where blocks go. */
export function targetOf(clickhouse: ClickHouse, tables: Tables): BlockTarget {
  return { clickhouse, tables, structure: new EventsStructure(clickhouse, { database: tables.database }) };
}

/** A real sink, and what it said. */
export function createRealSink(clickhouse: ClickHouse, tables: Tables, settleAfterMs = 1_800_000) {
  const inserted: InsertResult[] = [];
  const settled: { reason: string; found: number }[] = [];
  const failures: string[] = [];
  const observer = {
    inserted: (_: SealedBatch, __: OwnedPartition, result: InsertResult) => void inserted.push(result),
    insertFailed: (_: number, error: Error) => void failures.push(error.message),
    ...{ began: () => {}, delayed: () => {}, ended: () => {}, refused: () => {} },
    settled: (_: SealedBatch, __: OwnedPartition, how: { reason: string; found: number }) =>
      void settled.push(how),
  };
  const sink = createClickHouseSink({ clickhouse, tables, observer, settleAfterMs, log });
  return { sink, inserted, settled, failures };
}

/** An owner whose partition nobody else wants. */
export async function ownerOf(batch: SealedBatch, topicId: string): Promise<BlockOwner> {
  const partition: OwnedPartition = {
    ...testIdentity,
    topicId,
    signal: new AbortController().signal,
    committed: async () => undefined,
    bounds: async () => ({ start: batch.plan.start, end: batch.plan.end }),
    read: async (from) => ({ blocks: [], next: from }),
    commit: async () => {},
  };
  return { partition, lease: await Lease.take(partition, batch, undefined) };
}
