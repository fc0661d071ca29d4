import { describe, expect, test } from 'vitest';
import { partitionOf, type RecordBlock } from '../../../src/buffer/records.ts';
import {
  type Chunk,
  ChunkBuilder,
  decodeChunkPlan,
  encodeChunkPlan,
  type Routing,
  spoolEventId,
} from '../../../src/spool/chunk.ts';
import { fc } from '../../support/fast-check.ts';
import { blockOf } from '../../support/records.ts';

const spoolId = 'a-spool';

function build(
  block: RecordBlock,
  routing: Routing,
  range: { start: number; end?: number },
): Chunk | undefined {
  const builder = new ChunkBuilder(spoolId, routing, range);
  builder.add(block);
  return builder.build();
}

/** Records of these sizes from offset 10 on; those with `id` carry it. */
function recordsOf(records: readonly { size: number; id: string | undefined }[]): RecordBlock {
  const block = blockOf(
    records.map(({ size }) => 'x'.repeat(size)),
    10,
  );
  return { ...block, headers: records.map(({ id }) => (id === undefined ? undefined : [['id', id]])) };
}

const records = fc.array(
  fc.record({ size: fc.integer({ min: 2, max: 400 }), id: fc.option(fc.string(), { nil: undefined }) }),
  { minLength: 1, maxLength: 200 },
);
const routings = fc
  .record({ partitions: fc.integer({ min: 1, max: 80 }), batchBytes: fc.integer({ min: 100, max: 20_000 }) })
  .chain((fixed) =>
    fc
      .record({ first: fc.integer({ min: 0, max: fixed.partitions - 1 }) })
      .map((more) => ({ ...fixed, ...more })),
  );

describe('chunks of the spool', () => {
  test('records with an id go where their repeats go; the others get an id, and stay together', () => {
    const block = recordsOf([
      { size: 5, id: 'one' },
      { size: 6, id: undefined },
      { size: 7, id: undefined },
    ]);
    const chunk = build(block, { partitions: 4, first: 2, batchBytes: 1_000 }, { start: 10 });
    expect(chunk?.end).toBe(13);
    expect(chunk?.batches.get(partitionOf('one', 4))?.headers.get(0)).toContainEqual(['id', 'one']);
    const plain = chunk?.batches.get(2);
    const ids = [...(plain?.headers.values() ?? [])].map((headers) => headers.at(-1)?.[1]);
    expect(ids).toEqual(expect.arrayContaining([spoolEventId(spoolId, 11), spoolEventId(spoolId, 12)]));
  });

  test('other headers stay', () => {
    const block = { ...blockOf(['a'], 7), headers: [[['traceparent', '00-1']]] as const };
    const chunk = build(block, { partitions: 1, first: 0, batchBytes: 1_000 }, { start: 7 });
    expect(chunk?.batches.get(0)?.headers.get(0)).toEqual([
      ['traceparent', '00-1'],
      ['id', spoolEventId(spoolId, 7)],
    ]);
  });

  test('a record larger than a batch is a batch of its own', () => {
    const block = recordsOf([
      { size: 5_000, id: undefined },
      { size: 5, id: undefined },
    ]);
    const chunk = build(block, { partitions: 1, first: 0, batchBytes: 1_000 }, { start: 10 });
    expect(chunk?.end).toBe(11);
  });

  test('every record is in one batch, in order, and no batch of several records is too large', () => {
    fc.assert(
      fc.property(records, routings, (given, routing) => {
        const chunk = build(recordsOf(given), routing, { start: 10 });
        const batches = [...(chunk?.batches.values() ?? [])];
        const counts = batches.map(({ count }) => count);
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe((chunk?.end ?? 10) - 10);
        expect(chunk?.end).toBeGreaterThan(10);
        for (const batch of batches) {
          const times = batch.receivedAt;
          expect([...times].sort((a, b) => a - b)).toEqual(times);
          if (batch.count > 1) expect(batch.byteLength).toBeLessThanOrEqual(routing.batchBytes);
        }
      }),
    );
  });

  test('is made again from its end and routing alone, however the records are read', () => {
    fc.assert(
      fc.property(records, routings, fc.integer({ min: 1, max: 50 }), (given, routing, step) => {
        const first = build(recordsOf(given), routing, { start: 10 });
        const end = first?.end ?? 10;
        const builder = new ChunkBuilder(spoolId, routing, { start: 10, end });
        for (let from = 0; from < given.length; from += step) {
          const all = recordsOf(given);
          builder.add({
            ...all,
            count: Math.min(step, given.length - from),
            starts: Array.from(all.starts).slice(from),
            ends: Array.from(all.ends).slice(from),
            offsets: Array.from(all.offsets).slice(from),
            receivedAt: Array.from(all.receivedAt).slice(from),
            headers: all.headers?.slice(from) ?? [],
          });
        }
        const again = builder.build();
        expect(again?.end).toBe(end);
        expect(contentsOf(again)).toEqual(contentsOf(first));
      }),
    );
  });
});

describe('plan of a chunk', () => {
  test('is read as it was written', () => {
    const plan = {
      end: 17,
      routing: { partitions: 4, first: 3, batchBytes: 1_000 },
      batches: [{ partition: 3, count: 17, ticket: 'kafka:1:0:5' }],
      madeAt: 1_763_690_000_123,
    };
    expect(decodeChunkPlan(encodeChunkPlan(plan))).toEqual(plan);
    expect(decodeChunkPlan('')).toBeUndefined();
  });

  test.each(['x', '{}', '{"v":2}'])('what is none is refused: %s', (text) => {
    expect(() => decodeChunkPlan(text)).toThrow('the plan in the spool');
  });
});

function contentsOf(chunk: Chunk | undefined) {
  return [...(chunk?.batches ?? [])].map(([partition, batch]) => ({
    partition,
    ends: batch.ends,
    receivedAt: batch.receivedAt,
    headers: [...batch.headers],
  }));
}
