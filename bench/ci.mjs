/** Compares what the collector costs now with the figures kept in results/. `--help` says how. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { readWholeNumbers, text } from './arguments.mjs';
import { createMillrace } from './contenders.mjs';
import { describeMismatch, drive, withCollector } from './drive.mjs';
import { describeMachine, formatDecimal, formatSpread, formatTable, spread } from './figures.mjs';
import { measureKernel } from './kernel.mjs';
import { postKinds } from './posts.mjs';
import { requireLinux, runToEnd } from './program.mjs';
import { openSite } from './site.mjs';
import { readWrkVersion, writeScript } from './wrk.mjs';

const kept = fileURLToPath(new URL('results/collector-cost.json', import.meta.url));

const help = `Compares what an event costs the collector now with what it did when the figures were kept.

Usage: node bench/ci.mjs [options]        (npm run bench:ci -- [options])

  --rounds <n>       Rounds; in each, every buffer meets every kind of post. Default: 5.
  --seconds <n>      Length of a run. Default: 3.
  --warm-up <n>      Seconds of posts before each run that do not count. Default: 2.
  --connections <n>  Connections, each with one post in flight. Default: 256.
  --keep             Writes the figures of this run to bench/results/collector-cost.json.
  --help

The cost is the CPU time of the collector for an event, divided by that of a fixed piece of work (parsing the classic
event, and its CRC-32), which is measured before and after each run: so a slower machine, or one that is shared, gives
about the same figure. Two ranges that overlap show no difference. No figure makes this fail; it is for reading.

Needs Linux, the built program (npm run build) and wrk; Kafka is measured if it can be had: KAFKA_BROKERS (host:port of
one that runs), a Docker engine, or Java 17 and Maven.
Exit codes: 0 ok, whatever the figures, 1 failure, 2 wrong usage, 69 something that is needed is missing, 98 the
collector's count of accepted events does not fit the answers.
`;

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const wrk = await readWrkVersion();
  const site = await openSiteAsItIs(undo);
  const machine = { ...describeMachine(), kafka: site.kafka, wrk };
  const runs = await measureAll(site, options);
  const now = { machine, ...(await describeSource()), costs: collectCosts(runs) };
  const before = await readKept();
  process.stdout.write(`${formatComparison(now, before)}\n`);
  if (options.keep) await keep(now);
  const wrong = runs.filter(({ isCountRight }) => !isCountRight);
  for (const run of wrong) process.stderr.write(`${describeMismatch(run)}\n`);
  return wrong.length > 0 ? 98 : 0;
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: text('5'),
      seconds: text('3'),
      'warm-up': text('2'),
      connections: text('256'),
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return readWholeNumbers(values, ['rounds', 'seconds', 'warm-up', 'connections']);
}

/** Without Kafka where there is none. */
async function openSiteAsItIs(undo) {
  try {
    return await openSite({ dir: tmpdir(), needsKafka: true }, undo);
  } catch (error) {
    if (error.exitCode !== 69) throw error;
    process.stderr.write(`without Kafka: ${error.message}\n`);
    return await openSite({ dir: tmpdir(), needsKafka: false }, undo);
  }
}

async function measureAll(site, { rounds, ...load }) {
  const buffers = site.brokers === undefined ? ['embedded'] : ['embedded', 'kafka'];
  const contenders = buffers.map((buffer) => createMillrace(buffer, site));
  for (const post of Object.values(postKinds)) await writeScript(site.dir, post);
  const runs = [];
  measureKernel();
  for (let round = 1; round <= rounds; round++) {
    for (const posts of Object.keys(postKinds)) {
      for (const contender of contenders) runs.push(await measure(site, load, { round, posts, contender }));
    }
    process.stderr.write(`round ${round} of ${rounds}\n`);
  }
  return runs;
}

async function measure(site, load, { round, posts, contender }) {
  const { program, buffer } = contender;
  const id = `${buffer}-${posts}-${round}`;
  const script = join(site.dir, `${posts}.lua`);
  const before = measureKernel();
  const figures = await withCollector({ contender, site, id }, (collector) =>
    drive(collector, { ...load, threads: 1, script }, posts),
  );
  const kernelMicros = (before + measureKernel()) / 2;
  return { round, posts, program, buffer, kernelMicros, ...figures };
}

/** By kind of run: the cost in each round, and what it is made from. */
function collectCosts(runs) {
  const costs = {};
  for (const { buffer, posts, cpuMicrosPerEvent, kernelMicros } of runs) {
    const name = `${buffer}, ${posts}`;
    costs[name] ??= { relative: [], cpuMicros: [], kernelMicros: [] };
    costs[name].relative.push(round4(cpuMicrosPerEvent / kernelMicros));
    costs[name].cpuMicros.push(round4(cpuMicrosPerEvent));
    costs[name].kernelMicros.push(round4(kernelMicros));
  }
  return costs;
}

function round4(value) {
  return Number(value.toPrecision(4));
}

async function describeSource() {
  const date = new Date().toISOString().slice(0, 10);
  const git = await promisify(execFile)('git', ['rev-parse', '--short', 'HEAD']).catch(() => undefined);
  return { date, commit: git?.stdout.trim() ?? 'unknown' };
}

async function readKept() {
  try {
    return JSON.parse(await readFile(kept, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function keep(figures) {
  await writeFile(kept, `${JSON.stringify(figures, null, 2)}\n`);
  process.stdout.write(`\nkept in ${kept}\n`);
}

function formatComparison(now, before) {
  const rows = Object.entries(now.costs).map(([name, { relative, cpuMicros }]) => {
    const old = before?.costs[name];
    return [
      name,
      formatSpread(cpuMicros, formatDecimal(2)),
      formatSpread(relative, formatDecimal(2)),
      old === undefined ? '' : formatSpread(old.relative, formatDecimal(2)),
      ...(old === undefined ? ['', ''] : compare(relative, old.relative)),
    ];
  });
  const head = ['median (range)', 'CPU us per event', 'cost now', 'cost kept', 'now : kept', ''];
  return [`now: ${describe(now)}`, `kept: ${describe(before)}`, '', formatTable(head, rows)].join('\n');
}

/** The ratio of the medians, with the widest range that the two ranges allow, and a word. */
function compare(now, before) {
  const [a, b] = [spread(now), spread(before)];
  const ratio = [a.median / b.median, a.min / b.max, a.max / b.min].map(formatDecimal(2));
  const word = a.min > b.max ? 'dearer' : a.max < b.min ? 'cheaper' : 'no difference';
  return [`${ratio[0]} (${ratio[1]}-${ratio[2]})`, word];
}

function describe(figures) {
  if (figures === undefined) return 'nothing yet; --keep keeps the figures of this run';
  const { machine, commit, date } = figures;
  return `commit ${commit}, ${date}; ${machine.cores} cores of ${machine.cpu}, Node.js ${machine.node}, wrk ${machine.wrk}, Kafka ${machine.kafka}`;
}

await runToEnd(main);
