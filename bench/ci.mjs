/** Compares what the collector costs now with the figures kept in results/. `--help` says how. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { readWholeNumbers, text } from './arguments.mjs';
import { formatComparison } from './ci-report.mjs';
import { createMillrace } from './contenders.mjs';
import { describeMismatch, driveWarm, warmUp, withCollector } from './drive.mjs';
import { describeMachine } from './figures.mjs';
import { postKinds } from './posts.mjs';
import { requireLinux, runToEnd } from './program.mjs';
import { reference } from './reference.mjs';
import { openSite } from './site.mjs';
import { readWrkVersion, writeScript } from './wrk.mjs';

const kept = fileURLToPath(new URL('results/collector-cost.json', import.meta.url));

const help = `Compares what an event costs the collector now with what it did when the figures were kept.

Usage: node bench/ci.mjs [options]        (npm run bench:ci -- [options])

  --rounds <n>       Rounds; in each, every buffer meets every kind of post. Default: 5.
  --slices <n>       Slices of a round, in which they take turns. Default: 3.
  --seconds <n>      Length of a slice. Default: 1.
  --warm-up <n>      Seconds of posts before the slices that do not count. Default: 2.
  --connections <n>  Connections, each with one post in flight. Default: 256.
  --keep             Writes the figures of this run to bench/results/collector-cost.json.
  --help

The cost is the CPU time of the collector for an event, divided by that of a server of fixed shape (bench/reference.mjs)
under the same load in the same seconds: so a slower machine, or one that is shared, gives about the same figure. Two
ranges that overlap show no difference. No figure makes this fail; it is for reading.

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
      slices: text('3'),
      seconds: text('1'),
      'warm-up': text('2'),
      connections: text('256'),
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return readWholeNumbers(values, ['rounds', 'slices', 'seconds', 'warm-up', 'connections']);
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
  const contenders = [reference, createMillrace('embedded', site)];
  if (site.brokers !== undefined) contenders.push(createMillrace('kafka', site));
  for (const post of Object.values(postKinds)) await writeScript(site.dir, post);
  const runs = [];
  for (let round = 1; round <= rounds; round++) {
    for (const posts of Object.keys(postKinds)) {
      const settings = { ...load, threads: 1, script: join(site.dir, `${posts}.lua`), round, posts };
      runs.push(...(await measureTogether(site, settings, contenders)));
    }
    process.stderr.write(`round ${round} of ${rounds}\n`);
  }
  return runs;
}

/** All are started and warm before the slices, which are short and take turns: what disturbs one disturbs the others. */
async function measureTogether(site, load, contenders, started = []) {
  const contender = contenders[started.length];
  if (contender !== undefined) {
    const id = `${contender.buffer}-${load.posts}-${load.round}`;
    return await withCollector({ contender, site, id }, (collector) =>
      measureTogether(site, load, contenders, [...started, collector]),
    );
  }
  for (const collector of started) await warmUp(collector, load);
  const slices = started.map(() => []);
  for (let slice = 0; slice < load.slices; slice++) {
    for (const [i, collector] of started.entries())
      slices[i].push(await driveWarm(collector, load, load.posts));
  }
  return slices.map((own, i) => addUp(own, contenders[i], load));
}

function addUp(slices, { program, buffer }, { posts, round }) {
  const sum = (pick) => slices.reduce((total, slice) => total + pick(slice), 0);
  const accepted = sum((slice) => slice.accepted);
  return {
    ...{ round, posts, program, buffer, accepted },
    answers: sum(({ answers }) => answers),
    refused: sum(({ refused }) => refused),
    surplus: sum(({ surplus }) => surplus),
    isCountRight: slices.every(({ isCountRight }) => isCountRight),
    cpuMicrosPerEvent: (sum(({ cpuSeconds }) => cpuSeconds) * 1e6) / accepted,
  };
}

/** By kind of run: the cost in each round, and what it is made from. */
function collectCosts(runs) {
  const costs = {};
  for (const { program, buffer, posts, round, cpuMicrosPerEvent } of runs) {
    if (program === reference.program) continue;
    const isFixed = (run) => run.program === reference.program && run.posts === posts && run.round === round;
    const referenceMicros = runs.find(isFixed).cpuMicrosPerEvent;
    const name = `${buffer}, ${posts}`;
    costs[name] ??= { relative: [], cpuMicros: [], referenceMicros: [] };
    costs[name].relative.push(round4(cpuMicrosPerEvent / referenceMicros));
    costs[name].cpuMicros.push(round4(cpuMicrosPerEvent));
    costs[name].referenceMicros.push(round4(referenceMicros));
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

await runToEnd(main);
