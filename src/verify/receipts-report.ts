/** Puts together what became of a client's receipts. */
import { mostListed, type Range, RangeList } from './ranges.ts';
import type { Receipts } from './receipts.ts';
import type { ReceiptsReport } from './report.ts';
import type { PartitionScope } from './scope.ts';
import type { SpoolReceipts } from './spools.ts';

/** Receipts of one partition that no table holds. */
export interface UndeliveredReceipts {
  readonly partition: number;
  readonly found: RangeList;
}

/** Compares the receipts with the ends of the buffer, and adds what was found about the rest. */
export function reportReceipts(
  receipts: Receipts,
  found: {
    readonly scopes: readonly PartitionScope[];
    readonly missing: readonly UndeliveredReceipts[];
    readonly spools: readonly SpoolReceipts[];
  },
): ReceiptsReport {
  const { scopes, missing, spools } = found;
  const lost: (Range & { partition: number })[] = missing.flatMap(({ partition, found: list }) =>
    list.ranges.map((range) => ({ partition, ...range })),
  );
  let total = 0;
  let pending = 0;
  let unknown = 0;
  for (const [partition, set] of receipts.partitions) {
    total += set.offsets;
    const scope = scopes.find((candidate) => candidate.partition === partition);
    const { committed, end } =
      scope === undefined ? { committed: 0, end: 0 } : { ...scope, end: scope.view.end };
    // What has expired was looked for in the tables.
    const { start: expiredFrom, end: expiredTo } = scope?.expired ?? { start: end, end };
    for (const open of [
      { start: committed, end: expiredFrom },
      { start: expiredTo, end },
    ])
      for (const range of set.within(open)) pending += range.end - range.start;
    const beyond = new RangeList();
    for (const range of set.within({ start: end, end: Number.POSITIVE_INFINITY })) beyond.add(range);
    unknown += beyond.offsets;
    for (const range of beyond.ranges) lost.push({ partition, ...range });
  }
  const sumOf = (numberOf: (spool: SpoolReceipts) => number) =>
    spools.reduce((sum, spool) => sum + numberOf(spool), 0);
  const spooledNotFound = sumOf(({ notFound }) => notFound.offsets);
  const missed = missing.reduce((sum, { found: list }) => sum + list.offsets, 0);
  total += sumOf((spool) => spool.receipts);
  return {
    receipts: total,
    delivered: total - pending - missed - unknown - spooledNotFound,
    pending,
    missing: missed,
    unknown,
    spooled_not_found: spooledNotFound,
    spooled_duplicated: sumOf(({ duplicated }) => duplicated),
    lost: lost.slice(0, mostListed),
    not_found: spools
      .flatMap(({ spool, notFound }) => notFound.ranges.map((range) => ({ spool, ...range })))
      .slice(0, mostListed),
  };
}
