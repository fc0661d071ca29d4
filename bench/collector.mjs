/** Measures the collector over HTTP. `--help` says how. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readSelfTimes } from './cpu-profile.mjs';
import {
  describeMachine,
  fileSystemOf,
  formatCount,
  formatDecimal,
  formatSpread,
  formatTable,
} from './figures.mjs';
import {
  cpuSecondsOf,
  findFreePort,
  importBuilt,
  requireLinux,
  residentBytesOf,
  runToEnd,
  startMillrace,
} from './program.mjs';
import { readWrkVersion, runWrk, writeScript } from './wrk.mjs';

const help = `Measures the collector: wrk posts events over HTTP, each run to a collector process of its own.

Usage: node bench/collector.mjs [options]

  --rounds <n>       Rounds; in each, every buffer meets every kind of post. Default: 3.
  --seconds <n>      Length of a run. Default: 8.
  --warm-up <n>      Seconds of posts before each run that do not count. Default: 2.
  --connections <n>  Connections, each with one post in flight. Default: 256.
  --threads <n>      Threads of wrk. Default: 1.
  --buffers <list>   Default: kafka,embedded.
  --posts <list>     single (one event as JSON), batch (100 events as NDJSON). Default: single,batch.
  --server <kind>    HTTP server of the collector: uws or node. Default: uws.
  --dir <dir>        Where the embedded log is written. Default: the directory for temporary files.
  --json <file>      Writes all runs and the machine as JSON.
  --profile          One round under the CPU profiler: prints the functions with the most time of their own.

Needs Linux, the built program (npm run build), wrk, and for Kafka one of: KAFKA_BROKERS (host:port of one that
runs), a Docker engine, or Java 17 and Maven. Everything shares the machine: compare within one run only.
Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing, 98 the collector's count of
accepted events does not fit the answers.
`;

const event = '{"event":"view","os":"linux","browser":"chrome"}';
const postKinds = {
  single: { name: 'single', type: 'application/json', events: 1, body: event },
  batch: { name: 'batch', type: 'application/x-ndjson', events: 100, body: `${event}\n`.repeat(100) },
};
const partitions = 4;
const topicPrefix = `bench-${process.pid}-${Date.now()}`;

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const wrk = await readWrkVersion();
  const site = await prepareSite(options, undo);
  const machine = { ...describeMachine(), kafka: site.kafka, wrk, logOn: fileSystemOf(site.dir) };
  process.stdout.write(`${describeSettings(machine, options)}\n\n`);
  const runs = await measureAll(site, options);
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ machine, options, runs }, null, 2));
  process.stdout.write(`\n${formatRuns(runs, options)}\n`);
  const wrong = runs.filter(({ isCountRight }) => !isCountRight);
  for (const run of wrong) process.stderr.write(`${describeMismatch(run)}\n`);
  return wrong.length > 0 ? 98 : 0;
}

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    options: {
      rounds: text('3'),
      seconds: text('8'),
      'warm-up': text('2'),
      connections: text('256'),
      threads: text('1'),
      buffers: text('kafka,embedded'),
      posts: text('single,batch'),
      server: text('uws'),
      dir: text(tmpdir()),
      json: { type: 'string' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const options = { ...values };
  for (const name of ['rounds', 'seconds', 'warm-up', 'connections', 'threads']) {
    options[name] = Number(values[name]);
    if (!Number.isInteger(options[name]) || options[name] < 1)
      throw usage(`--${name} must be a whole number from 1 on`);
  }
  options.buffers = readList('buffers', values.buffers, ['kafka', 'embedded']);
  options.posts = readList('posts', values.posts, Object.keys(postKinds));
  if (options.profile) options.rounds = 1;
  return options;
}

function readList(name, value, allowed) {
  const list = value.split(',');
  if (list.some((item) => !allowed.includes(item))) throw usage(`--${name} takes ${allowed.join(',')}`);
  return list;
}

function usage(message) {
  return Object.assign(new Error(`${message}; see --help`), { exitCode: 2 });
}

/** A directory for everything that is written, the scripts of wrk, and a Kafka if one is wanted. */
async function prepareSite({ dir: parent, buffers, posts }, undo) {
  const dir = await mkdtemp(join(parent, 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const scripts = {};
  for (const name of posts) scripts[name] = await writeScript(dir, postKinds[name]);
  await importBuilt('version.js');
  if (!buffers.includes('kafka')) return { dir, scripts, kafka: 'not used' };
  const { startBroker } = await importBuilt('tools/kafka-broker.js');
  const { kafkaVersion } = await importBuilt('tools/kafka-settings.js');
  const broker = await startBroker({ port: 0, log: (line) => process.stderr.write(`${line}\n`) });
  undo.push(() => broker.stop());
  undo.push(() => deleteTopics(broker.brokers));
  const kafka = broker.how === 'environment' ? `at ${broker.brokers}` : `${kafkaVersion} (${broker.how})`;
  return { dir, scripts, kafka, brokers: broker.brokers };
}

/** A broker that was there before is left as it was. */
async function deleteTopics(brokers) {
  const { Admin } = await import('@platformatic/kafka');
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: brokers.split(',') });
  const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(topicPrefix));
  if (topics.length > 0) await admin.deleteTopics({ topics });
  await admin.close();
}

async function measureAll(site, options) {
  const runs = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const posts of options.posts) {
      for (const buffer of options.buffers) {
        const run = await measure(site, options, { round, posts, buffer });
        runs.push(run);
        process.stdout.write(`${describeRun(run)}\n`);
      }
    }
  }
  return runs;
}

/** One run against a collector and a buffer of its own: none inherits a heap or a log from the one before. */
async function measure(site, options, { round, posts, buffer }) {
  const dataDir = join(site.dir, `${buffer}-${posts}-${round}`);
  const profileDir = join(dataDir, 'profile');
  await mkdir(profileDir, { recursive: true });
  const execArgv = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${profileDir}`] : [];
  const topic = `${topicPrefix}-${posts}-${round}`;
  const listen = `127.0.0.1:${await findFreePort()}`;
  const flags = { listen, topic, dataDir, server: options.server, brokers: site.brokers };
  const collector = await startMillrace(['collect', ...flagsOf[buffer](flags)], { execArgv });
  try {
    const load = { ...options, script: site.scripts[posts] };
    const figures = await drive(collector, load, postKinds[posts].events);
    await collector.stop();
    if (!options.profile) return { round, posts, buffer, ...figures };
    return { round, posts, buffer, ...figures, selfTimes: await readSelfTimes(profileDir) };
  } finally {
    await collector.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

const flagsOf = {
  embedded: ({ listen, topic, dataDir, server }) => [
    ...['--buffer', 'embedded', '--data-dir', dataDir, '--kafka-topic', topic],
    ...['--listen', listen, '--http-server', server, '--log-level', 'warn'],
  ],
  kafka: ({ listen, topic, brokers, server }) => [
    ...['--buffer', 'kafka', '--kafka-brokers', brokers, '--kafka-topic', topic],
    ...['--kafka-partitions', String(partitions), '--kafka-compression', 'snappy'],
    ...['--listen', listen, '--http-server', server, '--log-level', 'warn'],
  ],
};

async function drive({ port, pid }, load, eventsPerPost) {
  const url = `http://127.0.0.1:${port}`;
  await runWrk(`${url}/v1/events`, { ...load, seconds: load['warm-up'] });
  const before = await readAccepted(url);
  const cpuBefore = cpuSecondsOf(pid);
  const answered = await runWrk(`${url}/v1/events`, load);
  const accepted = (await readAccepted(url)) - before;
  const cpuSeconds = cpuSecondsOf(pid) - cpuBefore;
  const good = answered.answers - answered.refused;
  // wrk leaves without waiting for the last answers: at most one post of each connection.
  const surplus = accepted - good * eventsPerPost;
  return {
    ...answered,
    accepted,
    surplus,
    isCountRight: surplus >= 0 && surplus <= load.connections * eventsPerPost,
    requestsPerSecond: good / answered.seconds,
    eventsPerSecond: (good * eventsPerPost) / answered.seconds,
    eventsPerCpuSecond: accepted / cpuSeconds,
    cpuMicrosPerEvent: (cpuSeconds * 1e6) / accepted,
    cores: cpuSeconds / answered.seconds,
    residentMiB: residentBytesOf(pid) / 1024 ** 2,
  };
}

/** Events accepted, once no post is in flight. */
async function readAccepted(url) {
  for (;;) {
    const { in_flight, events } = await (await fetch(`${url}/status`)).json();
    if (in_flight.requests === 0) return events.accepted;
    await sleep(5);
  }
}

function describeSettings(machine, { connections, threads, seconds, rounds, server, buffers }) {
  const { cpu, cores, memoryGiB, node, kafka, wrk, logOn } = machine;
  const durability = {
    kafka: `kafka ${kafka}: ${partitions} partitions, acks=all, idempotent, snappy, 1 replica; the broker answers from the page cache.`,
    embedded: `embedded: 1 partition, fdatasync on ${logOn} before each answer.`,
  };
  return [
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB; Node.js ${node}; wrk ${wrk}.`,
    `Load: ${connections} connections, wrk with -t${threads}, ${seconds} s a run, rounds: ${rounds}; \`${event}\`.`,
    `Collector: one process, HTTP server ${server}.`,
    ...buffers.map((buffer) => durability[buffer]),
  ].join('\n');
}

function describeRun({ round, buffer, posts, eventsPerSecond, cpuMicrosPerEvent, isCountRight }) {
  const speed = `${formatCount(eventsPerSecond)} events/s, ${cpuMicrosPerEvent.toFixed(2)} us of CPU per event`;
  return `round ${round}: ${buffer}, ${posts} posts: ${speed}, count ${isCountRight ? 'right' : 'WRONG'}`;
}

function describeMismatch({ round, buffer, posts, accepted, answers, refused, surplus }) {
  return `round ${round}, ${buffer}, ${posts} posts: ${answers - refused} good answers, ${accepted} events accepted: ${surplus} more than answered`;
}

const columns = [
  ['requests/s', ({ requestsPerSecond }) => requestsPerSecond, formatCount],
  ['events/s', ({ eventsPerSecond }) => eventsPerSecond, formatCount],
  ['p50 ms', ({ p50Ms }) => p50Ms, formatDecimal(1)],
  ['p99 ms', ({ p99Ms }) => p99Ms, formatDecimal(1)],
  ['events per CPU-second', ({ eventsPerCpuSecond }) => eventsPerCpuSecond, formatCount],
  ['CPU us per event', ({ cpuMicrosPerEvent }) => cpuMicrosPerEvent, formatDecimal(2)],
  ['RSS MiB', ({ residentMiB }) => residentMiB, formatCount],
];

function formatRuns(runs, { buffers, posts }) {
  const kinds = posts.flatMap((name) => buffers.map((buffer) => ({ posts: name, buffer })));
  const rows = kinds.map((kind) => {
    const own = runsOf(runs, kind);
    const bad = own.reduce((sum, { refused, broken }) => sum + refused + broken, 0);
    return [
      `${kind.buffer}, ${kind.posts}`,
      ...columns.map(([, pick, format]) => formatSpread(own.map(pick), format)),
      String(bad),
    ];
  });
  const table = formatTable(['median (range)', ...columns.map(([name]) => name), 'not 2xx'], rows);
  const ratios = buffers.length === 2 ? posts.map((name) => formatRatio(runs, name, buffers)) : [];
  return [table, '', ...ratios, ...runs.filter(({ selfTimes }) => selfTimes).map(formatProfile)].join('\n');
}

function runsOf(runs, { posts, buffer }) {
  return runs.filter((run) => run.posts === posts && run.buffer === buffer);
}

/** Of runs within one round, since the machine differs from round to round. */
function formatRatio(runs, posts, [first, second]) {
  const pairs = runsOf(runs, { posts, buffer: first }).map((run, i) => [
    run,
    runsOf(runs, { posts, buffer: second })[i],
  ]);
  const ratio = (pick) =>
    formatSpread(
      pairs.map(([a, b]) => pick(b) / pick(a)),
      formatDecimal(2),
    );
  const speed = ratio(({ eventsPerSecond }) => eventsPerSecond);
  const cpu = ratio(({ cpuMicrosPerEvent }) => cpuMicrosPerEvent);
  return `${posts} posts, ${second} : ${first}: events/s ${speed}, CPU per event ${cpu}`;
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

// Last: the tables above must exist by then.
await runToEnd(main);
