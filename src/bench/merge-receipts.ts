/** The receipts of several runs together. */
import { RangeSet } from '../verify/ranges.ts';
import type { Receipts } from '../verify/receipts.ts';
import type { LoadResult } from './load.ts';

/** Events that answers acknowledged by receipts which other answers have given, too: it takes no look at the tables. */
export function countTwice(runs: readonly LoadResult[]): number {
  const { partitions, spools } = mergeReceipts(runs.map(({ receipts }) => receipts));
  const acknowledged = runs.reduce((total, run) => total + run.eventsAcknowledged, 0);
  const distinct = [...partitions.values(), ...spools.values()].reduce(
    (total, set) => total + set.offsets,
    0,
  );
  return Math.max(0, acknowledged - distinct);
}

/** All receipts together. */
export function mergeReceipts(list: readonly Receipts[]): Receipts {
  return {
    partitions: mergeSets(list.map(({ partitions }) => partitions)),
    spools: mergeSets(list.map(({ spools }) => spools)),
  };
}

function mergeSets<K>(list: readonly ReadonlyMap<K, RangeSet>[]): Map<K, RangeSet> {
  const merged = new Map<K, RangeSet>();
  for (const [key, set] of list.flatMap((sets) => [...sets])) {
    const whole = merged.get(key) ?? new RangeSet();
    for (const range of set) whole.add(range.start, range.end);
    merged.set(key, whole);
  }
  return merged;
}
