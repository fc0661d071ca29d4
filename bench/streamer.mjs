/** Measures the streamer. `--help` says how. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { formatSelfTimes, readSelfTimes } from './cpu-profile.mjs';
import {
  describeMachine,
  fileSystemOf,
  formatCount,
  formatDecimal,
  formatSpread,
  formatTable,
} from './figures.mjs';
import { fillBuffer, partitionsOf, readValues, startKafka } from './filled-buffer.mjs';
import { insertFile, writeRowsFile } from './local-file.mjs';
import { benchDatabase, readPartsMade, startEngine, startStreamer } from './pipeline.mjs';
import { cpuSecondsOf, importBuilt, peakResidentBytesOf, requireLinux, runToEnd } from './program.mjs';

const help = `Measures the streamer: how it catches up. A buffer is filled, then \`millrace stream\` delivers all of it to
\`millrace clickhouse\`. In the same round the engine takes as many of the same rows from a local file.

Usage: node bench/streamer.mjs [options] [-- options of millrace stream]

  --rounds <n>      Rounds; in each, every buffer is delivered once. Default: 3.
  --rows <n>        Events in each buffer. Default: 2000000.
  --append <n>      Events in each append to the buffer: 200 as collectors make them under load, 3 at 10,000
                    events/s. Default: 200.
  --buffers <list>  Default: kafka,embedded.
  --payload <file>  NDJSON file whose events are used in turn. Default: the classic event.
  --dir <dir>       Where log and tables are written. Default: the directory for temporary files.
  --json <file>     Writes all runs and the machine as JSON.
  --profile         One round under the CPU profiler: prints the functions with the most time of their own.

CPU is counted from when the streamer serves until everything is delivered. Needs Linux, the built program (npm run
build), the embedded ClickHouse (chdb), and for Kafka one of: KAFKA_BROKERS (host:port of one that runs), a Docker
engine, or Java 17 and Maven. Everything shares the machine: compare within one run only.
Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing, 98 the table does not hold each
record exactly once.
`;

const topicPrefix = `bench-${process.pid}-${Date.now()}`;
const silent = { debug() {} };

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const site = await prepareSite(options, undo);
  const machine = {
    ...describeMachine(),
    ...{ clickhouse: site.engine.version, kafka: site.kafka, dataOn: fileSystemOf(site.dir) },
  };
  process.stdout.write(`${describeSettings(machine, options)}\n\n`);
  const runs = [];
  for (let round = 1; round <= options.rounds; round++) await measureRound(site, options, { round, runs });
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ machine, options, runs }, null, 2));
  process.stdout.write(`\n${formatRuns(runs, options)}\n`);
  return runs.every(({ isRight }) => isRight) ? 0 : 98;
}

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: text('3'),
      rows: text('2000000'),
      append: text('200'),
      buffers: text('kafka,embedded'),
      payload: { type: 'string' },
      dir: text(tmpdir()),
      json: { type: 'string' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const options = { ...values, streamFlags: positionals, buffers: values.buffers.split(',') };
  for (const name of ['rounds', 'rows', 'append']) {
    options[name] = Number(values[name]);
    if (!Number.isInteger(options[name]) || options[name] < 1)
      throw usage(`--${name} takes a whole number from 1 on`);
  }
  if (options.buffers.some((kind) => partitionsOf[kind] === undefined))
    throw usage('--buffers takes kafka,embedded');
  if (options.profile) options.rounds = 1;
  return options;
}

function usage(message) {
  return Object.assign(new Error(`${message}; see --help`), { exitCode: 2 });
}

/** The engine, the filled buffers, and the file. */
async function prepareSite(options, undo) {
  const dir = await mkdtemp(join(options.dir, 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const engine = await startEngine(dir, undo);
  const load = { ...options, values: readValues(options.payload) };
  const usesKafka = options.buffers.includes('kafka');
  const kafka = usesKafka ? await startKafka(undo, topicPrefix) : { kind: 'not used' };
  const flags = {};
  for (const kind of options.buffers)
    flags[kind] = await fillBuffer(kind, { dir, brokers: kafka.brokers, topic: topicPrefix }, load);
  const { createSql, dataType } = await readPattern(engine.clickhouse);
  const file = await writeRowsFile(dir, { ...load, dataType });
  return { dir, engine, file, createSql, flags, kafka: kafka.kind };
}

/** How the streamer makes the table, for a table in another engine. */
async function readPattern(clickhouse) {
  const { ensureTables } = await importBuilt('clickhouse/tables.js');
  const { readStructure } = await importBuilt('clickhouse/inserts.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const database = benchDatabase;
  await ensureTables(clickhouse, { database, cluster: undefined, columns: loadSchema().columns }, silent);
  const [{ sql }] = await clickhouse.query(
    `SELECT create_table_query AS sql FROM system.tables WHERE database = '${database}' AND name = 'events'`,
  );
  const { dataType } = await readStructure(clickhouse, { database });
  await clickhouse.execute(`DROP DATABASE ${database} SYNC`);
  return { createSql: sql.replace(`${database}.events`, 'events'), dataType };
}

async function measureRound(site, options, { round, runs }) {
  const local = await insertFile(site);
  process.stdout.write(`round ${round}: local file: ${formatCount(local.rowsPerSecond)} rows/s\n`);
  for (const buffer of options.buffers) {
    const run = { round, buffer, local, ...(await measure(site, options, { round, buffer })) };
    runs.push(run);
    const { rowsPerSecond, rowsPerCpuSecond, isRight } = run;
    process.stdout.write(
      `round ${round}: ${buffer}: ${formatCount(rowsPerSecond)} rows/s, ${formatCount(rowsPerCpuSecond)} rows per CPU-second, ${isRight ? 'each once' : 'WRONG'}\n`,
    );
  }
}

/** One delivery by a streamer, a group of its own, into a new database. */
async function measure(site, { rows, profile, streamFlags }, { round, buffer }) {
  const { dir, engine, flags } = site;
  const { clickhouse } = engine;
  const name = `bench_${buffer}_${round}`;
  const profileDir = join(dir, `profile-${name}`);
  await mkdir(profileDir, { recursive: true });
  const target = { engine, database: benchDatabase, group: name, flags: [...flags[buffer], ...streamFlags] };
  const execArgv = profile ? ['--cpu-prof', `--cpu-prof-dir=${profileDir}`] : [];
  const streamer = await startStreamer(target, { execArgv });
  try {
    const engineBefore = cpuSecondsOf(engine.pid);
    const { endedAt, cpuSeconds, inserts } = await waitUntilDelivered(streamer, rows);
    const engineCpuSeconds = cpuSecondsOf(engine.pid) - engineBefore;
    const residentMiB = peakResidentBytesOf(streamer.pid) / 1024 ** 2;
    const { firstAt, stored, distinct } = await readStored(clickhouse);
    const parts = await readPartsMade(clickhouse, benchDatabase);
    await streamer.stop();
    return {
      isRight: stored === rows && distinct === rows,
      rowsPerSecond: (rows / (endedAt - firstAt)) * 1e3,
      rowsPerCpuSecond: rows / cpuSeconds,
      cpuMicrosPerRow: (cpuSeconds / rows) * 1e6,
      engineMicrosPerRow: (engineCpuSeconds / rows) * 1e6,
      ...{ inserts, parts, residentMiB },
      ...(profile ? { selfTimes: await readSelfTimes(profileDir) } : {}),
    };
  } finally {
    await streamer.stop();
    await clickhouse.execute(`DROP DATABASE IF EXISTS ${benchDatabase} SYNC`);
  }
}

/** Asks for the status, which costs little, until all rows are there. */
async function waitUntilDelivered({ port, pid }, expected) {
  const url = `http://127.0.0.1:${port}`;
  const cpuBefore = cpuSecondsOf(pid);
  for (;;) {
    const { rows, repeats, dead_letters } = await (await fetch(`${url}/status`)).json();
    const end = { endedAt: Date.now(), cpuSeconds: cpuSecondsOf(pid) - cpuBefore };
    if (rows + repeats + dead_letters >= expected) return { ...end, inserts: await readInserts(url) };
    await sleep(20);
  }
}

async function readInserts(url) {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^millrace_insert_duration_seconds_count (\d+)$/m.exec(text)?.[1]);
}

async function readStored(clickhouse) {
  const [stored] = await clickhouse.query(
    `SELECT toFloat64(count()) AS stored, toFloat64(uniqExact(partition, offset)) AS distinct,
       toFloat64(toUnixTimestamp64Milli(min(stored_at))) AS firstAt FROM ${benchDatabase}.events`,
  );
  return stored;
}

function describeSettings(machine, { rows, append, payload, rounds, buffers, streamFlags }) {
  const { cpu, cores, memoryGiB, node, clickhouse, kafka, dataOn } = machine;
  const kinds = buffers.map((kind) => `${kind} with ${partitionsOf[kind]} partitions`).join(', ');
  return [
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${dataOn}; Node.js ${node}; ClickHouse ${clickhouse} (embedded); Kafka ${kafka}.`,
    `${formatCount(rows)} events (${payload ?? 'classic'}), ${append} an append, in ${kinds}; rounds: ${rounds}.`,
    `Options of the streamer: ${streamFlags.join(' ') || 'none'}.`,
  ].join('\n');
}

const columns = [
  ['rows/s', (run) => run.rowsPerSecond, formatCount],
  ['rows per CPU-second', (run) => run.rowsPerCpuSecond, formatCount],
  ['CPU us per row', (run) => run.cpuMicrosPerRow, formatDecimal(2)],
  ['engine us per row', (run) => run.engineMicrosPerRow, formatDecimal(2)],
  ['rows/s : local file', (run) => run.rowsPerSecond / run.local.rowsPerSecond, formatDecimal(2)],
  ['inserts', (run) => run.inserts, formatCount],
  ['parts', (run) => run.parts, formatCount],
  ['peak RSS MiB', (run) => run.residentMiB, formatCount],
];

function formatRuns(runs, { buffers }) {
  const lines = buffers.map((buffer) => {
    const own = runs.filter((run) => run.buffer === buffer);
    return [buffer, ...columns.map(([, pick, format]) => formatSpread(own.map(pick), format))];
  });
  const table = formatTable(['median (range)', ...columns.map(([name]) => name)], lines);
  const local = runs.filter(({ buffer }) => buffer === buffers[0]).map((run) => run.local);
  const rate = formatSpread(local.map(({ rowsPerSecond }) => rowsPerSecond));
  const cpu = formatSpread(
    local.map(({ cpuMicrosPerRow }) => cpuMicrosPerRow),
    formatDecimal(2),
  );
  const profiles = runs
    .filter(({ selfTimes }) => selfTimes)
    .map(({ buffer, selfTimes }) => formatSelfTimes(buffer, selfTimes));
  return [table, `From a local file: ${rate} rows/s, ${cpu} us of CPU per row`, ...profiles].join('\n');
}

// Last: the tables above must exist by then.
await runToEnd(main);
