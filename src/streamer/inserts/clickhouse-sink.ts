/** Inserts batches into ClickHouse: the same bytes and token until it works. */
import type { Logger } from 'pino';
import type { OwnedPartition, PartitionIdentity } from '../../buffer/buffer.ts';
import type { ClickHouseError } from '../../clickhouse/errors.ts';
import { EventsStructure } from '../../clickhouse/inserts.ts';
import { unreadableCode } from '../../clickhouse/rows/dead-letter.ts';
import type { RefusedRow } from '../../clickhouse/rows/refused-rows.ts';
import type { KeepRaw } from '../../clickhouse/table-definitions.ts';
import type { SealedBatch } from '../protocol/batch.ts';
import type { InsertOptions, Sink } from '../protocol/delivery.ts';
import { countDelivered, findLastDelivered, findOffsets } from './delivered-offsets.ts';
import { type Block, type BlockResult, type BlockTarget, blockOf, insertBlock } from './insert-block.ts';
import { createPersist, type TryObserver } from './persist.ts';
import { findTokenDoubt, settleBatch } from './settle.ts';

/** Told options inserts go. */
export interface InsertObserver extends TryObserver {
  /** A batch is done: each record is in one of the tables. */
  inserted(batch: SealedBatch, partition: OwnedPartition, result: InsertResult): void;
  /** ClickHouse refused rows of an insert, with this code. */
  refused(code: number): void;
  /** A batch was settled by asking, for this reason; ClickHouse had `found` of its records. */
  settled(batch: SealedBatch, partition: OwnedPartition, settlement: { reason: string; found: number }): void;
}

/** How a batch was inserted. */
export interface InsertResult {
  /** Rows of `events`, dead letters and repeats that this process inserted. */
  readonly rows: number;
  readonly deadLetters: number;
  readonly repeats: number;
  /** Retries included. */
  readonly milliseconds: number;
}

/** What the sink needs. */
interface SinkOptions extends Omit<BlockTarget, 'structure' | 'refused'> {
  readonly observer: InsertObserver;
  /** Whether rows keep the bytes of their events. Default: always. */
  readonly keepRaw?: KeepRaw | undefined;
  /** A plan older than this is settled by asking ClickHouse, milliseconds. */
  readonly settleAfterMs: number;
  readonly log: Logger;
}

/** Whether nobody can have tried to insert the batch before. */
function isFirst({ attempt, isReplay }: { attempt: number; isReplay: boolean }): boolean {
  return attempt === 1 && !isReplay;
}

/** Says options many records of a batch went to the dead letters, by kind, and why the first of each did. */
function reportDeadLetters(
  log: Logger,
  { batch, refused, table }: { batch: SealedBatch; refused: readonly RefusedRow[]; table: string },
): void {
  const isUnreadable = ({ error }: RefusedRow): boolean => error.code === unreadableCode;
  const unreadable = refused.filter(isUnreadable);
  const others = refused.filter((row) => !isUnreadable(row));
  tell('error', unreadable, `${unreadable.length} records cannot be read; they are in ${table}`);
  tell(
    'warn',
    others,
    `ClickHouse refused ${others.length} rows; they are in ${table}, with the reasons in full`,
  );

  function tell(level: 'warn' | 'error', rows: readonly RefusedRow[], message: string): void {
    const [first] = rows;
    if (first === undefined) return;
    const { topic, partition } = batch.rows.identity;
    const { offset } = batch.rows.record(first.index);
    const reason = first.error.message.slice(0, 500);
    log[level]({ topic, partition, rows: rows.length, offset, reason }, message);
  }
}

/** Makes the sink. */
export function createClickHouseSink(options: SinkOptions): Sink {
  const { clickhouse, tables, keepRaw, observer, settleAfterMs, log } = options;
  const refused = ({ code }: ClickHouseError): void => observer.refused(code);
  const structure = new EventsStructure(clickhouse, { database: tables.database, keepRaw });
  const persist = createPersist(options);
  const target: BlockTarget = { ...options, structure, refused };

  /** Why the token must not be relied on in this attempt. */
  async function findDoubt(batch: SealedBatch, attempt: number, { isReplay, doubt }: InsertOptions) {
    if (doubt !== undefined) return doubt;
    // The first insert of a new plan: nobody can have sent it before.
    if (isFirst({ attempt, isReplay })) return undefined;
    return await findTokenDoubt(clickhouse, tables, { plan: batch.plan, settleAfterMs });
  }

  /**
   * Records that an attempt before this one has made dead letters must not be tried again: when the table takes
   * them by now, `dead-letters replay` may have inserted them.
   */
  async function withoutDeadLetters(batch: SealedBatch, identity: PartitionIdentity): Promise<Block> {
    const range = { identity, range: batch.plan, table: 'deadLetters' } as const;
    const found = await findOffsets(clickhouse, tables, range);
    const dead = new Set(found.map(({ offset }) => offset));
    const block = blockOf(batch);
    if (dead.size === 0) return block;
    return { ...block, rows: block.rows.filter((index) => !dead.has(batch.rows.record(index).offset)) };
  }

  async function tryInsert(
    batch: SealedBatch,
    partition: OwnedPartition,
    options: InsertOptions & { attempt: number },
  ): Promise<BlockResult> {
    const reason = await findDoubt(batch, options.attempt, options);
    const owner = { partition, lease: options.lease };
    if (reason === undefined) {
      const block = isFirst(options) ? blockOf(batch) : await withoutDeadLetters(batch, partition);
      return await insertBlock(target, block, owner);
    }
    const settlement = await settleBatch(target, batch, owner);
    observer.settled(batch, partition, { reason, found: settlement.found });
    return { ...settlement, rows: settlement.rows + settlement.found };
  }

  return {
    async insert(batch, partition, options) {
      const startedAt = performance.now();
      const result = await persist({ identity: partition, signal: partition.signal }, (attempt) =>
        tryInsert(batch, partition, { ...options, attempt }),
      );
      const { rows, repeats, refused } = result;
      reportDeadLetters(log, { batch, refused, table: tables.deadLetters });
      const milliseconds = performance.now() - startedAt;
      observer.inserted(batch, partition, { rows, repeats, deadLetters: refused.length, milliseconds });
    },
    countDelivered: (identity, range, signal) =>
      persist({ identity, signal }, () => countDelivered(clickhouse, tables, { identity, range })),
    findLastDelivered: (identity, from, signal) =>
      persist({ identity, signal }, () => findLastDelivered(clickhouse, tables, { identity, from })),
  };
}
