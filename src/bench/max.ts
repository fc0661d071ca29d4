/** `millrace bench max`: the highest rate at which objectives hold. */
import type { Environment } from './environment.ts';
import { formatCount } from './figures.ts';
import { type LoadReport, reportLoad } from './load-report.ts';
import { type Measurement, measure, type Site, StoppedError, settle } from './measure.ts';
import { parseProfile } from './profile.ts';
import { judgeRun, type ReconciliationReport, reportStored } from './report.ts';
import { findHighestRate, type Phase } from './search.ts';
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

/** `none`: not even the lowest rate was confirmed. */
export type MaxVerdict = 'ok' | 'loss' | 'none' | 'stopped';

/** What was found. */
export interface MaxReport extends Environment {
  readonly kind: 'max';
  readonly verdict: MaxVerdict;
  /** The objectives as they were applied. */
  readonly slo: string;
  /** The highest rate that was confirmed, requests per second; null when none was. */
  readonly rate: number | null;
  readonly steps: readonly MaxStep[];
  /** Of the steps next to the limit. */
  readonly warnings: readonly string[];
}

/** How to search. */
export interface MaxOptions {
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
class LossFoundError extends Error {}

/** Searches. Loss ends it at once: no rate is a remedy for that. */
export async function findMax(site: Site, environment: Environment, options: MaxOptions): Promise<MaxReport> {
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
    if (step.reconciliation?.verdict === 'loss') throw new LossFoundError();
    if (!reconciles) await settle(site, measurement.load);
    return step.holds;
  }
  const search = { startRate, lowestRate: 1, highestRate, precision: 0.05, confirmations };
  let verdict: MaxVerdict = 'ok';
  let rate: number | undefined;
  try {
    rate = await findHighestRate(probe, search);
    if (rate === undefined) verdict = 'none';
  } catch (error) {
    if (error instanceof LossFoundError) verdict = 'loss';
    else if (error instanceof StoppedError) verdict = 'stopped';
    else throw error;
  }
  return {
    kind: 'max',
    verdict,
    ...environment,
    slo: slo.map(({ text }) => text).join(','),
    rate: rate ?? null,
    steps,
    warnings: warningsAtLimit(steps),
  };
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
    holds: isHeld(judged),
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

/** Of the lowest rate that failed, and of the last run that confirmed the result. */
function warningsAtLimit(steps: readonly MaxStep[]): readonly string[] {
  const failed = steps.filter(({ holds }) => !holds).sort((a, b) => a.rate - b.rate)[0];
  const confirmed = steps.findLast(({ holds, phase }) => holds && phase === 'confirm');
  return [failed, confirmed].flatMap((step) =>
    (step?.warnings ?? []).map((warning) => `At ${formatCount(step?.rate ?? 0)} requests/s: ${warning}`),
  );
}
