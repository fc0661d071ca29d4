/** Figures of a load run that nobody has run. */
import { createHistogram } from 'node:perf_hooks';
import type { LoadResult } from '../../src/bench/load.ts';
import type { Measurement } from '../../src/bench/measure.ts';
import { parseProfile } from '../../src/bench/profile.ts';
import type { RunConditions } from '../../src/bench/run-conditions.ts';

const histogramOf = (ms: number) => {
  const histogram = createHistogram();
  histogram.record(ms * 1_000);
  return histogram;
};

/** 1,000 requests over ten seconds, all of them acknowledged after a millisecond, but for what is changed. */
export const loadOf = (changed: Partial<LoadResult> = {}): LoadResult => ({
  ...{ seconds: 9.99, planned: 1_000, sent: 1_000, waitingAtEnd: 0, answers: 1_000, acknowledged: 1_000 },
  ...{ failures: [], eventsSent: 1_000, eventsAcknowledged: 0, eventsRejected: 0, eventsUnknown: 0 },
  receipts: { partitions: new Map(), spools: new Map() },
  acknowledgedBodies: [],
  ...{ latency: histogramOf(1), lateness: histogramOf(0.1), generatorBusy: 0.1 },
  series: Array.from({ length: 10 }, (_, i) => ({
    ...{ at: i + 1, planned: 100, sent: 100, acknowledged: 100, failed: 0, p50Ms: 1, p99Ms: 1, waiting: 0 },
  })),
  ...changed,
});

/** A measurement of that load, without a look at what is stored. */
export const measurementOf = (changed: Partial<LoadResult> = {}): Measurement => ({
  ...{ profile: parseProfile('const:100:10s'), load: loadOf(changed), processes: [] },
  ...{ collector: { unknown: 'nobody looked' }, streamer: { unknown: 'nobody looked' } },
  ...{ loadProblem: undefined, acknowledgedTwice: 0, stored: undefined, storeProblem: undefined },
});

/** Where it was not run. */
export const environment: RunConditions = {
  started_at: '2026-01-01T00:00:00.000Z',
  machine: { cpu: 'none', cores: 1, memory_bytes: 1, platform: 'none', node: 'none' },
  versions: { millrace: '0.0.0', commit: null, clickhouse: null },
  collectors: [],
  options: {
    ...{ path: '/v1/events', payload: 'classic', bytes_per_event: 48, events_per_post: 1, connections: 64 },
    ...{ connection_use: 'kept', answer_timeout_ms: 30_000, warm_up_ms: 0 },
  },
};
