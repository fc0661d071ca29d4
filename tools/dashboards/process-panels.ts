/** Panels on the Node.js processes, for the dashboards of the collector and of the streamer. */
import type { MetricPanel } from './panel.ts';
import { gauge, perSecond } from './promql.ts';

/** Processor, memory and event loop of each instance. */
export const processPanels: readonly MetricPanel[] = [
  {
    title: 'Processor',
    description: 'Cores used by each instance, its workers together.',
    unit: 'short',
    kind: 'lines',
    width: 8,
    queries: [{ expression: perSecond('processCpu', { by: ['instance'] }), legend: '{{instance}}' }],
  },
  {
    title: 'Memory',
    description:
      'Resident memory of each instance, its workers together. Bounded by the options in bytes: it does not grow with the load.',
    unit: 'bytes',
    kind: 'lines',
    width: 8,
    queries: [{ expression: gauge('sum', 'processMemory', { by: ['instance'] }), legend: '{{instance}}' }],
  },
  {
    title: 'Event loop',
    description:
      'How late the event loop runs, p99. Above some 100 ms the process needs more processor than it gets.',
    unit: 's',
    kind: 'lines',
    width: 8,
    queries: [{ expression: gauge('max', 'eventLoopLag', { by: ['instance'] }), legend: '{{instance}}' }],
  },
];
