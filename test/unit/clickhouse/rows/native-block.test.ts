import { describe, expect, test } from 'vitest';
import { BatchRows } from '../../../../src/clickhouse/rows/batch-rows.ts';
import { encodeNative } from '../../../../src/clickhouse/rows/native-block.ts';
import { fc } from '../../../support/fast-check.ts';
import { blockOf } from '../../../support/records.ts';
import { testIdentity } from '../../../support/sealed-batch.ts';

interface Row {
  readonly value: Uint8Array;
  readonly offset: number;
  readonly id: string | undefined;
}

const rowsOf = (rows: readonly Row[]) => {
  const all = new BatchRows(testIdentity);
  for (const { value, offset, id } of rows) all.add(blockOf([value], offset), 0, id);
  return all;
};
const all = (rows: readonly Row[]) => rows.map((_, index) => index);
const ids = fc.option(fc.string({ minLength: 1, maxLength: 20 }), { nil: undefined });
const rows = fc.array(
  fc.record({ value: fc.uint8Array({ maxLength: 200 }), offset: fc.maxSafeNat(), id: ids }),
  { minLength: 1, maxLength: 40 },
);

describe('a block', () => {
  test('of some rows is that of a batch with these rows only', () => {
    fc.assert(
      fc.property(rows, fc.func(fc.boolean()), (list, isTaken) => {
        const indexes = all(list).filter((index) => isTaken(index));
        const taken = indexes.map((index) => list[index] as Row);
        fc.pre(taken.some(({ id }) => id !== undefined) || list.every(({ id }) => id === undefined));
        const block = encodeNative(rowsOf(list), indexes, { dataType: 'JSON', withRaw: false });
        expect(block).toEqual(encodeNative(rowsOf(taken), all(taken), { dataType: 'JSON', withRaw: false }));
      }),
    );
  });

  test('begins with its columns and rows, and has an id column only when there are ids', () => {
    const rowsWithout = rowsOf([{ value: Buffer.from('{}'), offset: 1, id: undefined }]);
    const without = encodeNative(rowsWithout, [0], { dataType: 'JSON(a String)', withRaw: false });
    expect(without.columns).toEqual(['received_at', 'topic', 'topic_id', 'partition', 'offset', 'data']);
    expect([...without.body.subarray(0, 2)]).toEqual([6, 1]);
    expect(without.body.includes('\x04data\x0eJSON(a String)\x01\0\0\0\0\0\0\0\x02{}')).toBe(true);
    const rowsWith = rowsOf([
      { value: Buffer.from('{}'), offset: 1, id: undefined },
      { value: Buffer.from('{}'), offset: 2, id: 'x' },
    ]);
    const { columns, body } = encodeNative(rowsWith, [0, 1], { dataType: 'JSON', withRaw: false });
    expect(columns).toEqual([...without.columns.slice(0, 5), 'event_id', 'data']);
    const kept = encodeNative(rowsWith, [0, 1], { dataType: 'JSON', withRaw: true });
    expect(kept.columns).toEqual([...columns, 'raw']);
    expect(kept.body.subarray(-17).toString()).toBe('\x03raw\x06String\x02{}\x02{}');
    expect(body.includes('\x08event_id\x10Nullable(String)\x01\0\0\x01x')).toBe(true);
  });
});
