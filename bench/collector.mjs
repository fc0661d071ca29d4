/** Measures the collector over HTTP, beside its peers. `--help` says how. */
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readList, readWholeNumbers, text, usage } from './arguments.mjs';
import { describeRun, describeSettings, formatRuns } from './collector-report.mjs';
import { createMillrace, createPeers } from './contenders.mjs';
import { readSelfTimes } from './cpu-profile.mjs';
import { describeMismatch, drive, withCollector } from './drive.mjs';
import { describeMachine, fileSystemOf } from './figures.mjs';
import { peers, usualPeers } from './peers.mjs';
import { postKinds } from './posts.mjs';
import { requireLinux, runToEnd } from './program.mjs';
import { openSite } from './site.mjs';
import { readWrkVersion, writeScript } from './wrk.mjs';

const help = `Measures the collector: wrk posts events over HTTP, each run to a collector process of its own.

Usage: node bench/collector.mjs [options]

  --rounds <n>       Rounds; in each, every collector meets every kind of post. Default: 3.
  --seconds <n>      Length of a run. Default: 8.
  --warm-up <n>      Seconds of posts before each run that do not count. Default: 2.
  --connections <n>  Connections, each with one post in flight. Default: 256.
  --threads <n>      Threads of wrk. Default: 1.
  --buffers <list>   Buffers of Millrace. Default: kafka,embedded.
  --posts <list>     single (one event as JSON), batch (100 events as NDJSON). Default: single,batch.
  --peers <list>     Other collectors, on Kafka: ${Object.keys(peers).join(',')}, or none. They
                     are built with Go; without it they are left out, unless asked for by this option.
                     Default: ${usualPeers.join(',')}, when Kafka is among the buffers.
  --server <kind>    HTTP server of Millrace: uws or node. Default: uws.
  --dir <dir>        Where the embedded log is written. Default: the directory for temporary files.
  --json <file>      Writes all runs and the machine as JSON.
  --profile          One round under the CPU profiler, without peers: prints the functions with the most time of their
                     own.

Needs Linux, the built program (npm run build), wrk, and for Kafka one of: KAFKA_BROKERS (host:port of one that
runs), a Docker engine, or Java 17 and Maven. Everything shares the machine: compare within one run only.
Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing, 98 a collector's count of
accepted events does not fit the answers.
`;

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const wrk = await readWrkVersion();
  const needsKafka = options.buffers.includes('kafka') || options.peers.length > 0;
  const site = await openSite({ dir: options.dir, needsKafka }, undo);
  const { contenders, go } = await createContenders(site, options);
  const machine = { ...describeMachine(), kafka: site.kafka, wrk, logOn: fileSystemOf(site.dir), go };
  process.stdout.write(`${describeSettings(machine, options, contenders)}\n\n`);
  const runs = await measureAll(site, options, contenders);
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ machine, options, runs }, null, 2));
  process.stdout.write(`\n${formatRuns(runs, contenders, options.posts)}\n`);
  const wrong = runs.filter(({ isCountRight }) => !isCountRight);
  for (const run of wrong) process.stderr.write(`${describeMismatch(run)}\n`);
  return wrong.length > 0 ? 98 : 0;
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: text('3'),
      seconds: text('8'),
      'warm-up': text('2'),
      connections: text('256'),
      threads: text('1'),
      buffers: text('kafka,embedded'),
      posts: text('single,batch'),
      peers: { type: 'string' },
      server: text('uws'),
      dir: text(tmpdir()),
      json: { type: 'string' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const options = readWholeNumbers(values, ['rounds', 'seconds', 'warm-up', 'connections', 'threads']);
  options.buffers = readList('buffers', values.buffers, ['kafka', 'embedded']);
  options.posts = readList('posts', values.posts, Object.keys(postKinds));
  options.peers = readPeers(values.peers, options);
  options.arePeersAsked = values.peers !== undefined;
  if (options.profile) options.rounds = 1;
  return options;
}

function readPeers(value, { buffers, profile }) {
  if (value === 'none') return [];
  if (value === undefined) return buffers.includes('kafka') && !profile ? usualPeers : [];
  if (profile) throw usage('--profile shows functions of Millrace only: leave out --peers');
  return readList('peers', value, Object.keys(peers));
}

async function createContenders(site, { buffers, peers: names, arePeersAsked }) {
  const ours = buffers.map((buffer) => createMillrace(buffer, site));
  if (names.length === 0) return { contenders: ours };
  const log = (line) => process.stderr.write(`${line}\n`);
  const { contenders, version } = await createPeers(names, site, { isAsked: arePeersAsked, log });
  return { contenders: [...ours, ...contenders], go: version };
}

/** Each round begins with another collector, so that none is always measured in the same place. */
async function measureAll(site, options, contenders) {
  const runs = [];
  for (const name of options.posts) await writeScript(site.dir, postKinds[name]);
  await warmUp(site, options, contenders);
  for (let round = 1; round <= options.rounds; round++) {
    const first = (round - 1) % contenders.length;
    const turn = [...contenders.slice(first), ...contenders.slice(0, first)];
    for (const posts of options.posts) {
      for (const contender of turn) {
        const run = await measure(site, options, { round, posts, contender });
        runs.push(run);
        process.stdout.write(`${describeRun(run)}\n`);
      }
    }
  }
  return runs;
}

/** Short runs that do not count: a broker that has just started compiles its code while it serves the first ones. */
async function warmUp(site, options, contenders) {
  const short = { ...options, seconds: options['warm-up'], profile: false };
  for (const contender of contenders)
    await measure(site, short, { round: 0, posts: options.posts[0], contender });
}

async function measure(site, options, { round, posts, contender }) {
  const { program, buffer } = contender;
  const id = `${program}-${buffer}-${posts}-${round}`;
  const profileDir = join(site.dir, `${id}-profile`);
  const execArgv = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${profileDir}`] : [];
  const load = { ...options, script: join(site.dir, `${posts}.lua`) };
  const run = { contender, site, id, server: options.server, execArgv };
  const figures = await withCollector(run, (collector) => drive(collector, load, posts));
  const selfTimes = options.profile ? await readSelfTimes(profileDir) : undefined;
  return { round, posts, program, buffer, ...figures, selfTimes };
}

await runToEnd(main);
