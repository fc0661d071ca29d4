import { describe, expect, test } from 'vitest';
import { type CompareRound, type Side, summariseRounds } from '../../../src/bench/compare.ts';
import type { LoadReport } from '../../../src/bench/load-report.ts';

/** The parts of a run that are compared. */
function runOf(cpu: number | undefined, p99 = 10): LoadReport {
  const cost = cpu === undefined ? null : { cpu_us_per_event: cpu, max_resident_bytes: null };
  const latency = { p50: 1, p90: 2, p99, 'p99.9': 20, max: 30 };
  return { achieved_rate: 1_000, latency_ms: latency, collector_cost: cost } as unknown as LoadReport;
}

const round = (first: Side, a: LoadReport, b: LoadReport): CompareRound => ({ first, a, b });

describe('summariseRounds', () => {
  test('compares within rounds: what changes both of a round changes nothing', () => {
    // The machine slows down by half from round to round; B always costs 0.8 times what A costs.
    const rounds = [1, 1.5, 2.25].map((slow) => round('a', runOf(10 * slow), runOf(8 * slow)));
    const { cpu_us_per_event, p50_ms, achieved_rate } = summariseRounds(rounds);
    expect(cpu_us_per_event).toMatchObject({ a: 15, b: 12, ratio: { rounds: 3, difference: 'lower' } });
    expect(cpu_us_per_event.ratio?.median).toBeCloseTo(0.8, 10);
    expect(p50_ms.ratio).toMatchObject({ median: 1, difference: 'none' });
    expect(achieved_rate.ratio).toMatchObject({ median: 1, difference: 'none' });
  });

  test('a difference that rounds disagree about is none', () => {
    const rounds = [8, 13, 9, 12].map((cpu, i) => round(i % 2 === 0 ? 'a' : 'b', runOf(10), runOf(cpu)));
    expect(summariseRounds(rounds).cpu_us_per_event.ratio).toMatchObject({ difference: 'none' });
  });

  test('a figure that one of them does not tell is not compared', () => {
    const rounds = [round('a', runOf(10), runOf(undefined)), round('b', runOf(10), runOf(9))];
    const { cpu_us_per_event, max_resident_bytes } = summariseRounds(rounds);
    expect(cpu_us_per_event).toEqual({ a: 10, b: null, ratio: null });
    expect(max_resident_bytes).toEqual({ a: null, b: null, ratio: null });
  });

  test('one round tells nothing of how sure it is, none tells nothing', () => {
    expect(summariseRounds([round('a', runOf(10), runOf(5))]).cpu_us_per_event).toEqual({
      a: 10,
      b: 5,
      ratio: null,
    });
    expect(summariseRounds([]).p99_ms).toEqual({ a: null, b: null, ratio: null });
  });
});
