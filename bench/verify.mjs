/** Measures `millrace verify`. `--help` says how. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, fileSystemOf, formatDecimal, formatSpread, formatTable } from './figures.mjs';
import { startEngine } from './pipeline.mjs';
import { importBuilt, requireLinux, runToEnd } from './program.mjs';

const help = `Measures verify: an embedded log and the embedded ClickHouse with the same records, compared by the built program.

Usage: node bench/verify.mjs [options]

  --rows <n>        Records. Default: 10000000.
  --partitions <n>  Partitions. Default: 4.
  --rounds <n>      Runs of each kind. Default: 3.
  --dir <dir>       Where log and tables are written. Default: the directory for temporary files.

Times are those of the whole process, from its start to its exit code. Kinds of runs: everything is right; the same
with the bytes compared; with a list of receipts for all records; one row in 10,000 is gone and as many are there twice.
Needs Linux and the built program (npm run build).
Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing, 98 a run found what is not so.
`;

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const event = '{"event":"view","os":"linux","browser":"chrome"}';
const batchEvents = 10_000;
const faultEvery = 10_000;

async function run(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const dir = await mkdtemp(join(options.dir, 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const { url, clickhouse, version } = await startEngine(dir, undo);
  process.stdout.write(`${describeSettings({ ...options, dir, version })}\n\n`);
  const site = { dir, url, clickhouse, options };
  await fillTables(site, await fillLog(site));
  const runs = await measureAll(site);
  process.stdout.write(`${formatRuns(runs)}\n`);
  return runs.every(({ isRight }) => isRight) ? 0 : 98;
}

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    options: {
      rows: text('10000000'),
      partitions: text('4'),
      rounds: text('3'),
      dir: text(tmpdir()),
      help: { type: 'boolean', default: false },
    },
  });
  const numbers = ['rows', 'partitions', 'rounds'].map((name) => [name, Number(values[name])]);
  return { ...values, ...Object.fromEntries(numbers) };
}

function describeSettings({ dir, version, rows, partitions, rounds }) {
  const { cpu, cores, memoryGiB, node } = describeMachine();
  return [
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${fileSystemOf(dir)}; Node.js ${node}; ClickHouse ${version} (embedded).`,
    `${rows.toLocaleString('en-US')} records in ${partitions} partitions, ${rounds} rounds.`,
  ].join('\n');
}

/** Appends all records, and commits them as a streamer that has delivered them. @returns the id of the topic */
async function fillLog({ dir, options: { rows, partitions } }) {
  const { openEmbeddedWriter } = await importBuilt('buffer/embedded/writer.js');
  const { openEmbeddedReader } = await importBuilt('buffer/embedded/reader.js');
  const { EventBatch } = await importBuilt('buffer/records.js');
  const log = { dir: join(dir, 'log'), topic: 'events', partitions, maxBytes: 16 * 1024 ** 3 };
  const writer = await openEmbeddedWriter({ ...log, retentionMs: 86_400_000 });
  const value = Buffer.from(event);
  const ends = Array.from({ length: partitions }, (_, p) => Math.floor((rows + p) / partitions));
  for (const [partition, end] of ends.entries()) {
    for (let done = 0; done < end; done += batchEvents) {
      const batch = new EventBatch();
      for (let i = done; i < Math.min(end, done + batchEvents); i++) batch.add(value, Date.now());
      await writer.append(partition, batch);
    }
  }
  const reader = await openEmbeddedReader({ ...log, group: 'millrace' });
  let topicId;
  let left = partitions;
  await reader.run(async (partition) => {
    topicId = partition.topicId;
    await partition.commit(ends[partition.partition], '');
    if (--left === 0) void reader.close();
  });
  await writer.close();
  return topicId;
}

/** Rows in the order of time, as a streamer writes them: all partitions grow at once. */
async function fillTables({ clickhouse, options: { rows, partitions } }, topicId) {
  const { ensureTables } = await importBuilt('clickhouse/tables.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const tables = { database: 'default', cluster: undefined, columns: loadSchema().columns };
  await ensureTables(clickhouse, tables, { debug: () => {} });
  // Partition p has (rows + p) / partitions records, rounded down: the last ones are the larger ones.
  await clickhouse.execute(
    `INSERT INTO events (received_at, topic, topic_id, partition, offset, data, raw)
     SELECT now64(3) - ${rows} / 20000 + number / 20000, 'events', '${topicId}',
       ${partitions - 1} - number % ${partitions}, intDiv(number, ${partitions}),
       concat('{"event":"', ['view', 'click', 'load', 'error'][1 + rand() % 4], '","os":"linux","browser":"chrome"}'), '${event}'
     FROM numbers(${rows}) SETTINGS max_insert_block_size = 100000, min_insert_block_size_rows = 100000`,
  );
}

async function measureAll(site) {
  const { rows, rounds } = site.options;
  const receipts = await writeReceipts(site);
  const runs = [];
  const measure = async (kind, flags, expected) => {
    for (let round = 1; round <= rounds; round++) {
      const result = await verify(site, flags);
      const isRight =
        result.code === expected.code &&
        Object.entries(expected.total).every(([key, value]) => result.report?.total[key] === value);
      process.stderr.write(
        `${kind}, round ${round}: ${result.seconds.toFixed(2)} s${isRight ? '' : ', WRONG'}\n`,
      );
      runs.push({ kind, ...result, isRight });
    }
  };
  const right = { code: 0, total: { offsets: rows, rows, missing: 0, duplicated: 0 } };
  await measure('everything is right', [], right);
  await measure('with --content', ['--content'], right);
  await measure('with receipts', ['--receipts', receipts], right);
  const faults = await makeFaults(site);
  await measure('one in 10,000 gone, one twice', [], {
    code: 98,
    total: { offsets: rows, missing: faults, duplicated: faults },
  });
  return runs;
}

async function writeReceipts({ dir, options: { rows, partitions } }) {
  const file = join(dir, 'receipts.ndjson');
  const stream = createWriteStream(file);
  for (let first = 0; first < rows; first += batchEvents) {
    const lines = [];
    for (let n = first; n < Math.min(rows, first + batchEvents); n++) {
      const partition = partitions - 1 - (n % partitions);
      lines.push(`{"status":"ok","partition":${partition},"offset":${Math.floor(n / partitions)}}\n`);
    }
    if (!stream.write(lines.join(''))) await once(stream, 'drain');
  }
  stream.end();
  await once(stream, 'finish');
  return file;
}

async function makeFaults({ clickhouse }) {
  const [{ faults }] = await clickhouse.query(
    `SELECT toUInt32(count()) AS faults FROM events WHERE offset % ${faultEvery} = 77`,
  );
  const columns = 'received_at, topic, topic_id, partition, offset, data';
  await clickhouse.execute(
    `INSERT INTO events (${columns}) SELECT ${columns} FROM events WHERE offset % ${faultEvery} = 78`,
  );
  await clickhouse.execute(`DELETE FROM events WHERE offset % ${faultEvery} = 77`);
  return faults;
}

function verify({ dir, url }, flags) {
  const startedAt = performance.now();
  const args = [main, 'verify', '--json', '--data-dir', dir, '--clickhouse-url', url, ...flags];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { maxBuffer: 1024 ** 3 }, (error, stdout, stderr) => {
      if (stderr !== '') process.stderr.write(stderr);
      resolve({
        seconds: (performance.now() - startedAt) / 1_000,
        code: error === null ? 0 : error.code,
        report: stdout === '' ? undefined : JSON.parse(stdout),
      });
    });
  });
}

function formatRuns(runs) {
  const kinds = [...new Set(runs.map(({ kind }) => kind))];
  const rows = kinds.map((kind) => {
    const own = runs.filter((one) => one.kind === kind);
    return [
      kind,
      formatSpread(
        own.map(({ seconds }) => seconds),
        formatDecimal(2),
      ),
      formatSpread(
        own.map(({ report }) => report?.seconds ?? Number.NaN),
        formatDecimal(2),
      ),
      own.every(({ isRight }) => isRight) ? 'right' : 'WRONG',
    ];
  });
  return formatTable(['median (range)', 'process s', 'comparing s', 'result'], rows);
}

await runToEnd(run);
