import { beforeEach, expect, test } from 'vitest';
import { FencedError, type OwnedPartition } from '../../../../src/buffer/buffer.ts';
import type { ClickHouse } from '../../../../src/clickhouse/client.ts';
import { nameTables } from '../../../../src/clickhouse/tables.ts';
import { blockOf, insertBlock } from '../../../../src/streamer/inserts/insert-block.ts';
import { Lease } from '../../../../src/streamer/protocol/lease.ts';
import { decodeNote } from '../../../../src/streamer/protocol/plan.ts';
import { sealedOf, testIdentity } from '../../../support/sealed-batch.ts';

/** Both clocks of the machine. */
let now = 0;
/** How long the machine was suspended: only the wall clock knows. */
let suspended = 0;
const clock = () => ({ steady: now, wall: 1_000_000 + now + suspended });

beforeEach(() => {
  now = 1_000;
  suspended = 0;
});

const batch = sealedOf(['1', '2'], { offset: 7 });

/** A partition that writes commits down; each takes `commitMs`. */
function createPartition() {
  const state = { isFenced: false, commitMs: 0 };
  const commits: [offset: number, note: string][] = [];
  const partition: OwnedPartition = {
    ...testIdentity,
    signal: new AbortController().signal,
    committed: async () => undefined,
    bounds: async () => ({ start: 0, end: 9 }),
    read: async (from) => ({ blocks: [], next: from }),
    async commit(offset, note) {
      if (state.isFenced) throw new FencedError('replaced');
      now += state.commitMs;
      commits.push([offset, note]);
    },
  };
  return { partition, state, commits };
}

test('a lease is the committed plan, committed again once it is 3 s old', async () => {
  const { partition, commits } = createPartition();
  const lease = await Lease.take(partition, batch, undefined, clock);
  expect(commits.map(([offset, note]) => [offset, decodeNote(note)?.plan])).toEqual([[7, batch.plan]]);
  now += 2_999;
  await lease.hold();
  expect(commits).toHaveLength(1);
  now += 1;
  await lease.hold();
  expect(commits).toEqual([commits[0], commits[0]]);
});

test('a machine that was suspended for 3 s asks again, though its steady clock stood still', async () => {
  const { partition, state, commits } = createPartition();
  const lease = await Lease.take(partition, batch, undefined, clock);
  suspended += 3_000;
  await lease.hold();
  expect(commits).toHaveLength(2);
  suspended += 3_000;
  state.isFenced = true;
  await expect(lease.hold()).rejects.toThrow(FencedError);
});

test('a wall clock that is set back makes a lease no younger', async () => {
  const { partition, commits } = createPartition();
  const lease = await Lease.take(partition, batch, undefined, clock);
  suspended -= 3_600_000;
  now += 3_000;
  await lease.hold();
  expect(commits).toHaveLength(2);
});

test('its age counts from before the commit: a stopped process may find an old answer', async () => {
  const { partition, state, commits } = createPartition();
  state.commitMs = 5_000;
  const lease = await Lease.take(partition, batch, undefined, clock);
  await lease.hold();
  expect(commits).toHaveLength(2);
});

test('an owner that was stopped and replaced sends no request, neither the first nor a later one', async () => {
  const { partition, state } = createPartition();
  const lease = await Lease.take(partition, batch, undefined, clock);
  const sent: string[] = [];
  const clickhouse = {
    async insert(sql: string) {
      sent.push(sql);
      // Stopped while the repeats travel.
      now += 3_000;
      state.isFenced = true;
    },
  } as unknown as ClickHouse;
  const tables = nameTables({ database: 'd', cluster: undefined });
  const read = async () => ({ columns: '', dataType: 'JSON', withRaw: false });
  const target = { clickhouse, tables, structure: { current: read, read } };
  const repeating = { ...batch, repeats: [{ index: 1, earlierOffset: 7 }] };
  await expect(insertBlock(target, blockOf(repeating), { partition, lease })).rejects.toThrow(FencedError);
  expect(sent).toEqual([expect.stringContaining('repeats')]);
  await expect(insertBlock(target, blockOf(batch), { partition, lease })).rejects.toThrow(FencedError);
  expect(sent).toHaveLength(1);
});

test('a plan that could not be committed gives no lease', async () => {
  const { partition, state } = createPartition();
  state.isFenced = true;
  await expect(Lease.take(partition, batch, undefined, clock)).rejects.toThrow(FencedError);
});
