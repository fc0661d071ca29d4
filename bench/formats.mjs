/** Compares formats for the streamer's inserts. `--help` says how. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { request } from 'undici';
import { describeMachine, formatCount, formatDecimal, formatSpread, formatTable } from './figures.mjs';
import { readValues, recordsOf } from './filled-buffer.mjs';
import { benchDatabase, startEngine } from './pipeline.mjs';
import { cpuSecondsOf, importBuilt, requireLinux, runToEnd } from './program.mjs';
import { formats } from './row-formats.mjs';

const help = `Compares formats for the streamer's inserts: encodes the same records, sends them, and counts the CPU of both sides.
Every event travels as the text that it is. Runs are interleaved; merges are off.

Usage: node bench/formats.mjs [options]

  --rounds <n>      Rounds; in each, every format is sent plain and with gzip -1. Default: 5.
  --rows <n>        Rows of an insert. Default: 50000.
  --inserts <n>     Inserts of a run. Default: 6.
  --payload <file>  NDJSON file whose events are used in turn. Default: the classic event.
  --codecs <list>   Default: none,gzip.

Needs Linux, the built program (npm run build) and the embedded ClickHouse (chdb). Exit codes: 0 ok, 1 failure,
2 wrong usage, 69 something that is needed is missing, 98 a table does not hold the rows that were sent.
`;

const codecs = { none: (body) => body, gzip: (body) => gzipSync(body, { level: 1 }) };
const database = benchDatabase;
const readSettings = { input_format_binary_read_json_as_string: 1 };
const silent = { debug() {} };

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const site = await prepareServer(undo);
  const values = readValues(options.payload);
  const { cpu, cores, memoryGiB, node } = describeMachine();
  process.stdout.write(
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB; Node.js ${node}; embedded ClickHouse ${site.engine.version}.\n` +
      `${options.inserts} inserts of ${formatCount(options.rows)} rows a run, rounds: ${options.rounds}.\n\n`,
  );
  const runs = [];
  // The first round warms up.
  for (let round = 0; round <= options.rounds; round++) {
    for (const codec of options.codecs) {
      for (const name of Object.keys(formats)) {
        const run = await measure(site, options, { name, codec, values, round });
        if (round > 0) runs.push({ name, codec, ...run });
      }
    }
  }
  process.stdout.write(`${formatRuns(runs)}\n`);
  return runs.every(({ isRight }) => isRight) ? 0 : 98;
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      rows: { type: 'string', default: '50000' },
      inserts: { type: 'string', default: '6' },
      payload: { type: 'string' },
      codecs: { type: 'string', default: 'none,gzip' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { rounds, rows, inserts } = values;
  const options = { ...values, rounds: Number(rounds), rows: Number(rows), inserts: Number(inserts) };
  options.codecs = values.codecs.split(',');
  return options;
}

async function prepareServer(undo) {
  const { ensureTables } = await importBuilt('clickhouse/tables.js');
  const { readStructure } = await importBuilt('clickhouse/inserts.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const engine = await startEngine(dir, undo);
  const { clickhouse } = engine;
  await ensureTables(clickhouse, { database, cluster: undefined, columns: loadSchema().columns }, silent);
  // Nobody may stop merges in the embedded ClickHouse; without parts that are small enough there are none.
  await clickhouse.execute(
    `ALTER TABLE ${database}.events MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1`,
  );
  const { dataType } = await readStructure(clickhouse, { database });
  return { engine, dataType };
}

async function measure(site, { rows, inserts }, { name, codec, values, round }) {
  const { insertSettings } = await importBuilt('clickhouse/inserts.js');
  const { engine, dataType } = site;
  const { url, clickhouse } = engine;
  await clickhouse.execute(`TRUNCATE TABLE ${database}.events`);
  const headers = codec === 'none' ? {} : { 'content-encoding': codec };
  const blocks = Array.from({ length: inserts }, (_, i) => recordsOf(values, rows, i * rows));
  const engineBefore = cpuSecondsOf(engine.pid);
  const before = process.cpuUsage();
  const startedAt = performance.now();
  let bytes = 0;
  for (const [i, block] of blocks.entries()) {
    const { columns: filled, body: plain } = await formats[name](block, dataType);
    const body = codecs[codec](plain);
    const query = `INSERT INTO ${database}.events (${filled.join(', ')}) FORMAT ${name}`;
    bytes += body.length;
    const token = `${name}-${codec}-${round}-${i}`;
    const settings = { ...insertSettings, ...readSettings, insert_deduplication_token: token };
    const search = new URLSearchParams({ query, ...settings });
    const answer = await request(`${url}/?${search}`, { method: 'POST', body, headers });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${name}: ${text.slice(0, 500)}`);
  }
  const seconds = (performance.now() - startedAt) / 1e3;
  const { user, system } = process.cpuUsage(before);
  const engineSeconds = cpuSecondsOf(engine.pid) - engineBefore;
  const sent = rows * inserts;
  const [{ stored }] = await clickhouse.query(
    `SELECT toFloat64(uniqExact(offset)) AS stored FROM ${database}.events WHERE event != ''`,
  );
  return {
    isRight: stored === sent,
    bytesPerRow: bytes / sent,
    clientMicros: (user + system) / sent,
    engineMicros: (engineSeconds / sent) * 1e6,
    rowsPerSecond: sent / seconds,
  };
}

const columns = [
  ['bytes a row', ({ bytesPerRow }) => bytesPerRow, formatDecimal(0)],
  ['client CPU us per row', ({ clientMicros }) => clientMicros, formatDecimal(2)],
  ['engine CPU us per row', ({ engineMicros }) => engineMicros, formatDecimal(2)],
  ['rows/s', ({ rowsPerSecond }) => rowsPerSecond, formatCount],
];

function formatRuns(runs) {
  const [first] = runs;
  const base = runs.filter(({ name, codec }) => name === first.name && codec === first.codec);
  const kinds = new Map(runs.map(({ name, codec }) => [`${name}, ${codec}`, { name, codec }]));
  const lines = [...kinds].map(([title, kind]) => {
    const own = runs.filter(({ name, codec }) => name === kind.name && codec === kind.codec);
    // Of runs within one round, since the machine differs from round to round.
    const ratios = own.map(({ engineMicros }, i) => engineMicros / base[i].engineMicros);
    return [
      title,
      ...columns.map(([, pick, format]) => formatSpread(own.map(pick), format)),
      formatSpread(ratios, formatDecimal(2)),
    ];
  });
  return formatTable(['median (range)', ...columns.map(([title]) => title), 'engine CPU : first'], lines);
}

// Last: the tables above must exist by then.
await runToEnd(main);
