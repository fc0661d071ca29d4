import { BatchRows } from '../../src/clickhouse/rows/batch-rows.ts';
import { encodeNative } from '../../src/clickhouse/rows/native-block.ts';
import { RecentIds } from '../../src/streamer/ids/recent-ids.ts';
import { allRowsOf } from '../../src/streamer/inserts/insert-block.ts';
import { GrowingBatch, type SealedBatch } from '../../src/streamer/protocol/batch.ts';
import { blockOf } from './records.ts';

/** Where {@link sealedOf} says that its records come from. */
export const testIdentity = { topic: 'a "quoted" tøpic', topicId: 'id', partition: 3 };

/** What records a test batch has, beside their values. */
export interface TestRecords {
  /** Offset of the first. Default 0. */
  readonly offset?: number;
  /** Default: that of {@link testIdentity}. */
  readonly topicId?: string;
  /** Receive times, milliseconds since the epoch; the others have a fixed one. */
  readonly receivedAt?: readonly number[];
  /** Ids in their headers. */
  readonly ids?: readonly (string | undefined)[];
  /** Why records cannot be read; their values are what was kept. */
  readonly unreadable?: readonly (string | undefined)[];
}

/** A batch of records with these values. */
export function sealedOf(
  values: readonly (string | Uint8Array)[],
  { offset = 0, topicId = testIdentity.topicId, receivedAt = [], ids, unreadable }: TestRecords = {},
): SealedBatch {
  const recentIds = new RecentIds({ windowMs: 600_000, maxIds: 1_000 });
  const batch = new GrowingBatch(new BatchRows({ ...testIdentity, topicId }), recentIds);
  const plain = blockOf(values, offset);
  const block = {
    ...plain,
    receivedAt: values.map((_, index) => receivedAt[index] ?? (plain.receivedAt[index] as number)),
    ...(ids === undefined
      ? {}
      : { headers: ids.map((id) => (id === undefined ? [] : [['id', id] as const])) }),
    ...(unreadable === undefined ? {} : { unreadable }),
  };
  for (let index = 0; index < block.count; index++) batch.add(block, index);
  return batch.seal(offset);
}

/** Values of all records of a batch. */
export function valuesOf(batch: SealedBatch | undefined): string[] | undefined {
  return batch && allRowsOf(batch).map((index) => batch.rows.record(index).raw.toString());
}

/** Rows of a batch, all by default, as they are sent. */
export function bodyOf(batch: SealedBatch, indexes: readonly number[] = allRowsOf(batch)): Buffer {
  return encodeNative(batch.rows, indexes, { dataType: 'JSON', withRaw: false }).body;
}
