import { describe, expect, test } from 'vitest';
import { intersect, mostListed, type Range, RangeList, RangeSet } from '../../../src/verify/ranges.ts';
import { fc } from '../../support/fast-check.ts';

const ranges = fc.array(fc.record({ start: fc.nat(200), length: fc.integer({ min: 1, max: 20 }) }), {
  maxLength: 60,
});

function offsetsOf(list: Iterable<Range>): number[] {
  return [...list].flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
}

describe('a set of ranges', () => {
  test('holds what was added, in order, once, in as few ranges as there are', () => {
    fc.assert(
      fc.property(ranges, (added) => {
        const set = new RangeSet();
        for (const { start, length } of added) set.add(start, start + length);
        const expected = [
          ...new Set(offsetsOf(added.map(({ start, length }) => ({ start, end: start + length })))),
        ];
        expected.sort((a, b) => a - b);
        expect(offsetsOf(set)).toEqual(expected);
        expect(set.offsets).toBe(expected.length);
        expect(set.hull).toEqual(
          expected.length === 0 ? undefined : { start: expected[0], end: (expected.at(-1) ?? 0) + 1 },
        );
        const list = [...set];
        for (const [i, { start }] of list.entries()) expect(start).toBeGreaterThan(list[i - 1]?.end ?? -1);
      }),
    );
  });

  test('gives what lies within another range or list', () => {
    fc.assert(
      fc.property(ranges, fc.nat(200), fc.nat(60), (added, start, length) => {
        const set = new RangeSet();
        for (const range of added) set.add(range.start, range.start + range.length);
        const within = { start, end: start + length };
        const expected = offsetsOf(set).filter((offset) => offset >= start && offset < within.end);
        expect(offsetsOf(set.within(within))).toEqual(expected);
        expect(offsetsOf(intersect([within], set))).toEqual(expected);
      }),
    );
  });

  test('joins what comes a little out of order, and is the same after it was sent elsewhere', () => {
    const pieces = fc.array(
      fc.record({
        length: fc.integer({ min: 1, max: 3 }),
        gap: fc.constantFrom(0, 0, 0, 1),
        delay: fc.nat(90),
      }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(pieces, (list) => {
        let at = 0;
        const placed = list.map(({ length, gap, delay }, i) => {
          const start = at + gap;
          at = start + length;
          return { start, end: at, order: i + delay };
        });
        const set = new RangeSet();
        for (const { start, end } of placed.toSorted((a, b) => a.order - b.order)) set.add(start, end);
        const copy = RangeSet.fromBounds(structuredClone(set.toBounds()));
        expect(offsetsOf(copy)).toEqual(offsetsOf(placed));
        expect([...copy]).toEqual([...set]);
        for (const [i, { start }] of [...copy].entries())
          expect(start).toBeGreaterThan([...copy][i - 1]?.end ?? -1);
        copy.add(at, at + 1);
        expect(copy.offsets).toBe(offsetsOf(placed).length + 1);
      }),
    );
  });

  test('takes many receipts of clients in turn', () => {
    const set = new RangeSet();
    const count = 400_000;
    // Eight clients in turn, each in order.
    for (let i = 0; i < count / 8; i++)
      for (let client = 0; client < 8; client++)
        set.add((client * count) / 8 + i, (client * count) / 8 + i + 1);
    expect([...set]).toEqual([{ start: 0, end: count }]);
  });
});

describe('a list of found ranges', () => {
  test('joins neighbours, keeps the first ones and counts all', () => {
    const list = new RangeList();
    list.add({ start: 5, end: 6 });
    list.add({ start: 6, end: 9 });
    for (let i = 0; i < 2 * mostListed; i++) list.add({ start: 10 + 2 * i, end: 11 + 2 * i });
    expect(list.ranges[0]).toEqual({ start: 5, end: 9 });
    expect(list.ranges).toHaveLength(mostListed);
    expect(list.offsets).toBe(4 + 2 * mostListed);
    expect(list.isCut).toBe(true);
  });
});
