import { describe, expect, test, vi } from 'vitest';
import type { OwnedPartition, ReadResult } from '../../../../src/buffer/buffer.ts';
import { BatchRows, idOf } from '../../../../src/clickhouse/rows/batch-rows.ts';
import { BatchReader, Pace } from '../../../../src/streamer/protocol/batch-reader.ts';
import { alterPartition } from '../../../support/delivery.ts';
import { fc } from '../../../support/fast-check.ts';
import { blockOf } from '../../../support/records.ts';
import { sealedOf, testIdentity, valuesOf } from '../../../support/sealed-batch.ts';

/** A partition whose reads give these results, then nothing. */
function partitionOf(results: readonly ReadResult[] = []): OwnedPartition {
  const left = [...results];
  return {
    ...testIdentity,
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

const limits = { rows: 10, bytes: 1_000_000, ageMs: 20 };

describe('rows', () => {
  test('keep where a record came from, and its own bytes', () => {
    const batch = sealedOf(['{"event":"a"}', '{"event":"b\\u0000ü"}'], { offset: 17 });
    expect(batch.rows.record(0)).toEqual({
      offset: 17,
      receivedAt: 1_763_690_000_123,
      eventId: '',
      raw: Buffer.from('{"event":"a"}'),
    });
    expect(valuesOf(batch)).toEqual(['{"event":"a"}', '{"event":"b\\u0000ü"}']);
    const token = 'a "quoted" tøpic:id:3:17:19';
    expect(batch.plan).toMatchObject({ start: 17, end: 19, rows: 2, token });
  });

  test('any bytes come out of a row as they went in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 30 }),
        fc.nat(),
        (values, offset) => {
          const batch = sealedOf(values, { offset });
          const records = values.map((_, i) => batch.rows.record(i));
          expect(batch.rows.count).toBe(values.length);
          expect(records.map(({ raw }) => [...raw])).toEqual(values.map((value) => [...value]));
          expect(records.map((record) => record.offset)).toEqual(values.map((_, i) => offset + i));
        },
      ),
    );
  });

  test('keep every byte value, in values and ids, and every number', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const text = Buffer.from(bytes).toString('latin1');
    const rows = new BatchRows(testIdentity);
    rows.add(blockOf([''], 0, -1), 0);
    rows.add(blockOf([bytes], 2 ** 53 - 1, 8_640_000_000_000_000), 0, text);
    rows.add(blockOf(['x'], 2 ** 32, -(2 ** 40)), 0);
    expect(rows.record(0)).toEqual({ offset: 0, receivedAt: -1, eventId: '', raw: Buffer.alloc(0) });
    const numbers = { offset: 2 ** 53 - 1, receivedAt: 8_640_000_000_000_000 };
    expect(rows.record(1)).toEqual({ ...numbers, eventId: text, raw: Buffer.from(bytes) });
    expect(rows.record(2)).toMatchObject({ offset: 2 ** 32, receivedAt: -(2 ** 40), eventId: '' });
  });

  test.each([0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 20 * 1024 ** 2])(
    'keep a value of %i bytes',
    (length) => {
      const batch = sealedOf([Buffer.alloc(length, 'v'), 'next']);
      expect(batch.rows.record(0).raw.equals(Buffer.alloc(length, 'v'))).toBe(true);
      expect(batch.rows.record(1).raw.toString()).toBe('next');
    },
  );

  test('are told apart by their checksum, whatever differs', () => {
    const crcs = [
      sealedOf(['a', 'b']),
      sealedOf(['ab', '']),
      sealedOf(['a', 'b'], { offset: 1 }),
      sealedOf(['a', 'b'], { receivedAt: [1, 2] }),
      sealedOf(['a', 'b'], { ids: ['x', undefined] }),
      sealedOf(['a', 'b'], { ids: [undefined, 'x'] }),
    ].map(({ plan }) => plan.crc);
    expect(new Set(crcs).size).toBe(crcs.length);
  });

  test('that are filled again hold nothing of before', () => {
    const rows = new BatchRows(testIdentity);
    const block = blockOf(Array.from({ length: 5_000 }, (_, i) => `value ${i}`));
    for (let i = 0; i < block.count; i++) rows.add(block, i, `id ${i}`);
    rows.clear();
    expect(rows.count).toBe(0);
    rows.add(blockOf(['x'], 9), 0);
    expect(rows.record(0)).toMatchObject({ offset: 9, eventId: '', raw: Buffer.from('x') });
    expect(rows.crc()).toBe(sealedOf(['x'], { offset: 9 }).plan.crc);
  });
});

describe('the id of a record', () => {
  const idIn = (...headers: [string, string][]) => idOf({ ...blockOf(['v']), headers: [headers] }, 0);

  test('is the first header of that name', () => {
    expect(idIn(['other', 'x'], ['id', 'a'], ['id', 'b'])).toBe('a');
    expect(idIn(['other', 'x'])).toBeUndefined();
    expect(idOf(blockOf(['v']), 0)).toBeUndefined();
  });

  test('is none when it is empty or was no text: such ids are alike though their events are not', () => {
    expect(idIn(['id', ''])).toBeUndefined();
    expect(idIn(['id', Buffer.from([0, 0, 0x80]).toString()])).toBeUndefined();
  });
});

function readerOf(results: readonly ReadResult[], from: number, change: Partial<typeof limits> = {}) {
  const pace = new Pace(limits.ageMs);
  return new BatchReader(partitionOf(results), from, { limits: { ...limits, ...change }, pace });
}

describe('BatchReader', () => {
  test('cuts batches at their row limit, each starting where the one before ended', async () => {
    const values = Array.from({ length: 25 }, (_, i) => `${i}`);
    const reader = readerOf([{ blocks: [blockOf(values, 100)], next: 125 }], 100);
    const batches = [await reader.next(), await reader.next(), await reader.next()];
    expect(batches.map(({ plan }) => [plan.start, plan.end, plan.rows])).toEqual([
      [100, 110, 10],
      [110, 120, 10],
      [120, 125, 5],
    ]);
  });

  test('cuts at bytes, but puts at least one row into a batch', async () => {
    const reader = readerOf([{ blocks: [blockOf(['x'.repeat(500), 'y', 'z'])], next: 3 }], 0, { bytes: 150 });
    expect((await reader.next()).plan).toMatchObject({ start: 0, end: 1 });
    expect((await reader.next()).plan).toMatchObject({ start: 1, end: 3 });
  });

  test('gaps between offsets belong to the batch before the next record', async () => {
    const results = [
      { blocks: [blockOf(['a'], 5), blockOf(['b'], 9)], next: 10 },
      { blocks: [blockOf(['c'], 20)], next: 21 },
    ];
    const reader = readerOf(results, 2, { rows: 2 });
    expect((await reader.next()).plan).toMatchObject({ start: 2, end: 10, rows: 2 });
    expect((await reader.next()).plan).toMatchObject({ start: 10, end: 21, rows: 1 });
  });

  test('a batch grows for as long as the insert before it takes, up to its limits', async () => {
    const pace = new Pace(0);
    const results = ['a', 'b', 'c'].map((value, i) => ({ blocks: [blockOf([value], i)], next: i + 1 }));
    const source = partitionOf(results);
    const read: number[] = [];
    const partition = alterPartition(source, {
      async read(from, options) {
        read.push(from);
        // The insert ends while the third record is read.
        if (from === 2) pace.end();
        return await source.read(from, options);
      },
    });
    pace.begin();
    const reader = new BatchReader(partition, 0, { limits, pace });
    expect((await reader.next()).plan).toMatchObject({ start: 0, end: 3, rows: 3 });
    expect(read).toEqual([0, 1, 2]);
  });

  test('what came while the last insert was young goes when that is old enough, and waits no longer', async () => {
    vi.useFakeTimers({ toFake: ['performance'], now: 0 });
    try {
      const source = partitionOf([{ blocks: [blockOf(['a'])], next: 1 }]);
      const partition = alterPartition(source, {
        async read(from, options) {
          vi.advanceTimersByTime(options.maxWaitMs);
          return await source.read(from, options);
        },
      });
      const pace = new Pace(1_000);
      const begunAt = performance.now();
      pace.begin();
      pace.end();
      await new BatchReader(partition, 0, { limits, pace }).next();
      expect(performance.now() - begunAt).toBe(1_000);
    } finally {
      vi.useRealTimers();
    }
  });

  test('the first record is read at once; then a read is worth its cost, while the batch is not due', async () => {
    const source = partitionOf([{ blocks: [blockOf(['a'])], next: 1 }]);
    const asked: (number | undefined)[] = [];
    const partition = alterPartition(source, {
      async read(from, options) {
        asked.push(options.minBytes);
        return await source.read(from, options);
      },
    });
    await new BatchReader(partition, 0, { limits, pace: new Pace(limits.ageMs) }).next();
    expect(asked[0]).toBe(1);
    expect(asked.slice(1).every((bytes) => bytes !== undefined && bytes > 1)).toBe(true);
  });
});
