import { describe, expect, test } from 'vitest';
import { RecentIds } from '../../../../src/streamer/ids/recent-ids.ts';
import { fc } from '../../../support/fast-check.ts';

interface LogRecord {
  /** Undefined: the record has no id. */
  readonly id: string | undefined;
  readonly offset: number;
  readonly receivedAt: number;
}

interface Limits {
  readonly windowMs: number;
  readonly maxIds: number;
}

/** By definition: each record looks back over the whole log before it. */
function findRepeats(log: readonly LogRecord[], { windowMs, maxIds }: Limits): (number | undefined)[] {
  const logTimes = log.map((_, i) => Math.max(...log.slice(0, i + 1).map(({ receivedAt }) => receivedAt)));
  return log.map(({ id }, i) => {
    if (id === undefined) return undefined;
    const last = log.slice(0, i).findLastIndex((earlier) => earlier.id === id);
    if (last === -1) return undefined;
    const between = new Set(log.slice(last + 1, i).flatMap((other) => other.id ?? []));
    const isRecent = (logTimes[i] as number) - (logTimes[last] as number) <= windowMs;
    return isRecent && between.size < maxIds ? log[last]?.offset : undefined;
  });
}

function feed(ids: RecentIds, log: readonly LogRecord[]): (number | undefined)[] {
  return log.map(({ id, offset, receivedAt }) => {
    if (id !== undefined) return ids.see(id, offset, receivedAt);
    ids.advance(receivedAt);
    return undefined;
  });
}

const limits = fc.record({
  windowMs: fc.integer({ min: 0, max: 40 }),
  maxIds: fc.integer({ min: 1, max: 8 }),
});
/** Clocks that go on, jump and go back; offsets with gaps. */
const log = fc
  .array(
    fc.record({
      id: fc.option(fc.constantFrom(...'abcdefghijkl'), { nil: undefined, freq: 5 }),
      gap: fc.integer({ min: 1, max: 3 }),
      step: fc.oneof(
        { weight: 20, arbitrary: fc.integer({ min: -3, max: 8 }) },
        { weight: 1, arbitrary: fc.integer({ min: -60, max: 60 }) },
      ),
    }),
    { maxLength: 80 },
  )
  .map((steps) => {
    let offset = 0;
    let receivedAt = 1_000;
    return steps.map(({ id, gap, step }): LogRecord => {
      offset += gap;
      receivedAt += step;
      return { id, offset, receivedAt };
    });
  });

describe('RecentIds', () => {
  test('finds the repeats that the definition finds', () => {
    fc.assert(
      fc.property(log, limits, (records, bounds) => {
        expect(feed(new RecentIds(bounds), records)).toEqual(findRepeats(records, bounds));
      }),
      { numRuns: 1_000 },
    );
  });

  test('after a crash anywhere, what is read back gives the same answers', () => {
    fc.assert(
      fc.property(log, limits, fc.nat(80), (records, bounds, crash) => {
        const before = new RecentIds(bounds);
        feed(before, records.slice(0, crash));
        const { offset, logTime } = before.readBack;
        const successor = new RecentIds({ ...bounds, logTime });
        const isFed = (record: LogRecord): boolean => offset !== undefined && record.offset >= offset;
        feed(successor, records.slice(0, crash).filter(isFed));
        expect(successor.readBack).toEqual(before.readBack);
        expect(feed(successor, records.slice(crash))).toEqual(feed(before, records.slice(crash)));
      }),
      { numRuns: 1_000 },
    );
  });

  test('an id is remembered from when it was last seen, not first', () => {
    const ids = new RecentIds({ windowMs: 10, maxIds: 100 });
    expect([0, 9, 18, 29].map((time) => ids.see('a', time, time))).toEqual([undefined, 0, 9, undefined]);
  });

  test('tens of thousands of ids come and go', () => {
    const maxIds = 10_000;
    const ids = new RecentIds({ windowMs: 1e9, maxIds });
    let repeats = 0;
    for (let i = 0; i < 50_000; i++) {
      if (ids.see(`id ${i}`, i, i) !== undefined) repeats++;
      if (i % 7 === 0 && i > maxIds && ids.see(`id ${i - 5_000}`, i, i) === i - 5_000) repeats++;
    }
    expect(repeats).toBe(Math.floor(49_999 / 7) - Math.floor(maxIds / 7));
    expect(ids.size).toBe(maxIds);
    expect(ids.see('id 49999', 50_000, 50_000)).toBe(49_999);
    expect(ids.see('id 1', 50_001, 50_001)).toBeUndefined();
    expect(ids.byteLength / maxIds).toBeLessThan(60);
  });

  test('memory follows the number of ids in the window', () => {
    const ids = new RecentIds({ windowMs: 100, maxIds: 1_000_000 });
    for (let i = 0; i < 20_000; i++) ids.see(`id ${i}`, i, i);
    expect(ids.size).toBe(101);
    expect(ids.byteLength).toBeLessThan(20_000);
  });
});
