/** What the streamers do. */
import type { MetricDashboard } from './panel.ts';
import { processPanels } from './process-panels.ts';
import { gauge, mean, perSecond, quantile } from './promql.ts';

/** Delivery, freshness, inserts, what became no row, what had to be sorted out, processes. */
export const streamer: MetricDashboard = {
  uid: 'millrace-streamer',
  title: 'Millrace / Streamer',
  description: 'Delivery from the buffer to ClickHouse.',
  folder: 'operations',
  from: 'now-1h',
  scope: 'millrace_clickhouse_up',
  panels: [
    {
      title: 'Rows by instance',
      description: 'Rows inserted. Follows the number of partitions that an instance owns.',
      unit: 'rowsps',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('rows', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Freshness',
      description: 'From receiving the oldest event of a batch to its row being queryable.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'freshness'), legend: 'p50' },
        { expression: quantile(0.9, 'freshness'), legend: 'p90' },
        { expression: quantile(0.99, 'freshness'), legend: 'p99' },
      ],
    },
    {
      title: 'Age of the oldest undelivered event',
      alert: 'MillraceDeliveryStuck',
      description: 'Of those that were read from the buffer. Grows without end: inserts do not succeed.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('max', 'oldestSeconds', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Time of an insert',
      description:
        'Retries included: one that waits for ClickHouse to come back counts once, when it has succeeded.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'insertDuration'), legend: 'p50' },
        { expression: quantile(0.99, 'insertDuration'), legend: 'p99' },
      ],
    },
    {
      title: 'Rows of an insert',
      description: 'Few rows in each of many inserts cost ClickHouse merges: raise --batch-age.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: mean('insertRows'), legend: 'mean' },
        { expression: quantile(0.99, 'insertRows'), legend: 'p99' },
      ],
    },
    {
      title: 'Inserts that failed',
      description: "By ClickHouse's error code; 0 when it gave no answer. They are tried again for ever.",
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('insertErrors', { by: ['code'] }), legend: '{{code}}' }],
    },
    {
      title: 'ClickHouse reachable',
      alert: 'MillraceClickHouseAway',
      description: '1: the last request of the instance was answered.',
      unit: 'bool_yes_no',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('min', 'clickhouseUp', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Dead letters',
      alert: 'MillraceDeadLetters',
      description:
        'Events that ClickHouse refused. `millrace dead-letters list` says why; after a fix, `replay` makes rows of them.',
      unit: 'eps',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('deadLetters', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Repeats',
      description:
        'Records whose id was seen before: clients that sent again, or a spool that drained twice. They are in `repeats`.',
      unit: 'eps',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('repeats', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Plans replayed, batches settled',
      description:
        'Work after a restart or a hand-over: a plan inserted again under its token, or ClickHouse asked which rows it has.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: perSecond('replays'), legend: 'replayed' },
        { expression: perSecond('settled'), legend: 'settled' },
      ],
    },
    {
      title: 'Lag by instance',
      description: 'Events of the partitions that it owns and that are not delivered yet.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'lag', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Partitions owned',
      description: 'More streamers than partitions: some own none.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('count', 'lag', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    ...processPanels,
  ],
};
