/** Writes refused records as rows of `dead_letters`. */
import type { SealedBatch } from './batch.ts';
import { recordOf } from './block.ts';
import type { PartitionIdentity } from './plan.ts';
import type { RefusedRow } from './refused-rows.ts';
import { RowBinary } from './row-binary.ts';

const maxReasonLength = 2_000;

/**
 * The rows of `dead_letters` in RowBinary, which carries any bytes: what was refused may be no valid text.
 * The order of the fields is that of the table.
 */
export function encodeDeadLetters(
  batch: SealedBatch,
  refused: readonly RefusedRow[],
  { topic, topicId, partition }: PartitionIdentity,
): Buffer {
  const rows = new RowBinary();
  for (const { index, error } of refused) {
    const { offset, receivedAt, eventId, raw } = recordOf(batch, index);
    rows.text(topic).text(topicId).uint32(partition).int64(offset).int64(receivedAt);
    rows.int64(batch.plan.sealedAt).text(eventId).uint32(error.code);
    rows.text(columnOf(error.message)).text(error.message.slice(0, maxReasonLength)).text(raw);
  }
  return rows.build();
}

/** ClickHouse names the path of `data` where it could not go on: `(while reading path status)`. */
function columnOf(message: string): string {
  return /while reading path ([^)]+)\)/.exec(message)?.[1] ?? '';
}
