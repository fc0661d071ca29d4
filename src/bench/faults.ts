/** What is wrong with the events of a run, in words. */
import { formatCount } from './figures.ts';
import { changedOf } from './reconcile.ts';
import type { BenchReport } from './report.ts';

/** What is wrong, the worst first. */
export function describeFaults({
  reconciliation,
  acknowledged_twice: twice,
}: Pick<BenchReport, 'reconciliation' | 'acknowledged_twice'>): string {
  if (reconciliation === null) return `TWICE: ${formatCount(twice)} receipts given twice`;
  const { missing, duplicated, repeats_kept, acknowledged_twice, not_delivered } = reconciliation;
  const changed = changedOf(reconciliation);
  const faults = [
    ...(missing > 0 ? [`${formatCount(missing)} acknowledged and not stored`] : []),
    ...(changed > 0 ? [`${formatCount(changed)} not stored as they were posted`] : []),
    ...(duplicated > 0 ? [`${formatCount(duplicated)} stored more than once`] : []),
    ...(repeats_kept > 0 ? [`${formatCount(repeats_kept)} in repeats and stored as well`] : []),
    ...(acknowledged_twice > 0 ? [`${formatCount(acknowledged_twice)} receipts given twice`] : []),
    ...(not_delivered > 0 ? [`${formatCount(not_delivered)} not stored yet`] : []),
  ];
  const worst = missing > 0 ? 'LOSS' : changed > 0 ? 'CHANGED' : 'TWICE';
  return `${worst}: ${faults.join(', ')}`;
}
