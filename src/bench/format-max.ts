/** The result of `bench max` for a person, and its steps. */
import { alignColumns, countOf } from '../text-table.ts';
import { formatCount, formatDigits, formatMs, formatShare } from './figures.ts';
import { formatCost, formatEnvironment, joinLines } from './format-lines.ts';
import type { MaxReport, MaxStep } from './max.ts';

/** A step as one line. */
export function formatStep(step: MaxStep): string {
  const widths = [7, 11, 5, 12, 12];
  return cellsOf(step)
    .map((cell, i) => cell.padEnd(widths[i] ?? 0))
    .join('  ')
    .trimEnd();
}

/** The report as text, several lines. */
export function formatMax(report: MaxReport): string {
  const { steps, rate, warnings } = report;
  const best = steps.findLast((step) => step.rate === rate && step.phase === 'confirm');
  return [
    verdictOf(report),
    '',
    ...alignColumns(steps.map(cellsOf), 0),
    '',
    ...joinLines([
      ...(best === undefined
        ? []
        : formatCost('collector', 'event', {
            cost: best.collector_cost,
            unknown: best.collector_cost_unknown,
          })),
      ...formatEnvironment(report),
    ]),
    ...warnings.flatMap((warning) => ['', warning]),
    '',
  ].join('\n');
}

function cellsOf({ rate, phase, holds, slo, latency_ms, requests }: MaxStep): string[] {
  const missed = slo.filter((term) => !term.holds).map(({ text, value }) => `${text}: ${value}`);
  return [
    phase,
    `${formatCount(rate).padStart(9)}/s`,
    holds ? 'holds' : 'fails',
    `p50 ${formatMs(latency_ms.p50)}`,
    `p99 ${formatMs(latency_ms.p99)}`,
    `errors ${formatShare(requests.failed / Math.max(1, requests.planned))}`,
    missed.join(', '),
  ];
}

function verdictOf({ verdict, rate, slo, steps, options, error }: MaxReport): string {
  const last = steps.at(-1);
  const confirmed = steps.filter((step) => step.rate === rate && step.phase === 'confirm');
  const seconds = confirmed.at(-1)?.seconds ?? 0;
  switch (verdict) {
    case 'ok':
      return (
        `${formatCount(rate ?? 0)} requests/s (${formatCount((rate ?? 0) * options.events_per_post)} events/s) hold ` +
        `${slo}: ${confirmed.length} runs of ${formatDigits(seconds)} s confirmed it.`
      );
    case 'none':
      return `NO RATE HOLDS ${slo}: the last one tried was ${formatCount(last?.rate ?? 0)} requests/s.`;
    case 'loss':
      return `${error}, at ${formatCount(last?.rate ?? 0)} requests/s; the search was ended.`;
    case 'not_delivered':
      return `NOT DELIVERED: ${error}. ${sayHeld(steps)}`;
    case 'unavailable':
      return `UNAVAILABLE: ${error}. ${sayHeld(steps)}`;
    case 'stopped':
      return `STOPPED after ${countOf(steps.length, 'step')}. ${sayHeld(steps)}`;
  }
}

function sayHeld(steps: readonly MaxStep[]): string {
  const held = Math.max(0, ...steps.filter(({ holds }) => holds).map(({ rate }) => rate));
  return `Nothing was confirmed; ${held === 0 ? 'no rate held' : `the highest rate that held was ${formatCount(held)} requests/s`}.`;
}
