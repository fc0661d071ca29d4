/** The table of rates.mjs. */
import { formatCount, formatDecimal, formatSpread, formatTable, spread } from './figures.mjs';

const columns = [
  ['answered/s', ({ requestsPerSecond }) => requestsPerSecond, formatCount],
  ['CPU us per event', ({ cpuMicrosPerEvent }) => cpuMicrosPerEvent, formatDecimal(2)],
  ['events per CPU-second', ({ eventsPerCpuSecond }) => eventsPerCpuSecond, formatCount],
  ['p50 ms', ({ p50Ms }) => p50Ms, formatDecimal(2)],
  ['p99 ms', ({ p99Ms }) => p99Ms, formatDecimal(2)],
  ['sent late, p99 ms', ({ latenessP99Ms }) => latenessP99Ms, formatDecimal(2)],
  ['RSS MiB', ({ residentMiB }) => residentMiB, formatCount],
];

/** One line when a run has ended. */
export function describeRateRun({
  round,
  rate,
  program,
  buffer,
  requestsPerSecond,
  cpuMicrosPerEvent,
  ...run
}) {
  const speed = `${formatCount(requestsPerSecond)} answered/s, ${cpuMicrosPerEvent.toFixed(2)} us of CPU per event`;
  const count = run.isCountRight ? 'right' : `WRONG by ${run.surplus}`;
  return `round ${round}: ${program}, ${buffer}, ${formatRate(rate)}: ${speed}, count ${count}`;
}

/** A table for each collector, and whether its cost rises with the rate. */
export function formatRates(runs, { rates, rounds, seconds, connections, machine, contenders }) {
  const { cores, cpu, memoryGiB, node, kafka, wrk } = machine;
  const head = [
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB; Node.js ${node}; Kafka ${kafka}; wrk ${wrk}.`,
    `Load: single posts, ${connections} connections, ${seconds} s a run, rounds: ${rounds}.`,
  ];
  const parts = contenders.map((contender) => formatContender(runs, contender, [...rates, 'saturation']));
  return [...head, ...parts].join('\n');
}

function formatContender(runs, { program, buffer }, rates) {
  const own = runs.filter((run) => run.program === program && run.buffer === buffer);
  const byRate = rates.map((rate) => own.filter((run) => run.rate === rate));
  const rows = byRate.map((group, i) => [
    formatRate(rates[i]),
    ...columns.map(([, pick, format]) => formatCell(group.map(pick), format)),
    formatCount(group.reduce((sum, { failed, refused, broken }) => sum + (failed ?? refused + broken), 0)),
  ]);
  const table = formatTable(['posts/s', ...columns.map(([name]) => name), 'failed'], rows);
  return `\n${program}, ${buffer}\n\n${table}\n\n${describeTrend(rates, byRate)}`;
}

/** wrk does not know when a post was due. */
function formatCell(values, format) {
  return values.includes(undefined) ? '' : formatSpread(values, format);
}

/** A step counts as a rise only when the ranges of the two rates do not overlap. */
function describeTrend(rates, byRate) {
  const costs = byRate.map((group) => spread(group.map(({ cpuMicrosPerEvent }) => cpuMicrosPerEvent)));
  const rises = rates.slice(1).flatMap((rate, i) => {
    if (costs[i + 1].min <= costs[i].max) return [];
    return [`from ${formatRate(rates[i])} to ${formatRate(rate)}`];
  });
  return rises.length === 0
    ? 'The cost of an event never rises.'
    : `The cost of an event rises ${rises.join(', ')}.`;
}

function formatRate(rate) {
  return rate === 'saturation' ? rate : formatCount(rate);
}
