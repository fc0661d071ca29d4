import { describe, expect, test } from 'vitest';
import { median, studentT, summariseRatios } from '../../../src/bench/compare.ts';

describe('median', () => {
  test('is the middle, or between the two middle ones, in any order', () => {
    expect(median([3])).toBe(3);
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 1, 4, 2])).toBe(3);
    expect(median([])).toBeNaN();
  });
});

describe("Student's t", () => {
  // From printed tables, two-sided, 95%.
  test.each([
    [1, 12.706],
    [2, 4.303],
    [4, 2.776],
    [10, 2.228],
    [11, 2.201],
    [15, 2.131],
    [20, 2.086],
    [30, 2.042],
    [60, 2.0],
    [120, 1.98],
  ])('with %i degrees of freedom is %f', (freedom, t) => {
    expect(studentT(freedom)).toBeCloseTo(t, 2);
  });
});

describe('summariseRatios', () => {
  test('agrees with an interval worked out by hand', () => {
    // Logarithms -0.1, 0, 0.1, 0.2, 0.3: mean 0.1, standard deviation 0.158114, half 2.776 * 0.158114 / sqrt(5).
    const summary = summariseRatios([-0.1, 0, 0.1, 0.2, 0.3].map(Math.exp));
    expect(Math.log(summary.low)).toBeCloseTo(0.1 - 0.196293, 4);
    expect(Math.log(summary.high)).toBeCloseTo(0.1 + 0.196293, 4);
    expect(summary).toMatchObject({ rounds: 5, difference: 'none' });
    expect(summary.median).toBeCloseTo(Math.exp(0.1), 10);
  });

  test('says lower and higher when 1 is outside, and the reciprocal of the reciprocals', () => {
    const ratios = [1.9, 2.1, 2, 2.05, 1.97];
    const higher = summariseRatios(ratios);
    expect(higher.difference).toBe('higher');
    const lower = summariseRatios(ratios.map((ratio) => 1 / ratio));
    expect(lower.difference).toBe('lower');
    expect(1 / lower.low).toBeCloseTo(higher.high, 10);
    expect(1 / lower.high).toBeCloseTo(higher.low, 10);
  });

  test('equal rounds leave no doubt', () => {
    expect(summariseRatios([1.5, 1.5, 1.5])).toMatchObject({ difference: 'higher' });
    expect(summariseRatios([1, 1, 1])).toMatchObject({ low: 1, high: 1, difference: 'none' });
  });

  test('holds the true ratio in about 95 of 100 cases', () => {
    const random = seeded(7);
    let held = 0;
    const cases = 2_000;
    for (let i = 0; i < cases; i++) {
      // Rounds vary by 20%, and B costs 1.3 times what A costs.
      const ratios = Array.from({ length: 5 }, () => Math.exp(Math.log(1.3) + 0.2 * normal(random)));
      const { low, high } = summariseRatios(ratios);
      if (low <= 1.3 && high >= 1.3) held++;
    }
    expect(held / cases).toBeGreaterThan(0.93);
    expect(held / cases).toBeLessThan(0.97);
  });
});

/** Numbers from 0 to 1, always the same (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
