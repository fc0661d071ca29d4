import { describe, expect, test } from 'vitest';
import { findHighestRate, type Phase, type SearchOptions } from '../../../src/bench/max.ts';

const options: SearchOptions = {
  startRate: 1_000,
  lowestRate: 1,
  highestRate: 10_000_000,
  precision: 0.05,
  confirmations: 3,
};

/** A collector that holds up to its capacity; with noise, a try goes wrong (or well) now and then. */
function collectorOf(capacity: number, noise: (rate: number, n: number) => number = () => 1) {
  const tries: { rate: number; phase: Phase }[] = [];
  const probe = async (rate: number, phase: Phase) => {
    expect(Number.isInteger(rate)).toBe(true);
    tries.push({ rate, phase });
    return rate <= capacity * noise(rate, tries.length);
  };
  return { tries, probe };
}

describe('findHighestRate', () => {
  test.each([1, 2, 3, 7, 90, 999, 1_000, 1_001, 4_000, 47_123, 1_234_567])(
    'finds a capacity of %i within 5%%',
    async (capacity) => {
      const { probe, tries } = collectorOf(capacity);
      const rate = (await findHighestRate(probe, options)) ?? 0;
      expect(rate).toBeLessThanOrEqual(capacity);
      expect(rate * 1.05 + 1).toBeGreaterThanOrEqual(capacity);
      expect(tries.slice(-3)).toEqual(Array.from({ length: 3 }, () => ({ rate, phase: 'confirm' })));
      expect(tries.length).toBeLessThan(40);
    },
  );

  test('no rate, when even the lowest fails', async () => {
    const { probe } = collectorOf(0.5);
    expect(await findHighestRate(probe, options)).toBeUndefined();
  });

  test('never tries more than the highest', async () => {
    const { probe, tries } = collectorOf(Number.POSITIVE_INFINITY);
    expect(await findHighestRate(probe, { ...options, highestRate: 5_000 })).toBe(5_000);
    expect(Math.max(...tries.map(({ rate }) => rate))).toBe(5_000);
  });

  test('one hiccup does not pass for the limit', async () => {
    const { probe } = collectorOf(50_000, (_, n) => (n === 3 ? 0.01 : 1));
    expect(await findHighestRate(probe, options)).toBeGreaterThan(47_000);
  });

  test('a step that held by chance is put right by the confirmations', async () => {
    // Short steps hold up to 60,000, long ones up to 50,000.
    const tries: number[] = [];
    const probe = async (rate: number, phase: Phase) => {
      if (phase === 'confirm') tries.push(rate);
      return rate <= (phase === 'search' ? 60_000 : 50_000);
    };
    const rate = (await findHighestRate(probe, options)) ?? 0;
    expect(rate).toBeLessThanOrEqual(50_000);
    expect(rate).toBeGreaterThan(50_000 * 0.94);
    expect(tries.slice(-3)).toEqual([rate, rate, rate]);
  });

  test('gives up when long runs hold at less than half of what short ones did', async () => {
    const probe = async (_: number, phase: Phase) => phase === 'search';
    expect(await findHighestRate(probe, { ...options, highestRate: 8_000 })).toBeUndefined();
  });

  test('stays near the capacity of a noisy collector', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      let state = seed;
      const random = () => {
        state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
        return state / 2 ** 31;
      };
      // Capacity varies by 10% from try to try.
      const { probe } = collectorOf(20_000, () => 0.9 + 0.2 * random());
      const rate = (await findHighestRate(probe, options)) ?? 0;
      expect(rate).toBeGreaterThan(20_000 * 0.75);
      expect(rate).toBeLessThan(20_000 * 1.1);
    }
  });
});
