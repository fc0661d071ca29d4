/**
 * The result of `bench compare` for a person.
 *
 * The result of `bench max` for a person, and its steps.
 */
import { alignColumns, countOf, formatCount, formatDigits, formatMs, formatShare } from '../text.ts';
import { type ComparedFigure, type ComparedName, type CompareReport, comparedFigures } from './compare.ts';
import { formatConditions, formatCost, joinLines } from './format-lines.ts';
import type { LoadReport } from './load-report.ts';
import type { MaxReport, MaxStep } from './max.ts';

const titles: Readonly<Record<ComparedName, string>> = {
  cpu_us_per_event: 'CPU µs per event',
  p50_ms: 'p50 ms',
  p99_ms: 'p99 ms',
  achieved_rate: 'requests/s',
  max_resident_bytes: 'memory MiB',
};

const names = Object.keys(comparedFigures) as ComparedName[];

/** A run as one line. */
export function formatRun(round: number, side: 'a' | 'b', report: LoadReport): string {
  const { achieved_rate, asked_rate, latency_ms, requests, collector_cost } = report;
  return [
    `round ${round} ${side.toUpperCase()}: ${formatDigits(achieved_rate)} of ${formatDigits(asked_rate)} requests/s`,
    `p50 ${formatMs(latency_ms.p50)}`,
    `p99 ${formatMs(latency_ms.p99)}`,
    `${formatCount(requests.failed)} failed`,
    `CPU ${collector_cost === null ? '-' : `${formatDigits(collector_cost.cpu_us_per_event)} µs per event`}`,
  ].join(', ');
}

/** The report as text, several lines. */
export function formatCompare(report: CompareReport): string {
  const { figures, rounds, warnings } = report;
  const rows = names.map((name) => [titles[name], ...cellsOf(figures[name], name)]);
  const failed = (side: 'a' | 'b') => rounds.reduce((sum, round) => sum + round[side].requests.failed, 0);
  return [
    `${sayVerdict(report)}${countOf(rounds.length, 'round')} of ${report.profile}; ${sayDifference(report)}.`,
    '',
    ...alignColumns(
      [
        ['', 'A', 'B', 'B : A', '95% interval', ''],
        ...rows,
        ['failed requests', formatCount(failed('a')), formatCount(failed('b')), '', '', ''],
      ],
      5,
    ),
    '',
    'Figures are medians of the rounds. A ratio compares the two runs of a round; the interval belongs to the ratio.',
    '',
    ...joinLines(formatConditions(report, ['A', 'B'])),
    ...warnings.flatMap((warning) => ['', warning]),
    '',
  ].join('\n');
}

function cellsOf({ a, b, ratio }: ComparedFigure, name: ComparedName): string[] {
  const scale = name === 'max_resident_bytes' ? 1024 ** 2 : 1;
  const format = (value: number | null) => (value === null ? '-' : formatDigits(value / scale));
  if (ratio === null) return [format(a), format(b), '-', '-', ''];
  const { low, high, median, difference } = ratio;
  const words = { none: 'no difference', lower: 'B is lower', higher: 'B is higher' } as const;
  return [
    format(a),
    format(b),
    median.toFixed(3),
    `${low.toFixed(3)} to ${high.toFixed(3)}`,
    words[difference],
  ];
}

function sayVerdict({ verdict, error }: CompareReport): string {
  const words = {
    ok: '',
    stopped: 'STOPPED: ',
    unavailable: `UNAVAILABLE: ${error}. `,
    loss: `TWICE: ${error}. `,
  };
  return words[verdict];
}

function sayDifference({ figures, rounds }: CompareReport): string {
  const { ratio } = figures.cpu_us_per_event;
  if (ratio === null) return sayUnknown(rounds);
  const { median, low, high, difference } = ratio;
  const interval = `${median.toFixed(2)} times (${low.toFixed(2)} to ${high.toFixed(2)})`;
  if (difference === 'none') return `no difference in CPU per event: B takes ${interval} that of A`;
  return `B takes ${interval} the CPU per event of A`;
}

function sayUnknown(rounds: CompareReport['rounds']): string {
  for (const side of ['a', 'b'] as const) {
    const why = rounds.find((round) => round[side].collector_cost_unknown !== null)?.[side];
    if (why !== undefined)
      return `the CPU of ${side.toUpperCase()} is not known: ${why.collector_cost_unknown}`;
  }
  return 'one round does not show how certain a difference is';
}

/** A step as one line. */
export function formatStep(step: MaxStep): string {
  const widths = [7, 11, 5, 12, 12];
  return cellsOfStep(step)
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
    ...alignColumns(steps.map(cellsOfStep), 0),
    '',
    ...joinLines([
      ...(best === undefined
        ? []
        : formatCost('collector', 'event', {
            cost: best.collector_cost,
            unknown: best.collector_cost_unknown,
          })),
      ...formatConditions(report),
    ]),
    ...warnings.flatMap((warning) => ['', warning]),
    '',
  ].join('\n');
}

function cellsOfStep({ rate, phase, holds, slo, latency_ms, requests }: MaxStep): string[] {
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
