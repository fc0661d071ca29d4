/**
 * The classic load test, for k6: https://grafana.com/docs/k6
 *
 *   k6 run -e URL=http://collector:8080 bench/load/k6/classic.js               # 15,000 posts/s for 3 minutes
 *   k6 run -e URL=http://collector:8080 -e TEST=ramp bench/load/k6/classic.js  # up to the break point
 *
 * | variable | default | |
 * | --- | --- | --- |
 * | URL | http://127.0.0.1:8080 | origin of the collector |
 * | TEST | constant | `constant`: RATE for DURATION; `ramp`: from 1/s to RATE in DURATION, ends when it breaks |
 * | RATE | 15000, ramp 40000 | posts a second |
 * | DURATION | 3m, ramp 5m | |
 * | EVENTS | 1 | events in a post: 1 is JSON, more are NDJSON |
 * | VUS | 500 | most posts in flight; above it k6 drops posts and counts them in `dropped_iterations` |
 * | P99_MS | 100 | most milliseconds that 99% of the answers may take |
 *
 * k6 needs 50 to 100 us of CPU for a post: give it four cores or more for 15,000/s, on another machine than the
 * collector. It counts the time from when a post was sent, not from when it was due.
 */
import { check } from 'k6';
import http from 'k6/http';

const url = `${__ENV.URL || 'http://127.0.0.1:8080'}/v1/events`;
const isRamp = __ENV.TEST === 'ramp';
const rate = Number(__ENV.RATE || (isRamp ? 40_000 : 15_000));
const duration = __ENV.DURATION || (isRamp ? '5m' : '3m');
const events = Number(__ENV.EVENTS || 1);
const maxVus = Number(__ENV.VUS || 500);
const p99Ms = Number(__ENV.P99_MS || 100);

const event = '{"event":"view","os":"linux","browser":"chrome"}';
const body = events === 1 ? event : `${event}\n`.repeat(events);
const headers = { 'Content-Type': events === 1 ? 'application/json' : 'application/x-ndjson' };

const common = { exec: 'post', timeUnit: '1s', preAllocatedVUs: maxVus, maxVUs: maxVus };
const constant = { executor: 'constant-arrival-rate', rate, duration, ...common };
const ramp = {
  executor: 'ramping-arrival-rate',
  startRate: 1,
  stages: [{ target: rate, duration }],
  ...common,
};

/** A ramp ends at the break point: there is nothing to learn above it. */
function limit(threshold) {
  return [{ threshold, abortOnFail: isRamp, delayAbortEval: '5s' }];
}

export const options = {
  scenarios: { classic: isRamp ? ramp : constant },
  thresholds: {
    http_req_failed: limit('rate<0.001'),
    http_req_duration: limit(`p(99)<${p99Ms}`),
    dropped_iterations: limit(`rate<${rate / 1000}`),
    checks: limit('rate>0.999'),
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

/** What k6 runs for each post. */
export function post() {
  const answer = http.post(url, body, { headers });
  check(answer, {
    stored: ({ status, body: receipt }) => status === 200 && receipt.startsWith('{"status":"ok"'),
  });
}
