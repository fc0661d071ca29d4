/** Refused records as dead letters, and as rows of `dead_letters`. */

import { columnOf } from '../clickhouse/insert-error.ts';
import { type DeadLetter, unreadableCode } from '../dead-letters/dead-letter.ts';
import type { SealedBatch } from './batch.ts';
import { recordOf } from './block.ts';
import type { PartitionIdentity } from './plan.ts';
import type { RefusedRow } from './refused-rows.ts';
import { RowBinary } from './row-binary.ts';

const maxReasonLength = 2_000;

/** The records of a batch that cannot be read, as refused rows. */
export function unreadableOf({ unreadable }: Pick<SealedBatch, 'unreadable'>): RefusedRow[] {
  return unreadable.map(({ index, reason }) => ({
    index,
    error: { code: unreadableCode, message: reason, detail: reason },
  }));
}

/** The refused rows of a batch as dead letters; `raw` is a view on the batch. */
export function deadLettersOf(
  batch: SealedBatch,
  refused: readonly RefusedRow[],
  { topic, topicId, partition }: PartitionIdentity,
): DeadLetter[] {
  return refused.map(({ index, error }) => ({
    topic,
    topicId,
    partition,
    ...recordOf(batch, index),
    code: error.code,
    column: columnOf(error.detail),
    reason: error.detail.slice(0, maxReasonLength),
  }));
}

/**
 * The rows of `dead_letters` in RowBinary, which carries any bytes: what was refused may be no valid text.
 * The order of the fields is that of the table. `refusedAt` is in milliseconds since the epoch.
 */
export function encodeDeadLetters(letters: readonly DeadLetter[], refusedAt: number): Buffer {
  const rows = new RowBinary();
  for (const letter of letters) {
    rows.text(letter.topic).text(letter.topicId).uint32(letter.partition).int64(letter.offset);
    rows.int64(letter.receivedAt).int64(refusedAt).text(letter.eventId).uint32(letter.code);
    rows.text(letter.column).text(letter.reason).text(letter.raw);
  }
  return rows.build();
}
