import { createHistogram } from 'node:perf_hooks';
import { describe, expect, test } from 'vitest';
import type { LoadResult, LoadSecond } from '../../../src/bench/load.ts';
import { reportLoad, warnOfGenerator } from '../../../src/bench/load-report.ts';
import { parseProfile } from '../../../src/bench/profile.ts';
import { createProgress, formatSecond } from '../../../src/bench/progress.ts';
import { measurementOf } from '../../support/bench-figures.ts';

function histogramOf(...milliseconds: number[]) {
  const histogram = createHistogram();
  for (const value of milliseconds) histogram.record(Math.round(value * 1_000));
  return histogram;
}

const second = (at: number, changed: Partial<LoadSecond> = {}): LoadSecond => ({
  ...{ at, planned: 100, sent: 100, acknowledged: 100, failed: 0, p50Ms: 1, p99Ms: 2, waiting: 0 },
  ...changed,
});

const result = (changed: Partial<LoadResult> = {}): LoadResult => ({
  ...{ seconds: 2.99, planned: 300, sent: 300, acknowledged: 300, failures: [] },
  ...{ waitingAtEnd: 0, answers: 300 },
  ...{ eventsSent: 600, eventsAcknowledged: 600, eventsRejected: 0, eventsUnknown: 0 },
  receipts: { partitions: new Map(), spools: new Map() },
  acknowledgedBodies: [],
  latency: histogramOf(1, 2, 3, 4, 10),
  lateness: histogramOf(0.1),
  generatorBusy: 0.2,
  series: [second(1), second(2), second(3)],
  ...changed,
});

const report = (changed: Partial<LoadResult> = {}) =>
  reportLoad(
    {
      ...measurementOf(),
      ...{ profile: parseProfile('const:100:3s'), load: result(changed) },
    },
    64,
  );

describe('reportLoad', () => {
  test('gives rates of requests and of events, and latencies in milliseconds', () => {
    expect(report()).toMatchObject({
      ...{ seconds: 3, asked_rate: 100, achieved_rate: 100, event_rate: 200 },
      requests: { planned: 300, sent: 300, acknowledged: 300, failed: 0 },
      warnings: [],
    });
    expect(report().latency_ms.p50).toBeCloseTo(3, 1);
    expect(report().latency_ms.max).toBeCloseTo(10, 1);
  });

  test('one answer that is late does not halve the rate', () => {
    const series = [
      second(1),
      second(2),
      second(3, { acknowledged: 99 }),
      second(30, { acknowledged: 1, planned: 0 }),
    ];
    expect(report({ series }).achieved_rate).toBe(99.667);
  });

  test('what came after the planned time was not achieved', () => {
    const series = [1, 2, 3, 4, 5, 6].map((at) => second(at, { acknowledged: 50 }));
    expect(report({ series })).toMatchObject({ asked_rate: 100, achieved_rate: 50 });
  });

  test('requests that were never sent are failed ones', () => {
    const { requests } = report({ sent: 200, acknowledged: 150 });
    expect(requests).toEqual({ planned: 300, sent: 200, acknowledged: 150, failed: 150 });
  });

  test('of a run that was stopped, the time that it ran', () => {
    expect(report({ planned: 100, seconds: 1, series: [second(1)] })).toMatchObject({
      ...{ seconds: 1, asked_rate: 100, achieved_rate: 100 },
    });
  });

  test('of a run without any answer, rates of zero and no latencies, and no word of the generator', () => {
    const none = report({ acknowledged: 0, answers: 0, eventsAcknowledged: 0, generatorBusy: 1, series: [] });
    expect(none).toMatchObject({ achieved_rate: 0, event_rate: 0, warnings: [] });
    expect(none.latency_ms).toEqual({ p50: null, p90: null, p99: null, 'p99.9': null, max: null });
  });
});

describe('warnOfGenerator', () => {
  const warn = (changed: Partial<LoadResult>) => warnOfGenerator(result(changed), { connections: 64 });

  test('is silent when the collector is what was measured', () => {
    expect(warn({})).toEqual([]);
    // Slow answers, and connections that are all in use because of that.
    const waiting = [second(1, { waiting: 900 }), second(2, { waiting: 1_800 })];
    expect(warn({ latency: histogramOf(9_000), series: waiting })).toEqual([]);
  });

  test('a busy generator: fewer requests, or another machine', () => {
    expect(warn({ generatorBusy: 0.97 })).toEqual([
      expect.stringMatching(/busy 97% of the time.*--events-per-post.*another machine/),
    ]);
  });

  test('a generator that came late, though it was not busy', () => {
    expect(warn({ lateness: histogramOf(8) })).toEqual([expect.stringMatching(/8 ms late.*another machine/)]);
    expect(warn({ lateness: histogramOf(8), latency: histogramOf(100) })).toEqual([]);
    expect(warn({ lateness: histogramOf(1.5), latency: histogramOf(1.6) })).toEqual([]);
  });

  test('too few connections for quick answers', () => {
    // 64 connections and 6,400 answers a second: each takes 10 ms.
    const full = [1, 2, 3].map((at) =>
      second(at, { acknowledged: 6_400, planned: 9_000, waiting: 2_600 * at }),
    );
    expect(warn({ series: full })).toEqual([
      expect.stringMatching(/about 10 ms.*Raise --connections \(now 64\)/),
    ]);
    expect(warn({ series: [second(1, { waiting: 500 }), second(2), second(3)] })).toEqual([]);
  });
});

describe('progress', () => {
  test('a second as a line', () => {
    const one = second(12.02, { acknowledged: 9_990, planned: 10_000, p99Ms: 12.345, waiting: 5 });
    expect(formatSecond(one, { errors: 1, lag: 12_000 })).toBe(
      '12 s, 9,990 of 10,000 requests/s, p50 1 ms, p99 12.3 ms, 1 error, lag 12,000, 5 waiting to be sent',
    );
    expect(formatSecond(second(1), { errors: 0, lag: undefined })).toBe(
      '1 s, 100 of 100 requests/s, p50 1 ms, p99 2 ms, 0 errors, lag -',
    );
  });

  function streamOf(isTTY: boolean) {
    const written: string[] = [];
    const write = (text: string) => {
      written.push(text);
      return true;
    };
    return { written, stream: { isTTY, write: write as NodeJS.WriteStream['write'] } };
  }

  test('without a terminal: a line every ten seconds of each run, failures of the run so far', () => {
    const { written, stream } = streamOf(false);
    const progress = createProgress(stream);
    progress.step('warming up');
    for (let at = 1; at <= 25; at++) progress.second(second(at + 0.01, { failed: 1 }), undefined);
    for (let at = 1; at <= 10; at++) progress.second(second(at + 0.01), 3);
    progress.clear();
    expect(written.map((line) => line.replace(/ requests.*ms, /, ' '))).toEqual([
      '10 s, 100 of 100 10 errors, lag -\n',
      '20 s, 100 of 100 20 errors, lag -\n',
      '10 s, 100 of 100 0 errors, lag 3\n',
    ]);
  });

  test('on a terminal: one line, written over', () => {
    const { written, stream } = streamOf(true);
    const progress = createProgress(stream);
    progress.step('warming up');
    progress.second(second(1), 7);
    progress.line('stays');
    expect(written).toEqual([
      '\r\u001b[Kwarming up ...',
      expect.stringMatching(/K1 s, .*lag 7$/),
      '\r\u001b[K',
      'stays\n',
    ]);
  });
});
