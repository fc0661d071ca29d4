import { expect, test } from 'vitest';
import {
  Counter,
  createRegistry,
  Gauge,
  Histogram,
  type MetricDefinition,
  metricTable,
} from '../../../src/metrics/metrics.ts';

test('the text is what Prometheus expects', async () => {
  const accepted = new Counter(metricTable.accepted);
  const rejected = new Counter(metricTable.rejected);
  const duration = new Histogram(metricTable.requestDuration);
  const lag = new Gauge(metricTable.lag, () => new Map([['3', 17]]));
  accepted.add(2);
  rejected.add(1, 'INVALID_EVENT');
  for (const seconds of [0.001, 0.0011, 20]) duration.observe(seconds);
  const text = await createRegistry({ accepted, rejected, requestDuration: duration, lag }).metrics();
  for (const line of [
    '# TYPE millrace_events_accepted_total counter',
    'millrace_events_accepted_total 2',
    'millrace_events_rejected_total{code="INVALID_EVENT"} 1',
    'millrace_http_request_duration_seconds_bucket{le="0.001"} 1',
    'millrace_http_request_duration_seconds_bucket{le="0.0025"} 2',
    'millrace_http_request_duration_seconds_bucket{le="+Inf"} 3',
    'millrace_http_request_duration_seconds_count 3',
    'millrace_consumer_lag_events{partition="3"} 17',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
});

test.each(Object.values<MetricDefinition>(metricTable))(
  '$name follows the conventions',
  ({ name, help, type, buckets }) => {
    expect(name).toMatch(/^millrace_[a-z_]+$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    expect(help).toMatch(/^[A-Z0-9].*\.$/);
    expect(buckets !== undefined).toBe(type === 'histogram');
    expect([...(buckets ?? [])].sort((a, b) => a - b)).toEqual(buckets ?? []);
  },
);
