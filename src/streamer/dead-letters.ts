/** Writes refused records as rows of `dead_letters`. */

import type { SealedBatch } from './batch.ts';
import type { PartitionIdentity } from './plan.ts';
import { type RefusedRow, rowStart } from './refused-rows.ts';

const dataMark = ',"data":';
const maxReasonLength = 2_000;

/** The record inside a row of the insert body. */
export interface RecordOfRow {
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** The record's value, byte for byte. */
  readonly raw: Buffer;
}

/** Takes a row apart again: the batch keeps no second copy of its records. */
export function readRow(row: Buffer): RecordOfRow {
  const mark = row.indexOf(dataMark);
  const head = JSON.parse(`${row.toString('utf8', 0, mark)}}`) as { offset: number; received_at: number };
  return {
    offset: head.offset,
    receivedAt: head.received_at,
    raw: row.subarray(mark + dataMark.length, row.length - 2),
  };
}

/**
 * The rows of `dead_letters` in RowBinary, which carries any bytes: what was refused may be no valid text.
 * The order of the fields is that of the table.
 */
export function encodeDeadLetters(
  batch: SealedBatch,
  refused: readonly RefusedRow[],
  { topic, partition }: PartitionIdentity,
): Buffer {
  const pieces: Buffer[] = [];
  for (const { index, error } of refused) {
    const { offset, receivedAt, raw } = readRow(
      batch.body.subarray(rowStart(batch, index), rowStart(batch, index + 1)),
    );
    const numbers = Buffer.alloc(4 + 8 + 8 + 8 + 4);
    numbers.writeUInt32LE(partition, 0);
    numbers.writeBigUInt64LE(BigInt(offset), 4);
    numbers.writeBigInt64LE(BigInt(receivedAt), 12);
    numbers.writeBigInt64LE(BigInt(batch.plan.sealedAt), 20);
    numbers.writeUInt32LE(error.code, 28);
    pieces.push(...encodeString(Buffer.from(topic)), numbers);
    pieces.push(...encodeString(Buffer.from(error.message.slice(0, maxReasonLength))), ...encodeString(raw));
  }
  return Buffer.concat(pieces);
}

function encodeString(bytes: Buffer): [Buffer, Buffer] {
  const length: number[] = [];
  let rest = bytes.length;
  while (rest >= 0x80) {
    length.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  length.push(rest);
  return [Buffer.from(length), bytes];
}
