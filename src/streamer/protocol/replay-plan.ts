/** Reads again what an earlier owner had planned. */
import type { OwnedPartition } from '../../buffer/buffer.ts';
import { BatchRows } from '../../clickhouse/rows/batch-rows.ts';
import { exitCodes, OperatorError } from '../../errors.ts';
import { EventLinks } from '../../tracing/trace-context.ts';
import type { RecentIds } from '../ids/recent-ids.ts';
import { GrowingBatch, type SealedBatch } from './batch.ts';
import type { Plan } from './plan.ts';

const readBytes = 4 * 1024 * 1024;
const readWaitMs = 1_000;

/** The batch of a stored plan, with the plan as stored, and how much of it is left. */
interface ReplayedBatch {
  /** Undefined when nothing of the plan survived. */
  readonly batch: SealedBatch | undefined;
  /** Offsets of the range that retention has removed. */
  readonly expired: number;
  /** Whether other records count as repeats than did when the plan was made. */
  readonly hasOtherRepeats: boolean;
}

/**
 * Reads the records of a plan again, by position, and gives them the stored token.
 * @throws OperatorError when what is stored now is not what the plan was made of: going on could repeat rows
 * @throws OffsetOutOfRangeError when retention removes records meanwhile: try again
 */
export async function replayPlan(
  partition: OwnedPartition,
  plan: Plan,
  { ids, isTraced }: { ids?: RecentIds | undefined; isTraced?: boolean | undefined } = {},
): Promise<ReplayedBatch> {
  const { start, end } = await partition.bounds();
  if (end < plan.end) throw mismatch(partition, plan, `the buffer ends at ${end}`);
  const expired = Math.min(Math.max(start - plan.start, 0), plan.end - plan.start);
  const links = isTraced ? new EventLinks() : undefined;
  const growing = new GrowingBatch(new BatchRows(partition), ids, links);
  await readRange(partition, { from: Math.max(plan.start, start), end: plan.end }, (block, index) =>
    growing.add(block, index),
  );
  const sealed = growing.seal(plan.start);
  const { rows, crc, repeatsCrc } = sealed.plan;
  if (expired === 0 && (rows !== plan.rows || crc !== (plan.crc ?? crc))) {
    throw mismatch(partition, plan, `it holds ${rows} rows with crc ${crc} there`);
  }
  if (rows === 0) return { batch: undefined, expired, hasOtherRepeats: false };
  return {
    batch: { ...sealed, plan: { ...plan, crc: plan.crc ?? crc } },
    expired,
    hasOtherRepeats: repeatsCrc !== plan.repeatsCrc,
  };
}

/** Reads the records with from <= offset < end, in order. @throws OffsetOutOfRangeError */
export async function readRange(
  partition: OwnedPartition,
  { from, end }: { from: number; end: number },
  take: GrowingBatch['add'],
): Promise<void> {
  let position = from;
  while (position < end) {
    const { blocks, next } = await partition.read(position, { maxBytes: readBytes, maxWaitMs: readWaitMs });
    for (const block of blocks) {
      for (let index = 0; index < block.count && (block.offsets[index] as number) < end; index++)
        take(block, index);
    }
    position = next;
  }
}

function mismatch({ topic, partition }: OwnedPartition, plan: Plan, found: string): OperatorError {
  return new OperatorError(
    `the plan in flight for ${topic}/${partition} says ${plan.rows} rows with crc ${plan.crc} in offsets ` +
      `${plan.start} to ${plan.end}, but ${found}. The topic was truncated, or deleted and created again; nothing was inserted. ` +
      'Compare the topic with the table, then commit the offset to continue from',
    exitCodes.failure,
  );
}
