/** Lines that the reports for a person have in common: a title, and what stands beside it. */
import {
  alignColumns,
  countOf,
  formatCount,
  formatDigits,
  formatMiB,
  formatMs,
  formatShare,
} from '../text.ts';
import type { LatencyReport, LoadReport } from './load-report.ts';
import type { Cost } from './process-watch.ts';
import type { RunConditions } from './run-conditions.ts';

const mostFailures = 10;

/** A title and what stands beside it. */
export type Line = readonly [title: string, text: string];

/** Lines below each other; a title that repeats the one above is left out. */
export function joinLines(lines: readonly Line[]): string[] {
  const rows = lines.map(([title, text], i) => [title === lines[i - 1]?.[0] ? '' : title, text]);
  return alignColumns(rows, 0);
}

/** What the load was, and what it found. */
export function formatLoad(report: LoadReport & Pick<RunConditions, 'options'>): Line[] {
  const { requests, failures, options, lateness_ms } = report;
  const { events_per_post, bytes_per_event, payload, connections, connection_use } = options;
  return [
    [
      'asked',
      `${report.profile}: ${formatDigits(report.asked_rate)} requests/s over ${formatDigits(report.seconds)} s, ` +
        `${countOf(events_per_post, 'event')} in each`,
    ],
    [
      'asked',
      `payload ${payload}, ${formatCount(bytes_per_event)} bytes an event, at most ${countOf(connections, 'connection')}` +
        `${connection_use === 'fresh' ? ', a fresh one for each request' : ''}`,
    ],
    [
      'achieved',
      `${formatDigits(report.achieved_rate)} requests/s, ${formatDigits(report.event_rate)} events/s`,
    ],
    ['latency', `${formatQuantiles(report.latency_ms)}, from the planned send time, of all requests`],
    ['events', formatEvents(report)],
    ['failed', `${formatCount(requests.failed)} of ${formatCount(requests.planned)} requests`],
    ...failures
      .slice(0, mostFailures)
      .map(({ reason, requests: count }): Line => ['failed', `${formatCount(count)}: ${reason}`]),
    ['generator', `${formatShare(report.generator_busy)} busy, p99 ${formatMs(lateness_ms.p99)} late`],
  ];
}

function formatEvents({ events }: LoadReport): string {
  const { acknowledged, rejected, unknown } = events;
  return `${formatCount(acknowledged)} acknowledged, ${formatCount(rejected)} rejected, ${formatCount(unknown)} unknown`;
}

function formatQuantiles(latency: LatencyReport): string {
  return Object.entries(latency)
    .map(([name, milliseconds]) => `${name} ${formatMs(milliseconds)}`)
    .join(', ');
}

/** What a process took. */
export function formatCost(
  name: string,
  unit: string,
  { cost, unknown }: { readonly cost: Cost | null; readonly unknown: string | null },
): Line[] {
  if (cost === null) return [['cost', `${name}: not known: ${unknown}`]];
  const memory =
    cost.max_resident_bytes === null ? '' : `, at most ${formatMiB(cost.max_resident_bytes)} of memory`;
  return [
    [
      'cost',
      `${name}: ${formatCount(cost.events_per_cpu_second)} ${unit}s per CPU-second, ` +
        `${formatDigits(cost.cpu_us_per_event)} µs CPU per ${unit}${memory}`,
    ],
  ];
}

/** What figures depend on; `names` are those of the collectors. */
export function formatConditions(
  { machine, versions, collectors }: RunConditions,
  names: readonly string[] = [],
): Line[] {
  const commit = versions.commit === null ? '' : ` (${versions.commit.slice(0, 10)})`;
  const clickhouse = versions.clickhouse === null ? '' : `, ClickHouse ${versions.clickhouse}`;
  return [
    [
      'machine',
      `${countOf(machine.cores, 'core')} of ${machine.cpu}, ${formatDigits(machine.memory_bytes / 1024 ** 3)} GiB, ` +
        `${machine.platform}, Node.js ${machine.node}; it sent the load`,
    ],
    ['versions', `Millrace ${versions.millrace}${commit}${clickhouse}`],
    ...collectors.flatMap(({ url, version, buffer, topic, partitions, durability }, i): Line[] => [
      [names[i] ?? 'collector', `${url}${version === null ? '' : `, version ${version}`}`],
      ...(buffer === null
        ? []
        : [
            [
              names[i] ?? 'collector',
              `buffer ${buffer}, topic ${topic}, ${countOf(partitions ?? 0, 'partition')}: ${durability ?? 'durability not known'}`,
            ] as const,
          ]),
    ]),
  ];
}
