/** The tables of collector.mjs. */
import { formatCount, formatDecimal, formatSpread, formatTable } from './figures.mjs';
import { peers } from './peers.mjs';
import { event } from './posts.mjs';
import { partitions } from './site.mjs';

const columns = [
  ['requests/s', ({ requestsPerSecond }) => requestsPerSecond, formatCount],
  ['events/s', ({ eventsPerSecond }) => eventsPerSecond, formatCount],
  ['p50 ms', ({ p50Ms }) => p50Ms, formatDecimal(1)],
  ['p99 ms', ({ p99Ms }) => p99Ms, formatDecimal(1)],
  ['events per CPU-second', ({ eventsPerCpuSecond }) => eventsPerCpuSecond, formatCount],
  ['CPU us per event', ({ cpuMicrosPerEvent }) => cpuMicrosPerEvent, formatDecimal(2)],
  ['RSS MiB', ({ residentMiB }) => residentMiB, formatCount],
];

/** What the figures depend on, for the head of the report. */
export function describeSettings(machine, { connections, threads, seconds, rounds, server }, contenders) {
  const { cpu, cores, memoryGiB, node, kafka, wrk, logOn, go } = machine;
  const durability = {
    kafka: `Kafka ${kafka}: ${partitions} partitions, 1 replica; the broker answers from the page cache.`,
    embedded: `Embedded log: 1 partition, fdatasync on ${logOn} before each answer.`,
  };
  const buffers = new Set(contenders.map(({ buffer }) => buffer));
  const others = contenders.filter(({ program }) => program !== 'millrace').map(({ program }) => program);
  return [
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB; Node.js ${node}; wrk ${wrk}.`,
    `Load: ${connections} connections, wrk with -t${threads}, ${seconds} s a run, rounds: ${rounds}; \`${event}\`.`,
    ...[...buffers].map((buffer) => durability[buffer]),
    `millrace: one process, HTTP server ${server}; on Kafka acks=all, idempotent, snappy.`,
    ...others.map((name) => `${name}: ${peers[name].durability}; ${go}.`),
  ].join('\n');
}

/** One line when a run has ended. */
export function describeRun({
  round,
  program,
  buffer,
  posts,
  eventsPerSecond,
  cpuMicrosPerEvent,
  isCountRight,
}) {
  const speed = `${formatCount(eventsPerSecond)} events/s, ${cpuMicrosPerEvent.toFixed(2)} us of CPU per event`;
  return `round ${round}: ${program}, ${buffer}, ${posts} posts: ${speed}, count ${isCountRight ? 'right' : 'WRONG'}`;
}

/** All runs: a row for each collector, buffer and kind of post; then ratios, then profiles. */
export function formatRuns(runs, contenders, posts) {
  const rows = posts.flatMap((name) =>
    contenders.map((contender) => formatRow(runsOf(runs, contender, name), contender, name)),
  );
  const table = formatTable(['median (range)', ...columns.map(([name]) => name), 'not 2xx'], rows);
  const ratios = posts.flatMap((name) => formatRatios(runs, contenders, name));
  return [table, '', ...ratios, ...runs.filter(({ selfTimes }) => selfTimes).map(formatProfile)].join('\n');
}

function formatRow(runs, { program, buffer }, posts) {
  const bad = runs.reduce((sum, { refused, broken }) => sum + refused + broken, 0);
  const figures = columns.map(([, pick, format]) => formatSpread(runs.map(pick), format));
  return [`${program}, ${buffer}, ${posts}`, ...figures, String(bad)];
}

function runsOf(runs, { program, buffer }, posts) {
  return runs.filter((run) => run.posts === posts && run.program === program && run.buffer === buffer);
}

/** Ours on Kafka to everyone else. */
function formatRatios(runs, contenders, posts) {
  const ours = contenders.find(({ program, buffer }) => program === 'millrace' && buffer === 'kafka');
  if (ours === undefined) return [];
  return contenders
    .filter((contender) => contender !== ours)
    .map((other) => formatRatio(runs, { ours, other, posts }));
}

/** Of runs within one round, since the machine differs from round to round. */
function formatRatio(runs, { ours, other, posts }) {
  const others = runsOf(runs, other, posts);
  const pairs = runsOf(runs, ours, posts).map((run) => [
    run,
    others.find(({ round }) => round === run.round),
  ]);
  const ratio = (pick) =>
    formatSpread(
      pairs.map(([a, b]) => pick(a) / pick(b)),
      formatDecimal(2),
    );
  const speed = ratio(({ requestsPerSecond }) => requestsPerSecond);
  const cost = ratio(({ eventsPerCpuSecond }) => eventsPerCpuSecond);
  const name = other.program === 'millrace' ? `millrace on ${other.buffer}` : other.program;
  return `${posts} posts, millrace on kafka : ${name}: requests/s ${speed}, events per CPU-second ${cost}`;
}

function formatProfile({ buffer, posts, selfTimes }) {
  const lines = selfTimes.map(
    ({ function: name, percent }) => `${percent.toFixed(1).padStart(6)} %  ${name}`,
  );
  return [
    `\n${buffer}, ${posts} posts: time of the main thread by function, native code under its caller`,
    ...lines,
  ].join('\n');
}
