/** Measures how soon events are queryable at a constant rate. `--help` says how. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { describeMachine, fileSystemOf, formatCount, formatDecimal, formatTable } from './figures.mjs';
import { openBuffer, partitionsOf, readValues, startKafka } from './filled-buffer.mjs';
import { benchDatabase, readPartsMade, startEngine, startStreamer } from './pipeline.mjs';
import { cpuSecondsOf, peakResidentBytesOf, requireLinux, runToEnd } from './program.mjs';
import { watchTable } from './table-watch.mjs';

const help = `Measures freshness, from received to queryable, and what the streamer costs at a constant rate. Events are appended to
the buffer as a collector does it, a few at a time; \`millrace stream\` delivers them to \`millrace clickhouse\`. An event
counts as queryable when a query, sent every 100 ms, has returned its row.

Usage: node bench/freshness.mjs [options] [-- options of millrace stream]

  --rates <list>    Events a second. Default: 100,1000,10000.
  --seconds <n>     Length of a run. Default: 30.
  --buffers <list>  Default: kafka,embedded.
  --payload <file>  NDJSON file whose events are used in turn. Default: the classic event.
  --dir <dir>       Where log and tables are written. Default: the directory for temporary files.
  --json <file>     Writes all runs and the machine as JSON.

Needs Linux, the built program (npm run build), the embedded ClickHouse (chdb), and for Kafka one of: KAFKA_BROKERS
(host:port of one that runs), a Docker engine, or Java 17 and Maven. Exit codes: 0 ok, 1 failure, 2 wrong usage,
69 something that is needed is missing, 98 the table does not hold each record exactly once.
`;

const topicPrefix = `bench-${process.pid}-${Date.now()}`;
/** Between two appends of a partition: what one takes under load. */
const appendMs = 2;

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const dir = await mkdtemp(join(options.dir, 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const engine = await startEngine(dir, undo);
  const kafka = options.buffers.includes('kafka')
    ? await startKafka(undo, topicPrefix)
    : { kind: 'not used' };
  const site = { dir, engine, brokers: kafka.brokers };
  const machine = { ...describeMachine(), clickhouse: engine.version, kafka: kafka.kind };
  process.stdout.write(`${describeSettings({ ...machine, dataOn: fileSystemOf(dir) }, options)}\n\n`);
  const runs = [];
  for (const buffer of options.buffers) {
    for (const rate of options.rates) runs.push(await measure(site, options, { buffer, rate }));
  }
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ machine, options, runs }, null, 2));
  process.stdout.write(`${formatRuns(runs)}\n`);
  return runs.every(({ isRight }) => isRight) ? 0 : 98;
}

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rates: text('100,1000,10000'),
      seconds: text('30'),
      buffers: text('kafka,embedded'),
      payload: { type: 'string' },
      dir: text(tmpdir()),
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const rates = values.rates.split(',').map(Number);
  const buffers = values.buffers.split(',');
  const isFine = [...rates, Number(values.seconds)].every((value) => value > 0);
  if (!isFine || buffers.some((kind) => partitionsOf[kind] === undefined))
    throw Object.assign(new Error('--rates and --seconds take numbers, --buffers kafka,embedded'), {
      exitCode: 2,
    });
  return { ...values, rates, buffers, seconds: Number(values.seconds), streamFlags: positionals };
}

async function measure(site, { seconds, payload, streamFlags }, { buffer, rate }) {
  const { dir, engine, brokers } = site;
  const name = `bench_${buffer}_${Math.round(rate * 1000)}`;
  const { writer, flags } = await openBuffer(buffer, { dir, brokers, topic: `${topicPrefix}-${rate}` });
  const target = { engine, database: benchDatabase, group: name, flags: [...flags, ...streamFlags] };
  const streamer = await startStreamer(target);
  try {
    await append(writer, { rate: 50, seconds: 2, values: readValues(payload) });
    const watch = watchTable(engine.clickhouse, `${benchDatabase}.events`);
    const before = cpuSecondsOf(streamer.pid);
    const engineBefore = cpuSecondsOf(engine.pid);
    const startedAt = Date.now();
    const rows = await append(writer, { rate, seconds, values: readValues(payload) });
    const cpuSeconds = cpuSecondsOf(streamer.pid) - before;
    const engineCores = (cpuSecondsOf(engine.pid) - engineBefore) / seconds;
    await sleep(3_000);
    const parts = await readPartsMade(engine.clickhouse, benchDatabase);
    const freshness = await watch.end(startedAt);
    return {
      ...{ buffer, rate, engineCores, ...freshness },
      isRight: freshness.rows === rows && freshness.distinct === rows,
      cpuMicrosPerRow: (cpuSeconds / rows) * 1e6,
      // The rows before the run made a few, too.
      partsPerSecond: parts / (seconds + 5) / partitionsOf[buffer],
      residentMiB: peakResidentBytesOf(streamer.pid) / 1024 ** 2,
    };
  } finally {
    await streamer.stop();
    await writer.close();
    await engine.clickhouse.execute(`DROP DATABASE IF EXISTS ${benchDatabase} SYNC`);
  }
}

/** Appends to all partitions at a constant rate; what is late is made up for. @returns the number of events */
async function append(writer, { rate, seconds, values }) {
  const total = Math.round(rate * seconds);
  const startedAt = performance.now();
  let given = 0;
  const fill = async (partition) => {
    const { EventBatch } = await import('../dist/buffer/records.js');
    const batch = new EventBatch();
    while (given < total) {
      const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1e3) * rate));
      // A fair share for each partition; at low rates whoever comes first.
      const count = Math.ceil((due - given) / writer.partitions);
      batch.clear();
      for (let i = 0; i < count; i++) batch.add(values[given++ % values.length], Date.now());
      if (count > 0) await writer.append(partition, batch);
      await sleep(appendMs);
    }
  };
  await Promise.all(Array.from({ length: writer.partitions }, (_, partition) => fill(partition)));
  return total;
}

function describeSettings(machine, { seconds, payload, streamFlags }) {
  const { cpu, cores, memoryGiB, dataOn, node, clickhouse, kafka } = machine;
  return [
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${dataOn}; Node.js ${node}; ClickHouse ${clickhouse} (embedded); Kafka ${kafka}.`,
    `${seconds} s a run; events: ${payload ?? 'classic'}; options of the streamer: ${streamFlags.join(' ') || 'none'}.`,
  ].join('\n');
}

const columns = [
  ['events/s', ({ rate }) => formatCount(rate)],
  ['p50 ms', ({ p50 }) => formatCount(p50)],
  ['p99 ms', ({ p99 }) => formatCount(p99)],
  ['p99.9 ms', ({ p999 }) => formatCount(p999)],
  ['max ms', ({ max }) => formatCount(max)],
  ['parts/s and partition', ({ partsPerSecond }) => formatDecimal(2)(partsPerSecond)],
  ['streamer CPU us per row', ({ cpuMicrosPerRow }) => formatDecimal(1)(cpuMicrosPerRow)],
  ['engine cores', ({ engineCores }) => formatDecimal(2)(engineCores)],
  ['peak RSS MiB', ({ residentMiB }) => formatCount(residentMiB)],
  ['rows', ({ isRight }) => (isRight ? 'each once' : 'WRONG')],
];

function formatRuns(runs) {
  const rows = runs.map((run) => [run.buffer, ...columns.map(([, format]) => format(run))]);
  return formatTable(['buffer', ...columns.map(([name]) => name)], rows);
}

// Last: the tables above must exist by then.
await runToEnd(main);
