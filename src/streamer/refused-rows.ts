/** Finds the rows of a batch that ClickHouse refuses. */
import type { ClickHouseError } from '../clickhouse/client.ts';
import type { SealedBatch } from './batch.ts';

/** A row of a batch that ClickHouse refuses by itself. */
export interface RefusedRow {
  /** Position in the batch. */
  readonly index: number;
  readonly error: ClickHouseError;
}

/**
 * ClickHouse's codes for data that it cannot read or convert. Any other error is about the server or the
 * table, and trying again can help; blaming a row for it would lose the row.
 * Source: src/Common/ErrorCodes.cpp of ClickHouse.
 */
const dataErrorCodes = new Set([
  6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 128, 130, 131, 165, 306, 349, 376, 407, 675, 676,
]);

/** Whether an error is about the rows. */
export function isDataError({ code }: ClickHouseError): boolean {
  return dataErrorCodes.has(code);
}

/** Tries rows without storing them: the error when one of them is refused. */
export type DryRun = (rows: Uint8Array) => Promise<ClickHouseError | undefined>;

/** Finds all refused rows by halving; the more rows are good, the fewer dry runs it takes. */
export async function findRefusedRows(batch: SealedBatch, dryRun: DryRun): Promise<RefusedRow[]> {
  const refused: RefusedRow[] = [];
  async function search(from: number, to: number): Promise<void> {
    const error = await dryRun(batch.body.subarray(rowStart(batch, from), rowStart(batch, to)));
    if (error === undefined) return;
    if (to - from === 1) {
      refused.push({ index: from, error });
      return;
    }
    const middle = (from + to) >> 1;
    await search(from, middle);
    await search(middle, to);
  }
  await search(0, batch.ends.length);
  return refused;
}

/** The rows of a batch without some of them, as one body. */
export function withoutRows(batch: SealedBatch, refused: readonly RefusedRow[]): Buffer {
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { index } of refused) {
    pieces.push(batch.body.subarray(from, rowStart(batch, index)));
    from = rowStart(batch, index + 1);
  }
  pieces.push(batch.body.subarray(from));
  return Buffer.concat(pieces);
}

/** Where row `index` of a batch begins. */
export function rowStart({ ends }: SealedBatch, index: number): number {
  return index === 0 ? 0 : (ends[index - 1] as number);
}
