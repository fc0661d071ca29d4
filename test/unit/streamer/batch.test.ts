import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OwnedPartition, ReadResult } from '../../../src/buffer/buffer.ts';
import { ClickHouseError } from '../../../src/clickhouse/client.ts';
import { BatchReader, GrowingBatch } from '../../../src/streamer/batch.ts';
import { deadLettersOf, encodeDeadLetters } from '../../../src/streamer/dead-letters.ts';
import { findRefusedRows, rowStart, withoutRows } from '../../../src/streamer/refused-rows.ts';
import { readRow } from '../../../src/streamer/row-writer.ts';
import { blockOf } from '../../support/records.ts';

/** A partition whose reads give these results, then nothing. */
function partitionOf(results: readonly ReadResult[] = []): OwnedPartition {
  const left = [...results];
  return {
    topic: 'a "quoted" tøpic',
    topicId: 'id',
    partition: 3,
    signal: new AbortController().signal,
    committed: async () => undefined,
    bounds: async () => ({ start: 0, end: 0 }),
    commit: async () => {},
    async read(from, { maxWaitMs }) {
      const result = left.shift();
      if (result === undefined) await new Promise((resolve) => setTimeout(resolve, maxWaitMs));
      return result ?? { blocks: [], next: from };
    },
  };
}

function sealedOf(values: readonly (string | Uint8Array)[], offset = 0) {
  const batch = new GrowingBatch(partitionOf());
  const block = blockOf(values, offset);
  for (let index = 0; index < block.count; index++) batch.add(block, index);
  return batch.seal(offset);
}

const limits = { rows: 10, bytes: 1_000_000, ageMs: 20 };

describe('rows', () => {
  test('carry where a record came from, and its own bytes', () => {
    const { body, plan } = sealedOf(['{"event":"a"}', '{"event":"b\\u0000ü"}'], 17);
    const head = Buffer.from('\x11a "quoted" tøpic\0\x02id\0');
    expect(body.includes(head)).toBe(true);
    expect(readRow(body.subarray(0, sealedOf(['{"event":"a"}'], 17).body.length))).toEqual({
      offset: 17,
      receivedAt: 1_763_690_000_123,
      eventId: '',
      raw: Buffer.from('{"event":"a"}'),
    });
    expect(plan).toMatchObject({
      start: 17,
      end: 19,
      rows: 2,
      crc: crc32(body),
      token: 'a "quoted" tøpic:id:3:17:19',
    });
  });

  test('any bytes come out of a row as they went in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 30 }),
        fc.nat(),
        (values, offset) => {
          const batch = sealedOf(values, offset);
          const rows = batch.ends.map((end, i) => readRow(batch.body.subarray(rowStart(batch, i), end)));
          expect(rows.map(({ raw }) => [...raw])).toEqual(values.map((value) => [...value]));
          expect(rows.map((row) => row.offset)).toEqual(values.map((_, i) => offset + i));
        },
      ),
    );
  });
});

describe('BatchReader', () => {
  test('cuts batches at their row limit, each starting where the one before ended', async () => {
    const values = Array.from({ length: 25 }, (_, i) => `${i}`);
    const reader = new BatchReader(partitionOf([{ blocks: [blockOf(values, 100)], next: 125 }]), 100, limits);
    const batches = [await reader.next(), await reader.next(), await reader.next()];
    expect(batches.map(({ plan }) => [plan.start, plan.end, plan.rows])).toEqual([
      [100, 110, 10],
      [110, 120, 10],
      [120, 125, 5],
    ]);
  });

  test('cuts at bytes, but puts at least one row into a batch', async () => {
    const reader = new BatchReader(
      partitionOf([{ blocks: [blockOf(['x'.repeat(500), 'y', 'z'])], next: 3 }]),
      0,
      { ...limits, bytes: 150 },
    );
    expect((await reader.next()).plan).toMatchObject({ start: 0, end: 1 });
    expect((await reader.next()).plan).toMatchObject({ start: 1, end: 3 });
  });

  test('gaps between offsets belong to the batch before the next record', async () => {
    const results = [
      { blocks: [blockOf(['a'], 5), blockOf(['b'], 9)], next: 10 },
      { blocks: [blockOf(['c'], 20)], next: 21 },
    ];
    const reader = new BatchReader(partitionOf(results), 2, { ...limits, rows: 2 });
    expect((await reader.next()).plan).toMatchObject({ start: 2, end: 10, rows: 2 });
    expect((await reader.next()).plan).toMatchObject({ start: 10, end: 21, rows: 1 });
  });
});

describe('refused rows', () => {
  const refusal = new ClickHouseError(117, 'bad');

  test('are found exactly, wherever they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }), async (isBad) => {
        const batch = sealedOf(isBad.map((bad) => (bad ? 'BAD' : 'good')));
        const found = await findRefusedRows(batch, async (rows) =>
          Buffer.from(rows).includes('BAD') ? refusal : undefined,
        );
        expect(found.map(({ index }) => index)).toEqual(isBad.flatMap((bad, index) => (bad ? [index] : [])));
        const rest = withoutRows(batch, found).toString('latin1');
        expect(rest).not.toContain('BAD');
        expect(rest.split('good')).toHaveLength(isBad.filter((bad) => !bad).length + 1);
      }),
    );
  });

  test('become the same dead letters each time, since a repeat must be recognised', () => {
    const batch = sealedOf(['BAD', 'good'], 7);
    const refused = [{ index: 0, error: refusal }];
    const encode = () => encodeDeadLetters(deadLettersOf(batch, refused, partitionOf()), batch.plan.sealedAt);
    expect(encode()).toEqual(encode());
    expect(encode().includes(Buffer.from('BAD'))).toBe(true);
  });
});
