/** The first dashboard to look at: is Millrace well, and if not, which part. */
import type { MetricDashboard } from './panel.ts';
import { gauge, increase, orZero, perSecond, promql, quantile, shareWithin, total } from './promql.ts';

const zeroIsGood = [
  [0, 'green'],
  [1, 'red'],
] as const;

/** Records that ClickHouse has in one of the three tables, and those that retention removed before. */
const settled = promql`${total('insertRows')} + ${increase('deadLetters')} + ${increase('repeats')} + ${increase('lost')}`;
const waiting = promql`${orZero(gauge('sum', 'lag'))} + ${orZero(gauge('sum', 'spoolEvents'))}`;
const waitedBefore = promql`${orZero(gauge('sum', 'lag', { offset: '$__range' }))} + ${orZero(gauge('sum', 'spoolEvents', { offset: '$__range' }))}`;

/** Rate, errors, durations; what waits; and whether what was taken has arrived. */
export const overview: MetricDashboard = {
  uid: 'millrace-overview',
  title: 'Millrace / Overview',
  description: 'Is Millrace well, and if not, which part is not. Start here when an alert fires.',
  folder: 'operations',
  from: 'now-1h',
  scope: '{__name__=~"millrace_http_connections|millrace_clickhouse_up"}',
  panels: [
    {
      title: 'Instances up',
      alert: 'MillraceInstanceDown',
      description:
        'Share of the collectors and streamers that Prometheus can reach. One that is down takes no events or delivers none; the others go on.',
      unit: 'percentunit',
      kind: 'number',
      width: 4,
      steps: [
        [0, 'red'],
        [0.5, 'orange'],
        [1, 'green'],
      ],
      queries: [
        {
          expression: promql`${gauge('sum', 'up')} / ${gauge('count', 'up')}`,
          legend: 'up',
        },
      ],
    },
    {
      title: 'Accepted',
      alert: 'MillraceRequestsFailing',
      description:
        'Share of the valid events that were stored, over the time shown. The others got 503 and their clients keep them. Events that are refused for what they are do not count.',
      unit: 'percentunit',
      kind: 'number',
      width: 4,
      steps: [
        [0, 'red'],
        [0.99, 'orange'],
        [0.999, 'green'],
      ],
      queries: [
        {
          expression: promql`${increase('accepted')} / (${increase('accepted')} + ${increase('failed')})`,
          legend: 'accepted',
        },
      ],
    },
    {
      title: 'Queryable within 30 s',
      alert: 'MillraceRowsLate',
      description:
        'Share of the rows whose batch was in ClickHouse at most 30 s after its oldest event was received, over the time shown.',
      unit: 'percentunit',
      kind: 'number',
      width: 4,
      steps: [
        [0, 'red'],
        [0.95, 'orange'],
        [0.99, 'green'],
      ],
      queries: [{ expression: shareWithin('freshness', 30), legend: 'within 30 s' }],
    },
    {
      title: 'Time to retention',
      alert: 'MillraceRetentionEnding',
      description:
        'Until Kafka may delete the oldest event that is not delivered. Empty with the embedded log, which deletes none of them.',
      unit: 's',
      kind: 'number',
      width: 4,
      steps: [
        [0, 'red'],
        [3_600, 'orange'],
        [21_600, 'green'],
      ],
      queries: [{ expression: gauge('min', 'retentionSecondsLeft'), legend: 'left' }],
    },
    {
      title: 'Lost to retention',
      alert: 'MillraceEventsExpired',
      description:
        'Events that the buffer deleted before they were delivered, within the time shown. Anything but 0 is loss.',
      unit: 'short',
      kind: 'number',
      width: 4,
      steps: zeroIsGood,
      queries: [{ expression: increase('lost'), legend: 'lost' }],
    },
    {
      title: 'Unaccounted',
      alert: 'MillraceEventsUnaccounted',
      description:
        'Loss equation over the time shown: accepted, less rows, dead letters, repeats and expired, less the growth of what waits. Near 0 when all is well: Prometheus extrapolates, and a post whose answer was 503 OUTCOME_UNKNOWN may be stored all the same. `millrace verify` gives the exact answer.',
      unit: 'short',
      kind: 'number',
      width: 4,
      queries: [
        {
          expression: promql`${increase('accepted')} - (${settled}) - (${waiting} - (${waitedBefore}))`,
          legend: 'unaccounted',
        },
      ],
    },
    {
      title: 'Events',
      description:
        'What comes in and what reaches ClickHouse. The two lines run together, one a second later.',
      unit: 'eps',
      kind: 'lines',
      width: 12,
      queries: [
        { expression: perSecond('accepted'), legend: 'accepted' },
        { expression: perSecond('rows'), legend: 'inserted' },
        { expression: perSecond('rejected'), legend: 'rejected' },
        { expression: perSecond('failed'), legend: 'failed' },
      ],
    },
    {
      title: 'Answers by status',
      description: '2xx: stored. 4xx: the client must change something. 503: send again later.',
      unit: 'reqps',
      kind: 'lines',
      width: 12,
      queries: [{ expression: perSecond('requests', { by: ['status'] }), legend: '{{status}}' }],
    },
    {
      title: 'Time to answer',
      description: 'Time from the first byte of a post to its answer, for posts whose events were stored.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'requestDuration'), legend: 'p50' },
        { expression: quantile(0.99, 'requestDuration'), legend: 'p99' },
      ],
    },
    {
      title: 'Freshness',
      description: 'From receiving the oldest event of a batch to its row being queryable.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'freshness'), legend: 'p50' },
        { expression: quantile(0.99, 'freshness'), legend: 'p99' },
      ],
    },
    {
      title: 'Time of an insert',
      description: 'One insert into ClickHouse, retries included.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'insertDuration'), legend: 'p50' },
        { expression: quantile(0.99, 'insertDuration'), legend: 'p99' },
      ],
    },
    {
      title: 'Waiting for delivery',
      alert: 'MillraceLagGrowing',
      description:
        'Events in the buffer that are not in ClickHouse yet, and events in the spools of collectors that cannot reach Kafka.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('sum', 'lag'), legend: 'in the buffer' },
        { expression: gauge('sum', 'spoolEvents'), legend: 'in spools' },
      ],
    },
    {
      title: 'Age of what waits',
      alert: 'MillraceDeliveryStuck',
      description:
        'How long ago the oldest event was received that is not in ClickHouse yet, or still in a spool.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('max', 'oldestSeconds'), legend: 'read, not inserted' },
        { expression: gauge('max', 'spoolOldest'), legend: 'in a spool' },
      ],
    },
    {
      title: 'Dependencies reachable',
      description: '1: every instance reaches it. 0: one does not.',
      unit: 'bool_yes_no',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('min', 'bufferUp'), legend: 'buffer' },
        { expression: gauge('min', 'clickhouseUp'), legend: 'ClickHouse' },
      ],
    },
    {
      title: 'Refused by the collector',
      description:
        'Events and bodies by error code: docs/errors.md says what each means. A jump after a release of a client is a fault of that release.',
      unit: 'eps',
      kind: 'lines',
      width: 12,
      queries: [{ expression: perSecond('rejected', { by: ['code'] }), legend: '{{code}}' }],
    },
    {
      title: 'Stored, but no row of events',
      alert: 'MillraceDeadLetters',
      description:
        'Dead letters were refused by ClickHouse and wait in `dead_letters`; repeats had an id that was seen before.',
      unit: 'eps',
      kind: 'lines',
      width: 12,
      queries: [
        { expression: perSecond('deadLetters'), legend: 'dead letters' },
        { expression: perSecond('repeats'), legend: 'repeats' },
      ],
    },
  ],
};
