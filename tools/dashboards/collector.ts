/** What the collectors do. */
import type { MetricDashboard } from './panel.ts';
import { processPanels } from './process-panels.ts';
import { gauge, mean, perSecond, quantile } from './promql.ts';

/** Requests, appends to the buffer, memory held, connections, spool, processes. */
export const collector: MetricDashboard = {
  uid: 'millrace-collector',
  title: 'Millrace / Collector',
  description: 'Requests and appends of the collectors, by instance where that tells something.',
  folder: 'operations',
  from: 'now-1h',
  scope: 'millrace_http_connections',
  panels: [
    {
      title: 'Answers by status',
      description: '2xx: stored. 4xx: the client must change something. 503: send again later.',
      unit: 'reqps',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('requests', { by: ['status'] }), legend: '{{status}}' }],
    },
    {
      title: 'Accepted events by instance',
      description: 'A balancer that spreads evenly gives lines that lie together.',
      unit: 'eps',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('accepted', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Refused and failed',
      description:
        'Refused for what they are, by error code; failed: valid, but the buffer did not take them.',
      unit: 'eps',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: perSecond('rejected', { by: ['code'] }), legend: '{{code}}' },
        { expression: perSecond('failed'), legend: 'failed' },
      ],
    },
    {
      title: 'Time to answer',
      description: 'Time from the first byte of a post to its answer, for posts whose events were stored.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'requestDuration'), legend: 'p50' },
        { expression: quantile(0.9, 'requestDuration'), legend: 'p90' },
        { expression: quantile(0.99, 'requestDuration'), legend: 'p99' },
      ],
    },
    {
      title: 'Time to answer by instance, p99',
      description: 'One line above the others is one machine or one zone, not the buffer.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.99, 'requestDuration', { by: ['instance'] }), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Time of an append',
      description: 'One append to the buffer, until it was durable. The greater part of the time to answer.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: quantile(0.5, 'appendDuration'), legend: 'p50' },
        { expression: quantile(0.99, 'appendDuration'), legend: 'p99' },
      ],
    },
    {
      title: 'Events of an append',
      description: 'Grows with the load: the next batch gathers while one is on its way.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: mean('appendEvents'), legend: 'mean' },
        { expression: quantile(0.99, 'appendEvents'), legend: 'p99' },
      ],
    },
    {
      title: 'Appends that failed',
      description:
        'With --on-outage reject their clients got 503; with spool their events went to the spool.',
      unit: 'ops',
      kind: 'lines',
      width: 8,
      queries: [{ expression: perSecond('appendErrors', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Buffer reachable',
      alert: 'MillraceBufferAway',
      description: '1: every worker of the instance can use the buffer.',
      unit: 'bool_yes_no',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('min', 'bufferUp', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Bytes in flight',
      description:
        'Bodies and events held until the buffer has them. At --max-in-flight-bytes new posts get 503.',
      unit: 'bytes',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'inFlightBytes', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Posts in progress',
      description: 'At --max-requests new posts get 503.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('sum', 'requestsInFlight', { by: ['instance'] }), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Connections',
      description: 'Open ones, and those closed at once since --max-connections were open.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('sum', 'connections', { by: ['instance'] }), legend: '{{instance}}' },
        { expression: perSecond('connectionsRefused'), legend: 'refused a second' },
      ],
    },
    {
      title: 'Events in the spool',
      alert: 'MillraceSpoolInUse',
      description: 'Acknowledged with 202 while Kafka was away; they are on the disk of that machine only.',
      unit: 'short',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('sum', 'spoolEvents', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    {
      title: 'Disk of the spool',
      alert: 'MillraceSpoolNearlyFull',
      description: 'At --spool-max-bytes new events get 503.',
      unit: 'bytes',
      kind: 'lines',
      width: 8,
      queries: [
        { expression: gauge('sum', 'spoolBytes', { by: ['instance'] }), legend: '{{instance}}' },
        { expression: gauge('max', 'spoolMaxBytes'), legend: 'limit' },
      ],
    },
    {
      title: 'Age of the spool',
      description:
        'Of its oldest event. Longer than the retention of the topic: Kafka may remove it as soon as it arrives.',
      unit: 's',
      kind: 'lines',
      width: 8,
      queries: [{ expression: gauge('max', 'spoolOldest', { by: ['instance'] }), legend: '{{instance}}' }],
    },
    ...processPanels,
  ],
};
