/** What goes to ClickHouse under one token: a batch, or what is missing of one. */
import type { SealedBatch } from './batch.ts';
import type { BatchRecord } from './batch-rows.ts';

/** Rows of a batch that are inserted together. */
export interface Block {
  /** The token for those of the rows that one insert carries. */
  readonly tokenFor: (rows: readonly number[]) => string;
  readonly batch: SealedBatch;
  /** Positions in the batch, ascending. */
  readonly rows: readonly number[];
}

/** All of a batch, under the token of its plan. */
export function blockOf(batch: SealedBatch): Block {
  return { tokenFor: () => batch.plan.token, batch, rows: allRowsOf(batch) };
}

/** Positions of all records of a batch. */
export function allRowsOf({ rows }: SealedBatch): number[] {
  const indexes: number[] = [];
  for (let index = 0; index < rows.count; index++) indexes.push(index);
  return indexes;
}

/** The record of row `index` of a batch. */
export function recordOf({ rows }: Pick<SealedBatch, 'rows'>, index: number): BatchRecord {
  return rows.record(index);
}
