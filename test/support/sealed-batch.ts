import { GrowingBatch, type SealedBatch } from '../../src/streamer/batch.ts';
import { blockOf } from './records.ts';

/** Where {@link sealedOf} says that its records come from. */
export const testIdentity = { topic: 'a "quoted" tøpic', topicId: 'id', partition: 3 };

/** A batch of records with these values, from `offset` on. */
export function sealedOf(values: readonly (string | Uint8Array)[], offset = 0): SealedBatch {
  const batch = new GrowingBatch(testIdentity);
  const block = blockOf(values, offset);
  for (let index = 0; index < block.count; index++) batch.add(block, index);
  return batch.seal(offset);
}
