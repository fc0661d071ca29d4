/** The result of `bench compare` for a person. */
import { alignColumns, countOf } from '../text-table.ts';
import { type ComparedFigure, type ComparedName, type CompareReport, comparedFigures } from './compare.ts';
import { formatCount, formatDigits, formatMs } from './figures.ts';
import { formatEnvironment, joinLines } from './format-lines.ts';
import type { LoadReport } from './load-report.ts';

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
    'Medians of the rounds; a ratio is that of the two runs of a round, the interval is that of the ratio.',
    '',
    ...joinLines(formatEnvironment(report, ['A', 'B'])),
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
  return 'one round does not tell how sure a difference is';
}
