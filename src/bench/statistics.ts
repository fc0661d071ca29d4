/** Medians, and how sure a ratio is. */

/** Ratios of several rounds, summed up. */
export interface RatioSummary {
  readonly rounds: number;
  readonly median: number;
  /** 95% interval of the ratio. */
  readonly low: number;
  readonly high: number;
  /** `none`: the interval holds 1, so the rounds do not tell the two apart. */
  readonly difference: 'none' | 'lower' | 'higher';
}

/** The middle value, or the mean of the two middle ones; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/**
 * Sums up the ratios B : A of rounds. A round runs A and B one after the other, so what the machine does meanwhile
 * changes both, and cancels out in the ratio of the round; between rounds it does not.
 *
 * The interval is Student's, of the logarithms: a ratio of 2 and one of 1/2 are equally far from "the same", which
 * only their logarithms are; and A : B gets the reciprocal interval, so that no verdict depends on who is called A.
 * With few rounds Student's t, and not the normal distribution, accounts for not knowing how much rounds vary.
 * @param ratios above 0, of at least two rounds
 */
export function summariseRatios(ratios: readonly number[]): RatioSummary {
  const rounds = ratios.length;
  const logs = ratios.map(Math.log);
  const mean = logs.reduce((sum, log) => sum + log, 0) / rounds;
  const squares = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0);
  const half = studentT(rounds - 1) * Math.sqrt(squares / (rounds - 1) / rounds);
  const [low, high] = [Math.exp(mean - half), Math.exp(mean + half)];
  const difference = low > 1 ? 'higher' : high < 1 ? 'lower' : 'none';
  return { rounds, median: median(ratios), low, high, difference };
}

/** For 1 to 10 degrees of freedom, where the series below is not exact enough. */
const smallT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/**
 * The value that Student's t stays within in 95% of all cases, to three digits.
 * @param freedom degrees of freedom, at least 1
 */
export function studentT(freedom: number): number {
  const known = smallT[freedom - 1];
  if (known !== undefined) return known;
  // Abramowitz and Stegun, 26.7.5, from the same quantile of the normal distribution.
  const z = 1.959_964;
  const first = (z ** 3 + z) / 4;
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  const third = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384;
  return z + first / freedom + second / freedom ** 2 + third / freedom ** 3;
}
