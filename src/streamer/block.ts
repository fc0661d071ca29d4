/** What goes to ClickHouse under one token: a batch, or what is missing of one. */
import type { SealedBatch } from './batch.ts';
import { type RecordOfRow, readRow } from './row-writer.ts';

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
  return { tokenFor: () => batch.plan.token, batch, rows: batch.ends.map((_, index) => index) };
}

/** The record of row `index` of a batch. */
export function recordOf(batch: SealedBatch, index: number): RecordOfRow {
  return readRow(batch.body.subarray(rowStart(batch, index), rowStart(batch, index + 1)));
}

/** The rows at these positions, ascending, as one body; without a copy when they are next to each other. */
export function bodyOf(batch: SealedBatch, rows: readonly number[]): Buffer {
  const pieces: Buffer[] = [];
  for (let i = 0; i < rows.length; ) {
    const first = rows[i] as number;
    let last = first;
    for (i++; i < rows.length && rows[i] === last + 1; i++) last++;
    pieces.push(batch.body.subarray(rowStart(batch, first), rowStart(batch, last + 1)));
  }
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}

/** Where row `index` of a batch begins. */
function rowStart({ ends }: SealedBatch, index: number): number {
  return index === 0 ? 0 : (ends[index - 1] as number);
}
