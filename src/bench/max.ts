/**
 * `millrace bench max`: the highest rate at which objectives hold.
 *
 * Finds the highest rate that holds: doubling, bisecting, confirming. Knows nothing of what is tried.
 */
import { isUnavailable } from '../errors.ts';
import { formatCount } from '../text.ts';
import { type LoadReport, reportLoad } from './load-report.ts';
import { type BenchTarget, type Measurement, measure, StoppedError, settle } from './measure.ts';
import { parseProfile } from './profile.ts';
import { describeFaults, judgeRun, type ReconciliationReport, reportStored } from './report.ts';
import type { RunConditions } from './run-conditions.ts';
import { isHeld, type JudgedTerm, type SloTerm } from './slo.ts';

/** One rate that was tried. Names are those of the JSON. */
export interface MaxStep extends LoadReport {
  /** Requests per second. */
  readonly rate: number;
  readonly phase: Phase;
  readonly holds: boolean;
  readonly slo: readonly JudgedTerm[];
  /** Null where nobody looked: the short steps, and without `loss=0`. */
  readonly reconciliation: ReconciliationReport | null;
}

/**
 * `none`: not even the lowest rate was confirmed. `not_delivered`, `unavailable`: the search ended early, since what a
 * step had sent was not stored in time, or since the collector or ClickHouse went away.
 */
export type MaxVerdict = 'ok' | 'loss' | 'none' | 'stopped' | 'not_delivered' | 'unavailable';

/** What was found. */
export interface MaxReport extends RunConditions {
  readonly kind: 'max';
  readonly verdict: MaxVerdict;
  /** Why the search was ended early, for a person; null when it was not, or was stopped. */
  readonly error: string | null;
  /** The objectives as they were applied. */
  readonly slo: string;
  /** The highest rate that was confirmed, requests per second; null when none was. */
  readonly rate: number | null;
  readonly steps: readonly MaxStep[];
  /** Of the lowest rate that failed above all that held. */
  readonly warnings: readonly string[];
}

/** How to search. */
interface MaxOptions {
  readonly slo: readonly SloTerm[];
  /** Requests per second to begin with. */
  readonly startRate: number;
  /** Length of a step of the search, and of a run that confirms, milliseconds. */
  readonly stepMs: number;
  readonly confirmMs: number;
  /** Told of each step when it is over. */
  readonly onStep: (step: MaxStep) => void;
}

const confirmations = 3;
const highestRate = 1_000_000;
/**
 * When fewer of the requests than this share were sent by the time the last one was due, they pile up, whatever their
 * latency is so far. Answers are no measure: those of the last requests come later, at any rate.
 */
const leastSent = 0.95;

/** Ends a search. */
class SearchEnd extends Error {
  readonly verdict: MaxVerdict;

  constructor(verdict: MaxVerdict, message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** Searches. Loss ends it at once: no rate is a remedy for that. */
export async function findMax(
  site: BenchTarget,
  environment: RunConditions,
  options: MaxOptions,
): Promise<MaxReport> {
  const { slo, startRate, stepMs, confirmMs } = options;
  const steps: MaxStep[] = [];
  async function probe(rate: number, phase: Phase): Promise<boolean> {
    if (site.stop.aborted) throw new StoppedError();
    const profile = parseProfile(`const:${rate}:${phase === 'confirm' ? confirmMs : stepMs}ms`);
    // Each step warms the next one up.
    const warmUpMs = steps.length === 0 ? site.warmUpMs : 0;
    const reconciles = phase === 'confirm' && slo.some(({ kind }) => kind === 'loss');
    const measurement = await measure({ ...site, warmUpMs }, profile, { reconciles });
    if (site.stop.aborted) throw new StoppedError();
    const step = reportStep(measurement, { rate, phase, slo, connections: site.load.connections });
    steps.push(step);
    options.onStep(step);
    await endWhenAtFault(site, step, measurement);
    return step.holds;
  }
  const search = { startRate, lowestRate: 1, highestRate, precision: 0.05, confirmations };
  let end: Pick<MaxReport, 'verdict' | 'error'> = { verdict: 'ok', error: null };
  let rate: number | undefined;
  try {
    rate = await findHighestRate(probe, search);
    if (rate === undefined) end = { verdict: 'none', error: null };
  } catch (error) {
    end = endOf(error, steps);
  }
  return {
    kind: 'max',
    ...end,
    ...environment,
    slo: slo.map(({ text }) => text).join(','),
    rate: rate ?? null,
    steps,
    warnings: warningsAbove(steps),
  };
}

/** Ends the search where no rate is a remedy: loss, a streamer that does not deliver, a ClickHouse that is away. */
async function endWhenAtFault(site: BenchTarget, step: MaxStep, measurement: Measurement): Promise<void> {
  const { reconciliation, acknowledged_twice, rate } = step;
  if (reconciliation?.verdict === 'loss' || acknowledged_twice > 0)
    throw new SearchEnd('loss', describeFaults(step));
  if (measurement.storeProblem !== undefined) throw new SearchEnd('unavailable', measurement.storeProblem);
  const isSettled =
    reconciliation === null
      ? await settle(site, measurement.load)
      : reconciliation.verdict !== 'not_delivered';
  if (site.stop.aborted) throw new StoppedError();
  if (!isSettled)
    throw new SearchEnd(
      'not_delivered',
      `not everything that was sent at ${formatCount(rate)} requests/s was stored within ${site.waitMs / 1_000} s: check ` +
        'that the streamer runs, or give more time with --wait',
    );
}

/** How a search ended; what was measured is kept when there is any. */
function endOf(error: unknown, steps: readonly MaxStep[]): Pick<MaxReport, 'verdict' | 'error'> {
  if (error instanceof SearchEnd) return { verdict: error.verdict, error: error.message };
  if (error instanceof StoppedError) return { verdict: 'stopped', error: null };
  if (steps.length > 0 && isUnavailable(error)) return { verdict: 'unavailable', error: error.message };
  throw error;
}

function reportStep(
  measurement: Measurement,
  options: { rate: number; phase: Phase; slo: readonly SloTerm[]; connections: number },
): MaxStep {
  const { rate, phase, slo, connections } = options;
  const load = reportLoad(measurement, connections);
  const found = measurement.stored?.reconciliation;
  // The short steps do not reconcile.
  const terms = found === undefined ? slo.filter(({ kind }) => kind !== 'loss') : slo;
  const judged = [judgeSending(load), ...judgeRun(terms, load, found)];
  return {
    rate,
    phase,
    holds: isHeld(judged) && load.acknowledged_twice === 0,
    slo: judged,
    ...load,
    reconciliation: reportStored(measurement),
  };
}

/** Whether the requests were sent as they became due. */
export function judgeSending({ requests, waiting_at_end }: LoadReport): JudgedTerm {
  const inTime = requests.planned - waiting_at_end;
  return {
    text: `in time>=${100 * leastSent}%`,
    value: `${formatCount(inTime)} of ${formatCount(requests.planned)} sent in time`,
    holds: inTime >= leastSent * requests.planned,
  };
}

/** Of the lowest rate that failed above all that held: a hiccup below says nothing about the limit. */
export function warningsAbove(steps: readonly Pick<MaxStep, 'rate' | 'holds' | 'warnings'>[]): string[] {
  const held = Math.max(0, ...steps.filter(({ holds }) => holds).map(({ rate }) => rate));
  const failed = steps.filter(({ holds, rate }) => !holds && rate > held).sort((a, b) => a.rate - b.rate)[0];
  return (failed?.warnings ?? []).map(
    (warning) => `At ${formatCount(failed?.rate ?? 0)} requests/s: ${warning}`,
  );
}

/** Why a rate is tried: a short step of the search, or one of the long runs that confirm its result. */
export type Phase = 'search' | 'confirm';

/** What limits the search. */
export interface SearchOptions {
  /** Where it begins, requests per second. */
  readonly startRate: number;
  /** It does not try rates beyond these. */
  readonly lowestRate: number;
  readonly highestRate: number;
  /** How far the highest rate that holds and the lowest that fails may be apart, as a share: 0.05. */
  readonly precision: number;
  /** Long runs that must hold, one after the other. */
  readonly confirmations: number;
}

/** Tries a rate; whether it holds. */
type Probe = (rate: number, phase: Phase) => Promise<boolean>;

/** How far a rate may be lowered by confirmations that fail, as a share of what short steps found. */
const lowestConfirmed = 0.5;

/**
 * Searches. Rates are whole numbers.
 * @returns the highest rate that was confirmed; undefined when none was
 */
export async function findHighestRate(probe: Probe, options: SearchOptions): Promise<number | undefined> {
  const { precision, confirmations } = options;
  const found = await bracket(probe, options);
  if (found === undefined) return undefined;
  let { holds, fails } = found;
  while (fails - holds > Math.max(1, holds * precision)) {
    // The geometric middle: precision is a share, and the bracket is a factor of two.
    const middle = Math.min(fails - 1, Math.max(holds + 1, Math.round(Math.sqrt(holds * fails))));
    if (await holdsOnce(probe, middle)) holds = middle;
    else fails = middle;
  }
  const lowest = Math.max(options.lowestRate, holds * lowestConfirmed);
  for (let rate = holds; rate >= lowest; rate = Math.min(rate - 1, Math.floor(rate * (1 - precision)))) {
    let confirmed = 0;
    while (confirmed < confirmations && (await probe(rate, 'confirm'))) confirmed++;
    if (confirmed === confirmations) return rate;
  }
  return undefined;
}

/** A rate that holds and a higher one that does not; the latter is beyond the highest when that holds, too. */
async function bracket(
  probe: Probe,
  { startRate, lowestRate, highestRate }: SearchOptions,
): Promise<{ holds: number; fails: number } | undefined> {
  let rate = startRate;
  if (await holdsOnce(probe, rate)) {
    for (;;) {
      const holds = rate;
      if (holds === highestRate) return { holds, fails: holds + 1 };
      rate = Math.min(highestRate, 2 * rate);
      if (!(await holdsOnce(probe, rate))) return { holds, fails: rate };
    }
  }
  for (;;) {
    const fails = rate;
    if (fails === lowestRate) return undefined;
    rate = Math.max(lowestRate, Math.floor(rate / 2));
    if (await holdsOnce(probe, rate)) return { holds: rate, fails };
  }
}

/**
 * A step that fails is tried once more: a hiccup of the machine must not pass for the limit, since the search
 * never comes back to rates above it. One that holds by chance does no harm: the confirmations find out.
 */
async function holdsOnce(probe: Probe, rate: number): Promise<boolean> {
  return (await probe(rate, 'search')) || (await probe(rate, 'search'));
}
