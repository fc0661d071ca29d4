/**
 * Sums up the load of a run. Names are those of the JSON.
 *
 * Whether the figures say more about the generator than about the collector.
 */
import { round } from '../text.ts';
import type { LoadFailure, LoadOptions, LoadResult, LoadSecond } from './load.ts';
import type { Measurement } from './measure.ts';
import type { Cost, CostFound } from './process-watch.ts';
import { type Quantile, quantiles } from './slo.ts';

/** Milliseconds, by quantile; null where nothing was measured. */
export type LatencyReport = Readonly<Record<Quantile, number | null>>;

/** The load of a run, without its seconds. */
export interface LoadReport {
  readonly profile: string;
  /** Seconds over which requests were due. */
  readonly seconds: number;
  /** Requests per second: due, and acknowledged while they were due. */
  readonly asked_rate: number;
  readonly achieved_rate: number;
  /** Acknowledged events per second. */
  readonly event_rate: number;
  readonly requests: Readonly<Record<'planned' | 'sent' | 'acknowledged' | 'failed', number>>;
  /** Requests that were due but not sent when the last one became due. */
  readonly waiting_at_end: number;
  readonly failures: readonly LoadFailure[];
  readonly events: Readonly<Record<'sent' | 'acknowledged' | 'rejected' | 'unknown', number>>;
  /** From the planned send time to the answer, of all planned requests; null without any answer. */
  readonly latency_ms: LatencyReport;
  /** From the planned send time to when the generator came to it. */
  readonly lateness_ms: LatencyReport;
  /** 0 to 1. */
  readonly generator_busy: number;
  readonly collector_cost: Cost | null;
  /** Why there is no cost; null when there is one. */
  readonly collector_cost_unknown: string | null;
  /** Events, of the warm-up too, that were acknowledged by the receipt of another one: a fault of the collector. */
  readonly acknowledged_twice: number;
  /** What is doubtful about these figures, and what to do. */
  readonly warnings: readonly string[];
}

/** Sums up the load of a run. */
export function reportLoad(measurement: Measurement, connections: number): LoadReport {
  const { profile, load } = measurement;
  const [collector_cost, collector_cost_unknown] = splitCost(measurement.collector);
  const seconds = load.planned < profile.requests ? load.seconds : profile.seconds;
  const rate = achievedRate(load, seconds);
  return {
    profile: profile.text,
    seconds,
    asked_rate: round(load.planned / Math.max(seconds, 0.001)),
    achieved_rate: round(rate),
    event_rate: round(load.acknowledged === 0 ? 0 : (rate * load.eventsAcknowledged) / load.acknowledged),
    requests: {
      planned: load.planned,
      sent: load.sent,
      acknowledged: load.acknowledged,
      failed: load.planned - load.acknowledged,
    },
    waiting_at_end: load.waitingAtEnd,
    failures: load.failures,
    events: {
      sent: load.eventsSent,
      acknowledged: load.eventsAcknowledged,
      rejected: load.eventsRejected,
      unknown: load.eventsUnknown,
    },
    latency_ms: readQuantiles(load.answers === 0 ? undefined : load.latency),
    lateness_ms: readQuantiles(load.lateness),
    generator_busy: round(load.generatorBusy),
    ...{ collector_cost, collector_cost_unknown },
    acknowledged_twice: measurement.acknowledgedTwice,
    warnings: warnOfGenerator(load, { connections }),
  };
}

/** The cost, or why there is none. */
export function splitCost(found: CostFound): readonly [Cost | null, string | null] {
  return 'unknown' in found ? [null, found.unknown] : [found, null];
}

/**
 * Requests per second that were acknowledged while requests were due. Not over the time until the last answer: one
 * that is late would halve the rate of a short run.
 */
function achievedRate({ series }: LoadResult, seconds: number): number {
  const last = series.findIndex(({ at }) => at >= seconds - 0.01);
  const counted = last === -1 ? series : series.slice(0, last + 1);
  const acknowledged = counted.reduce((sum, second) => sum + second.acknowledged, 0);
  return acknowledged / Math.max(seconds, counted.at(-1)?.at ?? 0, 0.001);
}

/** Share of the planned requests that failed, 0 to 1. */
export function failedShare({ requests }: Pick<LoadReport, 'requests'>): number {
  return requests.failed / Math.max(1, requests.planned);
}

function readQuantiles(histogram: LoadResult['latency'] | undefined): LatencyReport {
  const read = (percent: number) =>
    histogram === undefined || histogram.count === 0 ? null : round(histogram.percentile(percent) / 1_000);
  const entries = Object.entries(quantiles).map(([name, percent]) => [name, read(percent)]);
  return Object.fromEntries(entries) as LatencyReport;
}

/** Above this the thread has no time left for what comes at an unlucky moment. */
const mostBusy = 0.9;
/** Lateness below this is that of timers, microseconds. */
const timerUs = 2_000;
/** Of the requests of a second: below this, waiting is chance. */
const mostWaiting = 0.01;
/** Answers within this time are quick: more connections would carry more, milliseconds. */
const quickAnswerMs = 50;

/** What is needed to judge. */
type GeneratorFigures = Pick<LoadResult, 'answers' | 'latency' | 'lateness' | 'generatorBusy' | 'series'>;

/** Warnings for a person, each with what to do about it; none when the collector is what was measured. */
export function warnOfGenerator(
  { answers, latency, lateness, generatorBusy, series }: GeneratorFigures,
  { connections }: Pick<LoadOptions, 'connections'>,
): string[] {
  // Nothing was measured, so there is nothing to doubt.
  if (answers === 0) return [];
  if (generatorBusy > mostBusy) {
    const busy = `The generator was busy ${Math.round(100 * generatorBusy)}% of the time`;
    return [
      `${busy}: it is the bottleneck, and latencies are partly its own. Ask for fewer requests (a lower rate, or more ` +
        'events in each with --events-per-post), or run it on another machine.',
    ];
  }
  const warnings: string[] = [];
  const lateUs = lateness.count === 0 ? 0 : lateness.percentile(99);
  if (lateUs > timerUs && lateUs > latency.percentile(99) / 2) {
    warnings.push(
      `The generator sent 1 in 100 requests ${formatMs(lateUs / 1_000)} late or more: something else on this machine ` +
        'held it up, and latencies are partly its own. Run it on another machine, or keep this one otherwise idle.',
    );
  }
  const answerMs = answerTimeWhenFull(series, connections);
  if (answerMs !== undefined && answerMs < quickAnswerMs) {
    warnings.push(
      `Requests waited for a free connection, while answers took about ${formatMs(answerMs)}. ` +
        `Raise --connections (now ${connections}).`,
    );
  }
  return warnings;
}

/**
 * How long an answer took while all connections were in use, milliseconds; undefined when they were not, mostly.
 * By Little's law: the requests in flight are those of a second times the seconds that each takes.
 */
function answerTimeWhenFull(series: readonly LoadSecond[], connections: number): number | undefined {
  const full = series.filter(({ waiting, planned }) => waiting > Math.max(1, planned * mostWaiting));
  if (full.length === 0 || full.length < series.length / 2) return undefined;
  const answered = full.reduce((sum, { acknowledged, failed }) => sum + acknowledged + failed, 0);
  return answered === 0 ? undefined : (connections / (answered / full.length)) * 1_000;
}

function formatMs(milliseconds: number): string {
  return `${Number(milliseconds.toPrecision(2))} ms`;
}
