import { expect, test } from 'vitest';
import type { OwnedPartition } from '../../../../src/buffer/buffer.ts';
import { BatchRows } from '../../../../src/clickhouse/rows/batch-rows.ts';
import { GrowingBatch } from '../../../../src/streamer/protocol/batch.ts';
import { replayPlan } from '../../../../src/streamer/protocol/replay-plan.ts';
import { blockOf } from '../../../support/records.ts';
import { testIdentity, valuesOf } from '../../../support/sealed-batch.ts';

/** Offsets with gaps, as transactions and compaction leave them. */
const blocks = [blockOf(['a', 'b'], 5), blockOf(['c'], 9), blockOf(['d', 'e'], 14), blockOf(['f'], 30)];

/** A partition that holds these blocks from `start` on and gives one a read. */
function partitionFrom(start: number): OwnedPartition {
  return {
    ...testIdentity,
    signal: new AbortController().signal,
    committed: async () => undefined,
    bounds: async () => ({ start, end: 31 }),
    commit: async () => {},
    async read(from) {
      const next = blocks.find(({ offsets }) => (offsets[0] as number) >= from);
      if (next === undefined) return { blocks: [], next: 31 };
      return { blocks: [next], next: (next.offsets[next.count - 1] as number) + 1 };
    },
  };
}

/** The plan of everything from 3 on and before the record `e`. */
function createPlan() {
  const batch = new GrowingBatch(new BatchRows(testIdentity));
  for (const block of blocks.slice(0, 2)) {
    for (let index = 0; index < block.count; index++) batch.add(block, index);
  }
  batch.add(blocks[2] as (typeof blocks)[number], 0);
  return batch.seal(3).plan;
}

test('a plan is read again by position: its end cuts a block, and gaps count for nothing', async () => {
  const plan = createPlan();
  expect(plan).toMatchObject({ start: 3, end: 15, rows: 4 });
  const { batch, expired } = await replayPlan(partitionFrom(0), plan);
  expect(expired).toBe(0);
  expect(batch?.plan).toEqual(plan);
  expect(valuesOf(batch)).toEqual(['a', 'b', 'c', 'd']);
});

test('what retention left of a plan keeps its token, and nothing behind the plan comes in', async () => {
  const plan = createPlan();
  const { batch, expired } = await replayPlan(partitionFrom(9), plan);
  expect(expired).toBe(6);
  expect(batch?.plan).toEqual(plan);
  expect(valuesOf(batch)).toEqual(['c', 'd']);
  expect(await replayPlan(partitionFrom(20), plan)).toMatchObject({
    batch: undefined,
    expired: 12,
  });
});

test('a plan whose records are not those it was made of is refused', async () => {
  const plan = createPlan();
  await expect(replayPlan(partitionFrom(0), { ...plan, crc: (plan.crc ?? 0) ^ 1 })).rejects.toThrow(
    'nothing was inserted',
  );
  await expect(replayPlan(partitionFrom(0), { ...plan, end: 14 })).rejects.toThrow('3 rows');
  await expect(replayPlan(partitionFrom(0), { ...plan, end: 32 })).rejects.toThrow('ends at 31');
});
