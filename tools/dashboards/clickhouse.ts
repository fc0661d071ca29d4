/** ClickHouse: what the server tells of itself at port 9363, beside what the streamers see of it. */
import type { MetricDashboard } from './panel.ts';
import { gauge, mean, perSecond, promql, quantile } from './promql.ts';

const microsecondsOfSecond = 1_000_000;

/** Inserts, parts, merges, queries, resources, replication. */
export const clickhouse: MetricDashboard = {
  uid: 'millrace-clickhouse',
  title: 'Millrace / ClickHouse',
  description:
    'The server by its own Prometheus endpoint, and inserts as the streamers see them. The embedded ClickHouse has no such endpoint: only the first line has data then.',
  folder: 'operations',
  from: 'now-6h',
  scope: '{__name__=~"ClickHouseMetrics_Query|millrace_clickhouse_up"}',
  panels: [
    {
      title: 'Time of an insert',
      description: 'As the streamers see it, retries included.',
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
      description:
        'Mean over all streamers. Below some thousand under load: merges cost more than they need to.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: mean('insertRows'), legend: 'rows' }],
    },
    {
      title: 'Inserts that failed',
      description:
        'By error code, as the streamers see it; 0 when there was no answer. 252: too many parts, 241: memory, 242: read-only table.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('insertErrors', { by: ['code'] }), legend: '{{code}}' }],
    },
    {
      title: 'Rows inserted and merged',
      description:
        'By all who insert. Merged rows are some times the inserted ones; the more, the smaller the inserts.',
      unit: 'rowsps',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: perSecond('serverInsertedRows'), legend: 'inserted' },
        { expression: perSecond('serverMergedRows'), legend: 'merged' },
      ],
    },
    {
      title: 'Inserts held up',
      alert: 'MillraceClickHouseInsertsDelayed',
      description:
        'Delayed: a partition has many parts. Rejected: too many. Either: larger batches, or fewer partitions.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: perSecond('serverDelayedInserts'), legend: 'delayed' },
        { expression: perSecond('serverRejectedInserts'), legend: 'rejected' },
      ],
    },
    {
      title: 'Blocks dropped as repeats',
      description:
        'Inserts whose token ClickHouse had seen: retries that would have made second rows. Beside a failure this is as it should be.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('serverDroppedBlocks'), legend: 'dropped' }],
    },
    {
      title: 'Parts of the fullest partition',
      alert: 'MillraceClickHouseParts',
      description:
        'ClickHouse delays inserts at parts_to_delay_insert (1,000) and refuses them at parts_to_throw_insert (3,000).',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('max', 'serverPartsOfPartition', { by: ['instance'] }), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Parts',
      description: 'Active parts of all tables.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'serverParts', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Merges running',
      description: 'At the size of the pool all the time: the disk or the processor cannot keep up.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'serverMerges', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Queries',
      description: 'Statements a second, by kind.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: perSecond('serverSelectQueries'), legend: 'select' },
        { expression: perSecond('serverInsertQueries'), legend: 'insert' },
        { expression: perSecond('serverFailedSelects'), legend: 'select, failed' },
        { expression: perSecond('serverFailedInserts'), legend: 'insert, failed' },
      ],
    },
    {
      title: 'Queries running',
      description: 'At this moment, inserts included.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'serverQueries', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Time of a select',
      description: 'Mean. Analysts have limits of their own: docs/dashboards.md.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        {
          expression: promql`${perSecond('serverSelectMicroseconds')} / ${perSecond('serverSelectQueries')} / ${microsecondsOfSecond}`,
          legend: 'mean',
        },
      ],
    },
    {
      title: 'Processor',
      description: 'Cores used by queries and merges.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        {
          expression: promql`${perSecond('serverCpuMicroseconds', { by: ['instance'] })} / ${microsecondsOfSecond}`,
          legend: '{{instance}}',
        },
      ],
    },
    {
      title: 'Memory',
      description: 'As ClickHouse counts what it has allocated.',
      unit: 'bytes',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'serverMemory', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Disk left',
      alert: 'MillraceClickHouseDiskFilling',
      description:
        'On the disk named default. A full disk makes inserts fail; the buffer holds events until its retention.',
      unit: 'bytes',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('min', 'serverDiskAvailable', { by: ['instance'] }), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Time of a flush',
      description: 'Mean of one fsync. The tables of a single server flush every insert: docs/power-loss.md.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        {
          expression: promql`${perSecond('serverFsyncMicroseconds')} / ${perSecond('serverFsyncs')} / ${microsecondsOfSecond}`,
          legend: 'mean',
        },
      ],
    },
    {
      title: 'Read-only replicas',
      description: 'Tables that take no inserts, mostly since Keeper cannot be reached.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('sum', 'serverReadonlyReplicas', { by: ['instance'] }), legend: '{{instance}}' },
        { expression: gauge('sum', 'serverKeeperSessions'), legend: 'sessions with Keeper' },
      ],
    },
    {
      title: 'Delay of the slowest replica',
      description: 'How far it is behind. An analyst who asks it sees what was so long ago.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('max', 'serverReplicaDelay', { by: ['instance'] }), legend: '{{instance}}' },
      ],
    },
  ],
};
