/**
 * What retention removed from the buffer before it was committed. It is lost only where no table holds it: somebody
 * may have set the commit back, and a commit is a moment older than the start of the buffer that is seen beside it.
 */
import { type Bucket, readBuckets, type Source } from './coverage.ts';
import { findMissing, type Missing } from './missing.ts';
import type { RangeSet } from './ranges.ts';
import type { PartitionScope } from './scope.ts';

const empty = { start: 0, end: 0 };

/** Asks ClickHouse, after the view was taken; by partition, of those only that have something expired. */
export async function findExpired(
  source: Source,
  scopes: readonly PartitionScope[],
  receipts: ReadonlyMap<number, RangeSet> | undefined,
): Promise<Map<number, Missing>> {
  const found = new Map<number, Missing>();
  if (scopes.every(({ expired }) => expired === undefined)) return found;
  const expired = scopes.map((scope) => {
    const range = scope.expired ?? empty;
    return { ...scope, checked: range, span: range };
  });
  const buckets: Bucket[] = [];
  for await (const slice of readBuckets(source, expired, { from: 'span', to: 'span' }))
    buckets.push(...slice);
  // The buffer has nothing left to ask about these offsets.
  const context = { source, inspector: undefined, budget: { left: 0 } };
  for (const scope of expired) {
    if (scope.expired === undefined) continue;
    const { partition } = scope;
    const own = buckets.filter((bucket) => bucket.partition === partition);
    found.set(
      partition,
      await findMissing(context, scope, { buckets: own, receipts: receipts?.get(partition) }),
    );
  }
  return found;
}
