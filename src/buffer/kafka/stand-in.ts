/** What is read in place of a record batch that cannot be read, so that each of its offsets is accounted for. */
import type { BatchRange } from './batch-records.ts';
import { batchLayout, currentMagic, readInt64 } from './record-batch.ts';
import type { RecordColumns } from './record-columns.ts';
import type { UnreadableBatchError } from './unreadable.ts';

/** Most records that stand in for one batch: a larger count is not believed. */
const maxStandIns = 100_000;
/** Bytes of the batch that are kept: all of one that Kafka takes by default (`max.message.bytes`). */
const maxKeptBytes = 1024 * 1024;
/** Times from then on are none: the year 2100, in milliseconds since the epoch. */
const endOfTime = 4_102_444_800_000;

/**
 * Appends one record for each offset from `from` on, or, when the batch does not say plausibly how many it has, a
 * single one at its last offset. The last carries the batch as it is stored, cut off at 1 MiB; the others are empty. A
 * function of the batch alone: whoever reads it again, from whichever offset, finds the same.
 */
export function appendStandIns(
  batch: Buffer,
  { baseOffset, lastOffset, from }: BatchRange,
  columns: RecordColumns,
  { code, message }: UnreadableBatchError,
): void {
  const isCurrent = batch.readInt8(batchLayout.magic) === currentMagic;
  const total = isCurrent ? batch.readInt32BE(batchLayout.count) : 1;
  const each = total === lastOffset - baseOffset + 1 && total <= maxStandIns;
  const maxTimestamp = isCurrent ? readInt64(batch, batchLayout.maxTimestamp) : 0;
  const receivedAt = maxTimestamp > 0 && maxTimestamp < endOfTime ? maxTimestamp : 0;
  const kept = batch.subarray(0, maxKeptBytes);
  const reason = `${code}: the record batch of offsets ${baseOffset} to ${lastOffset}, ${batch.length} bytes as stored, cannot be read: ${message}`;
  for (let offset = each ? Math.max(baseOffset, from) : lastOffset; offset <= lastOffset; offset++) {
    const value = offset === lastOffset ? kept : kept.subarray(0, 0);
    columns.addUnreadable(offset, receivedAt, { value, reason });
  }
}
