/** What the next owner of a partition does with a plan that was left open. */
import type { OwnedPartition } from '../buffer/buffer.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { GrowingBatch, type SealedBatch } from './batch.ts';
import type { Plan } from './plan.ts';

const readBytes = 4 * 1024 * 1024;
const readWaitMs = 1_000;

/** The batch of a stored plan, and how many of its records retention has removed. */
export interface ReplayedBatch {
  /** Undefined when nothing of the plan survived. */
  readonly batch: SealedBatch | undefined;
  readonly expired: number;
}

/**
 * Reads the records of a plan again, by position, and gives them the stored token.
 * @throws OperatorError when what is stored now is not what the plan was made of: going on could repeat rows
 */
export async function replayPlan(partition: OwnedPartition, plan: Plan): Promise<ReplayedBatch> {
  const { start, end } = await partition.bounds();
  if (end < plan.end) throw mismatch(partition, plan, `the buffer ends at ${end}`);
  const expired = Math.min(Math.max(start - plan.start, 0), plan.end - plan.start);
  const batch = await readRange(partition, Math.max(plan.start, start), plan.end);
  if (batch.rows === 0) return { batch: undefined, expired };
  const sealed = batch.seal(plan.start);
  if (expired === 0 && (sealed.plan.rows !== plan.rows || sealed.plan.crc !== plan.crc)) {
    throw mismatch(partition, plan, `it holds ${sealed.plan.rows} rows with crc ${sealed.plan.crc} there`);
  }
  return { batch: { ...sealed, plan: { ...plan, rows: sealed.plan.rows, crc: sealed.plan.crc } }, expired };
}

async function readRange(partition: OwnedPartition, from: number, end: number): Promise<GrowingBatch> {
  const batch = new GrowingBatch(partition);
  let position = from;
  while (position < end) {
    const { blocks, next } = await partition.read(position, { maxBytes: readBytes, maxWaitMs: readWaitMs });
    for (const block of blocks) {
      for (let index = 0; index < block.count && (block.offsets[index] as number) < end; index++)
        batch.add(block, index);
    }
    position = next;
  }
  return batch;
}

function mismatch({ topic, partition }: OwnedPartition, plan: Plan, found: string): OperatorError {
  return new OperatorError(
    `the plan in flight for ${topic}/${partition} says ${plan.rows} rows with crc ${plan.crc} in offsets ` +
      `${plan.start} to ${plan.end}, but ${found}. The topic was truncated or made anew; nothing was inserted. ` +
      'Compare the topic with the table, then commit the offset to go on from',
    exitCodes.failure,
  );
}
