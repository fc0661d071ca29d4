/** Measures what an event costs the collector at fixed rates and at saturation. `--help` says how. */
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readList, readWholeNumbers, text, usage } from './arguments.mjs';
import { createMillrace, createPeers } from './contenders.mjs';
import { drive, readAccepted, withCollector } from './drive.mjs';
import { describeMachine, fileSystemOf } from './figures.mjs';
import { peers } from './peers.mjs';
import { postKinds } from './posts.mjs';
import { cpuSecondsOf, importBuilt, requireLinux, residentBytesOf, runToEnd } from './program.mjs';
import { describeRateRun, formatRates } from './rates-report.mjs';
import { openSite } from './site.mjs';
import { readWrkVersion, runWrk, writeScript } from './wrk.mjs';

const help = `Measures what an event costs the collector at fixed rates of single posts, and at saturation.

Usage: node bench/rates.mjs [options]

  --rates <list>     Posts a second, rising. Default: 1000,2000,5000,10000,20000,40000.
  --rounds <n>       Rounds; in each, every collector meets every rate and then saturation. Default: 3.
  --seconds <n>      Length of a run. Default: 8.
  --warm-up <n>      Seconds at saturation before each run that do not count. Default: 2.
  --connections <n>  Connections. Default: 256.
  --buffers <list>   Buffers of Millrace. Default: kafka.
  --peers <list>     Other collectors, on Kafka: ${Object.keys(peers).join(',')}. Default: none.
  --dir <dir>        Where the embedded log is written. Default: the directory for temporary files.
  --json <file>      Writes all runs and the machine as JSON.
  --help

At a fixed rate the posts go out when they are due, whether or not answers came (millrace bench), and latencies count
from then; saturation is wrk with one post in flight on each connection.
Needs what bench/collector.mjs needs. Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing,
98 a collector's count of accepted events does not fit the answers.
`;
const path = '/v1/events';

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
  await writeScript(site.dir, postKinds.single);
  const contenders = await createContenders(site, options);
  const machine = { ...describeMachine(), kafka: site.kafka, wrk, logOn: fileSystemOf(site.dir) };
  const runs = await measureAll(site, options, contenders);
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ machine, options, runs }, null, 2));
  process.stdout.write(`\n${formatRates(runs, { ...options, machine, contenders })}\n`);
  return runs.every(({ isCountRight }) => isCountRight) ? 0 : 98;
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      rates: text('1000,2000,5000,10000,20000,40000'),
      rounds: text('3'),
      seconds: text('8'),
      'warm-up': text('2'),
      connections: text('256'),
      buffers: text('kafka'),
      peers: text('none'),
      dir: text(tmpdir()),
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const options = readWholeNumbers(values, ['rounds', 'seconds', 'warm-up', 'connections']);
  options.rates = values.rates.split(',').map(Number);
  if (options.rates.some((rate) => !Number.isInteger(rate) || rate < 1))
    throw usage('--rates takes whole numbers from 1 on');
  options.buffers = readList('buffers', values.buffers, ['kafka', 'embedded']);
  options.peers = values.peers === 'none' ? [] : readList('peers', values.peers, Object.keys(peers));
  return options;
}

async function createContenders(site, { buffers, peers: names }) {
  const ours = buffers.map((buffer) => createMillrace(buffer, site));
  if (names.length === 0) return ours;
  return [...ours, ...(await createPeers(names, site, { isAsked: true })).contenders];
}

async function measureAll(site, options, contenders) {
  const runs = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const rate of [...options.rates, 'saturation']) {
      for (const contender of contenders) {
        const run = await measure(site, options, { round, rate, contender });
        runs.push(run);
        process.stdout.write(`${describeRateRun(run)}\n`);
      }
    }
  }
  return runs;
}

async function measure(site, options, { round, rate, contender }) {
  const { program, buffer } = contender;
  const id = `${program}-${buffer}-${rate}-${round}`;
  const load = { ...options, threads: 1, script: join(site.dir, 'single.lua') };
  const figures = await withCollector({ contender, site, id }, (collector) =>
    rate === 'saturation' ? drive(collector, load, 'single') : driveAt(rate, collector, load),
  );
  return { round, rate, program, buffer, ...figures };
}

/** Posts at a rate, after a warm-up at saturation: code that is not compiled yet would look dear at a low rate. */
async function driveAt(rate, { url, pid }, load) {
  const { runLoad } = await importBuilt('bench/load.js');
  const { parseProfile } = await importBuilt('bench/profile.js');
  const { createPayload } = await importBuilt('bench/payload.js');
  await runWrk(`${url}${path}`, { ...load, seconds: load['warm-up'] });
  const before = await readAccepted(url);
  const cpuBefore = cpuSecondsOf(pid);
  const result = await runLoad({
    url: new URL(url),
    path,
    profile: parseProfile(`const:${rate}:${load.seconds}s`),
    payload: createPayload('classic'),
    connections: load.connections,
    connectionUse: 'kept',
    checksCertificate: true,
    answerTimeoutMs: 15_000,
    stop: new AbortController().signal,
  });
  const accepted = (await readAccepted(url)) - before;
  const cpuSeconds = cpuSecondsOf(pid) - cpuBefore;
  const surplus = accepted - result.eventsAcknowledged;
  return {
    accepted,
    surplus,
    isCountRight: surplus >= 0 && surplus <= result.eventsUnknown,
    failed: result.planned - result.acknowledged,
    requestsPerSecond: result.acknowledged / result.seconds,
    eventsPerCpuSecond: accepted / cpuSeconds,
    cpuMicrosPerEvent: (cpuSeconds * 1e6) / accepted,
    p50Ms: result.latency.percentile(50) / 1e3,
    p99Ms: result.latency.percentile(99) / 1e3,
    latenessP99Ms: result.lateness.percentile(99) / 1e3,
    generatorBusy: result.generatorBusy,
    residentMiB: residentBytesOf(pid) / 1024 ** 2,
  };
}

await runToEnd(main);
