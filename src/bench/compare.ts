/**
 * `millrace bench compare A B`: which of two collectors costs less, answers sooner, or takes more.
 *
 * Medians, and how sure a ratio is.
 */
import { isUnavailable } from '../errors.ts';
import { formatCount } from '../text.ts';
import { type LoadReport, reportLoad } from './load-report.ts';
import { type BenchTarget, measure, StoppedError } from './measure.ts';
import type { Profile } from './profile.ts';
import type { RunConditions } from './run-conditions.ts';

/** The two, as they are called in a report. */
export type Side = 'a' | 'b';

/** One round: both, one after the other. Names are those of the JSON. */
export interface CompareRound {
  /** The one that ran first. */
  readonly first: Side;
  readonly a: LoadReport;
  readonly b: LoadReport;
}

/** One figure of both. */
export interface ComparedFigure {
  /** Medians of the rounds; null when it is not known in every round. */
  readonly a: number | null;
  readonly b: number | null;
  /** B : A of each round, summed up; null likewise. */
  readonly ratio: RatioSummary | null;
}

/** What is compared. */
export const comparedFigures = {
  cpu_us_per_event: ({ collector_cost }: LoadReport) => collector_cost?.cpu_us_per_event,
  p50_ms: ({ latency_ms }: LoadReport) => latency_ms.p50 ?? undefined,
  p99_ms: ({ latency_ms }: LoadReport) => latency_ms.p99 ?? undefined,
  achieved_rate: ({ achieved_rate }: LoadReport) => achieved_rate,
  max_resident_bytes: ({ collector_cost }: LoadReport) => collector_cost?.max_resident_bytes ?? undefined,
} as const;

/** Name of a figure. */
export type ComparedName = keyof typeof comparedFigures;

/** What was found. */
export interface CompareReport extends RunConditions {
  readonly kind: 'compare';
  /** `unavailable`: one of them went away after the rounds that are here. `loss`: receipts were given twice. */
  readonly verdict: 'ok' | 'stopped' | 'unavailable' | 'loss';
  /** What is wrong, for a person; null when nothing is. */
  readonly error: string | null;
  readonly profile: string;
  readonly figures: Readonly<Record<ComparedName, ComparedFigure>>;
  readonly rounds: readonly CompareRound[];
  /** Of all runs, each once. */
  readonly warnings: readonly string[];
}

/** How to compare. */
interface CompareOptions {
  readonly profile: Profile;
  readonly rounds: number;
  /** Told of each run when it is over. */
  readonly onRun: (round: number, side: Side, report: LoadReport) => void;
}

/**
 * Runs the rounds: A then B, then B then A, and so on, so that neither gains from what the other leaves behind. A
 * round that was stopped does not count.
 */
export async function compareCollectors(
  sites: Readonly<Record<Side, BenchTarget>>,
  environment: RunConditions,
  { profile, rounds: count, onRun }: CompareOptions,
): Promise<CompareReport> {
  const rounds: CompareRound[] = [];
  let end: Pick<CompareReport, 'verdict' | 'error'> | undefined;
  async function run(round: number, side: Side): Promise<LoadReport> {
    const { load, stop } = sites[side];
    const measurement = await measure(sites[side], profile, { reconciles: false });
    if (stop.aborted) throw new StoppedError();
    const report = reportLoad(measurement, load.connections);
    onRun(round, side, report);
    return report;
  }
  try {
    for (let round = 1; round <= count; round++) {
      const first = round % 2 === 1 ? 'a' : 'b';
      const one = await run(round, first);
      const other = await run(round, first === 'a' ? 'b' : 'a');
      rounds.push({ first, ...(first === 'a' ? { a: one, b: other } : { a: other, b: one }) });
    }
  } catch (error) {
    if (error instanceof StoppedError) end = { verdict: 'stopped', error: null };
    else if (rounds.length > 0 && isUnavailable(error))
      end = { verdict: 'unavailable', error: error.message };
    else throw error;
  }
  return {
    kind: 'compare',
    ...(findTwice(rounds) ?? end ?? { verdict: 'ok', error: null }),
    ...environment,
    profile: profile.text,
    figures: summariseRounds(rounds),
    rounds,
    warnings: [...new Set(rounds.flatMap(({ a, b }) => [...a.warnings, ...b.warnings]))],
  };
}

/** Receipts that one of them gave twice. */
function findTwice(rounds: readonly CompareRound[]): Pick<CompareReport, 'verdict' | 'error'> | undefined {
  const found = (['a', 'b'] as const).flatMap((side) => {
    const twice = rounds.reduce((sum, round) => sum + round[side].acknowledged_twice, 0);
    return twice === 0 ? [] : [`${side.toUpperCase()} issued ${formatCount(twice)} receipts twice`];
  });
  return found.length === 0 ? undefined : { verdict: 'loss', error: found.join(', ') };
}

/** Sums up all figures. */
export function summariseRounds(rounds: readonly CompareRound[]): CompareReport['figures'] {
  const entries = Object.entries(comparedFigures).map(([name, figureOf]) => [
    name,
    summarise(rounds, figureOf),
  ]);
  return Object.fromEntries(entries) as CompareReport['figures'];
}

function summarise(
  rounds: readonly CompareRound[],
  figureOf: (report: LoadReport) => number | undefined,
): ComparedFigure {
  const valuesOf = (side: Side) => rounds.map((round) => figureOf(round[side]) ?? 0);
  const [a, b] = [valuesOf('a'), valuesOf('b')];
  const isKnown = (values: readonly number[]) => values.length > 0 && values.every((value) => value > 0);
  const ratios = a.map((value, i) => (b[i] ?? 0) / value);
  return {
    a: isKnown(a) ? median(a) : null,
    b: isKnown(b) ? median(b) : null,
    ratio: isKnown(a) && isKnown(b) && rounds.length > 1 ? summariseRatios(ratios) : null,
  };
}

/** Ratios of several rounds, summed up. */
interface RatioSummary {
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
