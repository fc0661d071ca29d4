import { expect, test } from 'vitest';
import { LoadCounts } from '../../../src/bench/load-counts.ts';

const accepted = { accepted: 1, rejected: 0, unknown: 0, failure: undefined };
const answerTimeoutMs = 30_000;

/** Of 100 requests 98 were answered in a millisecond. */
function tallyOf98(): LoadCounts {
  const tally = new LoadCounts(1, answerTimeoutMs);
  for (let n = 0; n < 98; n++) tally.answered(accepted, 1);
  return tally;
}

const p99Of = (tally: LoadCounts) => {
  tally.endSecond({ at: 1, planned: 100, waiting: 0 });
  return tally.latency.percentile(99) / 1_000;
};

test('requests without an answer count as the answer timeout, however soon they failed', () => {
  const tally = tallyOf98();
  tally.lost('ECONNRESET', 0.1);
  tally.notSent('ECONNREFUSED', 0.1);
  expect(p99Of(tally)).toBeGreaterThan(0.99 * answerTimeoutMs);
  expect([tally.latency.count, tally.answers]).toEqual([100, 98]);
});

test('requests that waited longer than that count as long as they waited', () => {
  const tally = tallyOf98();
  tally.lost('timeout', 90_000);
  tally.notSent('not sent: all connections busy', 90_000);
  expect(p99Of(tally)).toBeGreaterThan(89_000);
});

test('a run that was stopped says of requests that were not sent how long they had waited', () => {
  const tally = tallyOf98();
  tally.stopped('not sent: the run was stopped', 5);
  tally.stopped('not sent: the run was stopped', 5);
  expect(p99Of(tally)).toBeLessThan(6);
});

test('a second in which nothing ended has no latencies', () => {
  const tally = new LoadCounts(1, answerTimeoutMs);
  expect(tally.endSecond({ at: 1, planned: 1, waiting: 0 })).toMatchObject({ p50Ms: null, p99Ms: null });
});
