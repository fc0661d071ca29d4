import { expect, test } from 'vitest';
import type { BufferInspector } from '../../../src/buffer/buffer.ts';
import type { Source } from '../../../src/verify/coverage.ts';
import { findMissing } from '../../../src/verify/missing.ts';
import type { PartitionScope } from '../../../src/verify/partition-scope.ts';

/** ClickHouse lacks these offsets of the first bucket. */
function sourceLacking(missing: readonly number[]): Source {
  const clickhouse = { query: async () => [{ bucket: 0, missing }], execute: async () => {} };
  const tables = { ...{ database: 'd', events: 'e', deadLetters: 'l', repeats: 'r' }, isReplicated: false };
  return { clickhouse: clickhouse as unknown as Source['clickhouse'], tables, topic: 't', topicId: 'T' };
}

const checked = { start: 0, end: 60_000 };
const scope: PartitionScope = {
  ...{ partition: 0, committed: 60_000, isCommitted: true, inFlight: undefined, expired: undefined },
  view: { partition: 0, ...checked, commit: { offset: 60_000, plan: '' } },
  checked,
  span: checked,
};
const bucket = {
  ...{ partition: 0, bucket: 0, region: 1, delivered: 55_000, rows: 55_000, row_offsets: 55_000 },
  ...{ dead_letters: 0, repeats: 0, repeats_kept: 0, highest: 59_999 },
};

test('looks at many offsets without a record, each alone, within a small part of the limit for reading', async () => {
  const markers = Array.from({ length: 5_000 }, (_, i) => i * 12);
  const asked: number[] = [];
  // As Kafka: what is asked for is given, whether it is of use or not, and a record of the marker there is none.
  const inspector: Pick<BufferInspector, 'isDense' | 'read'> = {
    isDense: false,
    async read(_partition, from, { maxBytes }) {
      asked.push(maxBytes);
      const bytes = Buffer.alloc(maxBytes);
      const block = { count: 1, bytes, starts: [0], ends: [1], offsets: [from + 1], receivedAt: [0] };
      return { blocks: [block], next: from + 2 };
    },
  };
  const budget = { left: 1024 ** 3 };
  const context = { source: sourceLacking(markers), inspector, budget };
  const found = await findMissing(context, scope, { buckets: [bucket], receipts: undefined });
  expect(found).toMatchObject({ gaps: 5_000, unconfirmed: 0, missing: { offsets: 0 } });
  expect(asked).toHaveLength(5_000);
  expect(1024 ** 3 - budget.left).toBeLessThan(16 * 1024 ** 2);
});

test('reads a long run of them in large pieces', async () => {
  const run = Array.from({ length: 50_000 }, (_, i) => i);
  const asked: number[] = [];
  const inspector: Pick<BufferInspector, 'isDense' | 'read'> = {
    isDense: false,
    async read(_partition, from, { maxBytes }) {
      asked.push(maxBytes);
      return { blocks: [], next: from + 50_000 };
    },
  };
  const context = { source: sourceLacking(run), inspector, budget: { left: 1024 ** 3 } };
  const found = await findMissing(context, scope, { buckets: [bucket], receipts: undefined });
  expect(found.gaps).toBe(50_000);
  expect(asked).toEqual([256 * 1024]);
});
