/** Whether the figures say more about the generator than about the collector. */
import type { LoadOptions, LoadResult, LoadSecond } from './load.ts';

/** Above this the thread has no time left for what comes at an unlucky moment. */
const mostBusy = 0.9;
/** Lateness below this is that of timers, microseconds. */
const timerUs = 2_000;
/** Of the requests of a second: below this, waiting is chance. */
const mostWaiting = 0.01;
/** Answers within this time are quick: more connections would carry more, milliseconds. */
const quickAnswerMs = 50;

/** What is needed to judge. */
export type GeneratorFigures = Pick<
  LoadResult,
  'answers' | 'latency' | 'lateness' | 'generatorBusy' | 'series'
>;

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
      `${busy}: it is the limit, and latencies are partly its own. Ask for fewer requests (a lower rate, or more ` +
        'events in each with --events-per-post), or run it on another machine.',
    ];
  }
  const warnings: string[] = [];
  const lateUs = lateness.count === 0 ? 0 : lateness.percentile(99);
  if (lateUs > timerUs && lateUs > latency.percentile(99) / 2) {
    warnings.push(
      `The generator came to 1 in 100 requests ${formatMs(lateUs / 1_000)} late or more: something else on this machine ` +
        'held it up, and latencies are partly its own. Run it on another machine, or keep this one idle otherwise.',
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
