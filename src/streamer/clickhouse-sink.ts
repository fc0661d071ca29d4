/** Inserts batches into ClickHouse: the same bytes and token until it works, refused rows to the dead letters. */
import type { Logger } from 'pino';
import { FencedError, type OwnedPartition } from '../buffer/buffer.ts';
import { type ClickHouse, ClickHouseError, ClickHouseUnavailableError } from '../clickhouse/client.ts';
import { insertedColumns, insertSettings, readStructure, type Tables } from '../clickhouse/tables.ts';
import { messageOf } from '../errors.ts';
import { BackOff } from './back-off.ts';
import type { SealedBatch } from './batch.ts';
import { encodeDeadLetters } from './dead-letters.ts';
import type { Sink } from './deliver.ts';
import { findRefusedRows, isDataError, type RefusedRow, withoutRows } from './refused-rows.ts';

/** Told how inserts go. */
export interface InsertObserver {
  /** A batch is done: `rows` of it are in the table, the others are dead letters. */
  inserted(
    batch: SealedBatch,
    partition: OwnedPartition,
    result: { rows: number; milliseconds: number },
  ): void;
  /** One attempt failed; `code` is ClickHouse's, 0 without an answer. */
  insertFailed(code: number, error: Error): void;
  deadLettered(rows: number): void;
}

/** What the sink needs. */
export interface SinkOptions {
  readonly clickhouse: ClickHouse;
  readonly tables: Tables;
  readonly observer: InsertObserver;
  readonly log: Logger;
}

/** Makes the sink. */
export function createClickHouseSink({ clickhouse, tables, observer, log }: SinkOptions): Sink {
  const insertEvents = `INSERT INTO ${tables.events} (${insertedColumns.join(', ')}) FORMAT RowBinaryWithDefaults`;
  const insertDeadLetters = `INSERT INTO ${tables.deadLetters} FORMAT RowBinary`;

  async function send(sql: string, body: Uint8Array, token: string): Promise<void> {
    await clickhouse.insert(sql, body, {
      settings: { ...insertSettings, insert_deduplication_token: token },
    });
  }

  /** Bad rows first, so that no moment exists in which a row is in neither place; then the good ones as one block. */
  async function insertAround(
    batch: SealedBatch,
    error: ClickHouseError,
    partition: OwnedPartition,
  ): Promise<number> {
    const structure = await readStructure(clickhouse, tables.database);
    const dryRun = `INSERT INTO FUNCTION null(${structure}) FORMAT RowBinaryWithDefaults`;
    const isRefused = async (rows: Uint8Array): Promise<ClickHouseError | undefined> => {
      if (partition.signal.aborted)
        throw new FencedError('ownership ended while refused rows were looked for');
      try {
        await clickhouse.insert(dryRun, rows, { settings: insertSettings });
        return undefined;
      } catch (failure) {
        if (failure instanceof ClickHouseError && isDataError(failure)) return failure;
        throw failure;
      }
    };
    const refused = await findRefusedRows(batch, isRefused);
    if (refused.length === 0) throw error;
    await send(insertDeadLetters, encodeDeadLetters(batch, refused, partition), `${batch.plan.token}:dead`);
    reportDeadLetters(refused, partition);
    const good = withoutRows(batch, refused);
    if (good.length > 0) await send(insertEvents, good, batch.plan.token);
    return batch.plan.rows - refused.length;
  }

  function reportDeadLetters(refused: readonly RefusedRow[], { topic, partition }: OwnedPartition): void {
    observer.deadLettered(refused.length);
    const [first] = refused;
    log.warn(
      { topic, partition, rows: refused.length, reason: first?.error.message.slice(0, 500) },
      `ClickHouse refused ${refused.length} rows; they are in ${tables.deadLetters}`,
    );
  }

  /** Inserts once; the number of rows that are in the table then. */
  async function attempt(batch: SealedBatch, partition: OwnedPartition): Promise<number> {
    try {
      await send(insertEvents, batch.body, batch.plan.token);
      return batch.plan.rows;
    } catch (error) {
      if (!(error instanceof ClickHouseError && isDataError(error))) throw error;
      observer.insertFailed(error.code, error);
      return await insertAround(batch, error, partition);
    }
  }

  return {
    async insert(batch, partition) {
      const startedAt = performance.now();
      const backOff = new BackOff();
      let lastMessage = '';
      for (;;) {
        if (partition.signal.aborted && lastMessage !== '')
          throw new FencedError('ownership ended before the insert succeeded');
        try {
          const rows = await attempt(batch, partition);
          if (lastMessage !== '') log.info(`ClickHouse takes inserts again`);
          observer.inserted(batch, partition, { rows, milliseconds: performance.now() - startedAt });
          return;
        } catch (error) {
          if (!(error instanceof ClickHouseError || error instanceof ClickHouseUnavailableError)) throw error;
          observer.insertFailed(error instanceof ClickHouseError ? error.code : 0, error);
          if (messageOf(error) !== lastMessage) {
            lastMessage = messageOf(error);
            log.warn(
              `an insert failed and is tried again with the same token: ${lastMessage.slice(0, 1_000)}`,
            );
          }
          await backOff.wait(partition.signal);
        }
      }
    },
  };
}
