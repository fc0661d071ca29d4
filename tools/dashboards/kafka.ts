/** What Millrace knows of Kafka: it needs no exporter. */
import type { MetricDashboard } from './panel.ts';
import { gauge, increase, perSecond, promql, quantile } from './promql.ts';

const zeroIsGood = [
  [0, 'green'],
  [1, 'red'],
] as const;

/** Partitions, lag, retention, appends, spools, and what should never happen. */
export const kafka: MetricDashboard = {
  uid: 'millrace-kafka',
  title: 'Millrace / Kafka',
  description:
    'The buffer as collectors and streamers see it: lag, retention, appends, spools. With the embedded log the panels on retention and spools stay empty. What only brokers know, as their disks and replicas, is not here.',
  folder: 'operations',
  from: 'now-6h',
  scope: '{__name__=~"millrace_http_connections|millrace_clickhouse_up"}',
  panels: [
    {
      title: 'Lost to retention',
      alert: 'MillraceEventsExpired',
      description: 'Events that were deleted before they were delivered, within the time shown.',
      unit: 'short',
      kind: 'number',
      width: 6,
      steps: zeroIsGood,
      queries: [{ expression: increase('lost'), legend: 'lost' }],
    },
    {
      title: 'Commits lost or set back',
      description:
        'Partitions of which ClickHouse had rows beyond the committed offset. Nothing is stored twice, but somebody or something touched the offsets.',
      unit: 'short',
      kind: 'number',
      width: 6,
      steps: zeroIsGood,
      queries: [{ expression: increase('regressions'), legend: 'regressions' }],
    },
    {
      title: 'Topics made anew',
      description:
        'Partitions whose topic was deleted and created again; what was not delivered of the former one is gone.',
      unit: 'short',
      kind: 'number',
      width: 6,
      steps: zeroIsGood,
      queries: [{ expression: increase('topicChanges'), legend: 'changes' }],
    },
    {
      title: 'Sent again from a spool, unsure',
      alert: 'MillraceSpoolUnsure',
      description:
        'Events that a spool sent again when Kafka could not tell whether it had them. The streamer drops repeats by their ids.',
      unit: 'short',
      kind: 'number',
      width: 6,
      steps: zeroIsGood,
      queries: [{ expression: increase('spoolUnsure'), legend: 'unsure' }],
    },
    {
      title: 'Lag by partition',
      alert: 'MillraceLagGrowing',
      description:
        'Events that are not delivered yet. One line above the others: a key that most events have, or a streamer that is stuck.',
      unit: 'short',
      kind: 'lines',
      width: 12,
      queries: [
        { expression: gauge('sum', 'lag', { by: ['partition'] }), legend: 'partition {{partition}}' },
      ],
    },
    {
      title: 'Delivered by partition',
      description: 'Rows inserted. A partition with lag and without rows is stuck.',
      unit: 'rowsps',
      kind: 'lines',
      width: 12,
      queries: [{ expression: perSecond('rows', { by: ['partition'] }), legend: 'partition {{partition}}' }],
    },
    {
      title: 'Time until the lag is gone',
      description:
        'At the present pace, if nothing came in. Streamers deliver faster when there is more to do.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [{ expression: promql`${gauge('sum', 'lag')} / ${perSecond('rows')}`, legend: 'to drain' }],
    },
    {
      title: 'Time to retention by partition',
      alert: 'MillraceRetentionEnding',
      description:
        'Until Kafka may delete the oldest undelivered event. Falls second by second while a partition is stuck.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        {
          expression: gauge('min', 'retentionSecondsLeft', { by: ['partition'] }),
          legend: 'partition {{partition}}',
        },
      ],
    },
    {
      title: 'Owners of each partition',
      alert: 'MillracePartitionUnread',
      description: '1, but for the moments of a hand-over. No line: nobody delivers the partition.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('count', 'lag', { by: ['partition'] }), legend: 'partition {{partition}}' },
      ],
    },
    {
      title: 'Time of an append',
      description: 'Until all in-sync replicas have it.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'appendDuration'), legend: 'p50' },
        { expression: quantile(0.99, 'appendDuration'), legend: 'p99' },
      ],
    },
    {
      title: 'Appends that failed',
      description: 'By collector. All at once: the brokers, or min.insync.replicas; one alone: its network.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('appendErrors', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Kafka reachable',
      alert: 'MillraceBufferAway',
      description: '1: every worker of the collector can use it.',
      unit: 'bool_yes_no',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('min', 'bufferUp', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Into and out of spools',
      description: 'Events spooled while Kafka was away, and those that Kafka has taken from spools since.',
      unit: 'eps',
      kind: 'lines',
      width: 12,
      queries: [
        { expression: perSecond('spooled'), legend: 'spooled' },
        { expression: perSecond('spoolDrained'), legend: 'drained' },
      ],
    },
    {
      title: 'Events in spools',
      description: 'By collector. A machine that is taken out of service has to deliver its own first.',
      unit: 'short',
      kind: 'lines',
      width: 12,
      queries: [{ expression: gauge('sum', 'spoolEvents', { by: ['instance'] }), legend: '{{instance}}' }],
    },
  ],
};
