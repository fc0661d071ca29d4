import { describe, expect, test } from 'vitest';
import { formatBench } from '../../../src/bench/format-report.ts';
import { emptyLoad } from '../../../src/bench/load.ts';
import { judgeSending, warningsAbove } from '../../../src/bench/max.ts';
import type { Measurement } from '../../../src/bench/measure.ts';
import { reportBench } from '../../../src/bench/report.ts';
import { parseSlo, withErrorLimit } from '../../../src/bench/slo.ts';
import { environment, measurementOf } from '../../support/bench-figures.ts';

const report = (changed: Parameters<typeof measurementOf>[0], slo?: string) =>
  reportBench(environment, measurementOf(changed), {
    slo: slo === undefined ? undefined : withErrorLimit(parseSlo(slo)),
    isStopped: false,
  });
const headline = (...args: Parameters<typeof report>) => formatBench(report(...args)).split('\n')[0];

describe('the verdict of a run', () => {
  test('OK, with at most 1 in 1,000 requests failed; these are named', () => {
    expect(headline({})).toMatch(/^OK: 100 of 100 requests\/s, p50 1 ms, p99 [\d.]+ ms; /);
    const one = { planned: 1_000, acknowledged: 999, eventsUnknown: 21 };
    expect(headline(one)).toMatch(/^OK: .* ms, 1 failed, 21 events unknown; /);
  });

  test('more than that are failures, not OK', () => {
    const many = { planned: 1_000, acknowledged: 990, eventsRejected: 1 };
    expect(report(many).verdict).toBe('failures');
    expect(headline(many)).toMatch(/^FAILURES: 1% of the requests failed; .*, 10 failed, 1 event rejected; /);
  });

  test('an objective has a limit for errors, too, unless it names one', () => {
    const many = { planned: 1_000, acknowledged: 990 };
    expect(report(many, 'p99<1m').verdict).toBe('slo_missed');
    expect(headline(many, 'p99<1m')).toMatch(/^MISSED: errors<0\.1% \(errors 1%\)\. /);
    expect(report(many, 'p99<1m,errors<2%').verdict).toBe('ok');
    expect(headline(many, 'p99<1m,errors<2%')).toMatch(/^HOLDS: .*, 10 failed; /);
  });

  test('a run without answers has no latencies', () => {
    const none = { acknowledged: 0, answers: 0, eventsAcknowledged: 0, generatorBusy: 1 };
    expect(report(none)).toMatchObject({ verdict: 'nothing_acknowledged', warnings: [] });
    expect(formatBench(report(none))).toMatch(/^latency +p50 -, p90 -, p99 -, p99\.9 -, max -,/m);
  });

  test('small rates are not rounded away', () => {
    const few = { planned: 1, acknowledged: 1, answers: 1, seconds: 3 };
    expect(headline(few)).toMatch(/^OK: [\d.]+ of 0\.333 requests\/s/);
  });

  test('events of batches have a line of their own', () => {
    const text = formatBench(report({ eventsAcknowledged: 2_000, eventsRejected: 3, eventsUnknown: 4 }));
    expect(text).toMatch(/^events +2,000 acknowledged, 3 rejected, 4 unknown$/m);
  });
});

test('a rate is kept up when requests are sent in time, however late the answers come', () => {
  const of = (waitingAtEnd: number) => judgeSending(report({ planned: 100, waitingAtEnd })).holds;
  expect([of(0), of(5), of(6)]).toEqual([true, true, false]);
});

test('warnings of the search are those of the lowest rate that failed above all that held', () => {
  const step = (rate: number, holds: boolean) => ({ rate, holds, warnings: [`of ${rate}`] });
  const steps = [step(100, false), step(100, true), step(400, false), step(200, true), step(300, false)];
  expect(warningsAbove(steps)).toEqual(['At 300 requests/s: of 300']);
  expect(warningsAbove(steps.slice(0, 2))).toEqual([]);
});

describe('a run that went wrong', () => {
  const reportOf = (changed: Partial<Measurement>, isStopped = false) =>
    reportBench(environment, { ...measurementOf(), ...changed }, { slo: undefined, isStopped });

  test('ClickHouse went away: the figures of the load are there', () => {
    const found = reportOf({ storeProblem: 'ClickHouse is away' });
    expect(found).toMatchObject({ verdict: 'unavailable', stored_error: 'ClickHouse is away' });
    const text = formatBench(found);
    expect(text).toMatch(/^UNAVAILABLE: the stored events are not known; 100 of 100 requests\/s, /);
    expect(text).toMatch(/^stored +error: ClickHouse is away$/m);
  });

  test('the collector died after the warm-up', () => {
    const found = reportOf({ load: emptyLoad(), loadProblem: 'nobody is there' });
    expect(found).toMatchObject({ verdict: 'unavailable', latency_ms: { p50: null } });
    expect(formatBench(found)).toMatch(/^UNAVAILABLE after the warm-up: nobody is there; /);
  });

  test('it was stopped in the warm-up', () => {
    const found = reportOf({ load: emptyLoad() }, true);
    expect(found.verdict).toBe('stopped');
    expect(formatBench(found)).toMatch(/^STOPPED before anything was measured; /);
  });

  test('receipts that were given twice are seen without a look at what is stored', () => {
    const found = reportOf({ acknowledgedTwice: 7 });
    expect(found.verdict).toBe('loss');
    expect(formatBench(found)).toMatch(/^TWICE: 7 receipts issued twice; /);
  });

  test('costs that are not known have a reason', () => {
    expect(formatBench(reportOf({ collector: { unknown: 'it was restarted' } }))).toMatch(
      /^cost +collector: not known: it was restarted$/m,
    );
  });
});
