/** Measures what it costs that ClickHouse flushes each insert. `--help` says how. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  describeMachine,
  fileSystemOf,
  formatCount,
  formatDecimal,
  formatSpread,
  formatTable,
} from './figures.mjs';
import { encodeRows } from './filled-buffer.mjs';
import { benchDatabase, startEngine } from './pipeline.mjs';
import { cpuSecondsOf, importBuilt, requireLinux, runToEnd } from './program.mjs';

const help = `Measures inserts as the streamer does them, one after another into the embedded ClickHouse, with and without the
settings of the table that make an acknowledged insert survive power loss. Runs are interleaved, merges included.

Usage: node bench/fsync.mjs [options]

  --rounds <n>    Rounds; in each, every size goes into either table. Default: 5.
  --rows <list>   Rows of an insert. Default: 1000,20000,100000.
  --inserts <n>   Inserts of one run. Default: 10.
  --data-dir <d>  Where the data goes: the disk to measure. Default: a directory of its own under the temporary one.

Needs Linux, the built program (npm run build) and the embedded ClickHouse (chdb, an optional dependency). Exit codes:
0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing.
`;

const osses = ['linux', 'windows', 'macos', 'android', 'ios'];
const browsers = ['chrome', 'firefox', 'safari', 'edge'];

/** Of the tables as they are, and of those without the flushes. */
const databases = { on: 'default', off: benchDatabase };

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const { pid, version, client, tables, dir } = await prepare(undo, options);
  process.stdout.write(`${describe(version, dir, options)}\n\n`);
  const bodies = new Map();
  const { readStructure } = await importBuilt('clickhouse/inserts.js');
  const { dataType } = await readStructure(client, { database: databases.on });
  for (const rows of options.sizes) bodies.set(rows, await buildBody(rows, dataType));
  const runs = [];
  for (let round = 0; round <= options.rounds; round++) {
    for (const rows of options.sizes) {
      // Either table goes first in every second round.
      const order = round % 2 === 0 ? ['off', 'on'] : ['on', 'off'];
      for (const mode of order) {
        const target = { pid, client, table: tables[mode], body: bodies.get(rows) };
        const run = await measure(target, `${mode}-${round}-${rows}`, options.inserts);
        // The first round warms up.
        if (round > 0) runs.push({ round, mode, rows, ...run });
      }
    }
    if (round > 0) process.stdout.write(`round ${round} of ${options.rounds} is done\n`);
  }
  process.stdout.write(`\n${format(runs, options)}\n`);
  return 0;
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      rows: { type: 'string', default: '1000,20000,100000' },
      inserts: { type: 'string', default: '10' },
      'data-dir': { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const options = {
    help: values.help,
    dataDir: values['data-dir'],
    rounds: Number(values.rounds),
    inserts: Number(values.inserts),
    sizes: values.rows.split(',').map(Number),
  };
  const isFine = [options.rounds, options.inserts, ...options.sizes].every(
    (n) => Number.isInteger(n) && n > 0,
  );
  if (isFine) return options;
  throw Object.assign(new Error('--rounds, --rows and --inserts take whole numbers; see --help'), {
    exitCode: 2,
  });
}

/** One engine with the tables of Millrace in two databases: as they are, and without the flushes. */
async function prepare(undo, { dataDir }) {
  const { ensureTables, nameTables } = await importBuilt('clickhouse/tables.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const dir = await mkdtemp(join(dataDir ?? tmpdir(), 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const { pid, clickhouse: client, version } = await startEngine(dir, undo);
  const tables = {};
  for (const [mode, database] of Object.entries(databases)) {
    const options = { database, cluster: undefined, columns: loadSchema().columns };
    await ensureTables(client, options, { debug: () => {} });
    tables[mode] = nameTables(options).events;
  }
  const settings = [
    'fsync_after_insert',
    'fsync_part_directory',
    'min_rows_to_fsync_after_merge',
    'min_compressed_bytes_to_fsync_after_merge',
  ];
  await client.execute(`ALTER TABLE ${tables.off} RESET SETTING ${settings.join(', ')}`);
  return { pid, version, client, tables, dir };
}

async function measure({ pid, client, table, body }, name, inserts) {
  const { insertEventsStatement, insertSettings } = await importBuilt('clickhouse/inserts.js');
  const { columns, body: bytes } = body;
  const sql = insertEventsStatement({ events: table }, columns);
  const cpuBefore = cpuSecondsOf(pid);
  const milliseconds = [];
  for (let i = 0; i < inserts; i++) {
    const startedAt = performance.now();
    const settings = { ...insertSettings, insert_deduplication_token: `${name}-${i}` };
    await client.insert(sql, bytes, { settings });
    milliseconds.push(performance.now() - startedAt);
  }
  milliseconds.sort((a, b) => a - b);
  return {
    median: milliseconds[Math.floor(inserts / 2)],
    mean: milliseconds.reduce((sum, ms) => sum + ms, 0) / inserts,
    cpu: ((cpuSecondsOf(pid) - cpuBefore) * 1e3) / inserts,
  };
}

async function buildBody(rows, dataType) {
  const texts = Array.from(
    { length: rows },
    (_, i) => `{"event":"view","os":"${osses[i % 5]}","browser":"${browsers[i % 4]}","path":"/p/${i % 977}"}`,
  );
  const ends = [];
  let length = 0;
  for (const text of texts) {
    length += text.length;
    ends.push(length);
  }
  const block = {
    count: rows,
    bytes: Buffer.from(texts.join('')),
    starts: [0, ...ends.slice(0, -1)],
    ends,
    offsets: Array.from(ends, (_, i) => i),
    receivedAt: Array.from(ends, (_, i) => 1_767_225_600_000 + i),
  };
  return await encodeRows(block, { topic: 'events', topicId: 'bench', partition: 0 }, dataType);
}

function describe(version, dir, { rounds, inserts }) {
  const { cpu, cores, memoryGiB, node } = describeMachine();
  return `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${fileSystemOf(dir)}; Node.js ${node}; embedded ClickHouse ${version}.
${inserts} inserts a run, one at a time; ${rounds} interleaved rounds. CPU is that of the engine, merges included.`;
}

function format(runs, { sizes }) {
  const head = [
    'median (range) of the rounds',
    'rows',
    'ms',
    'mean ms',
    'CPU ms',
    'ms : without',
    'CPU : without',
  ];
  const lines = sizes.flatMap((rows) =>
    ['off', 'on'].map((mode) => {
      const own = runs.filter((run) => run.mode === mode && run.rows === rows);
      const base = runs.filter((run) => run.mode === 'off' && run.rows === rows);
      const of = (key, digits) =>
        formatSpread(
          own.map((run) => run[key]),
          formatDecimal(digits),
        );
      // Of runs within one round, since the machine differs from round to round.
      const ratio = (key) =>
        formatSpread(
          own.map((run, i) => run[key] / base[i][key]),
          formatDecimal(2),
        );
      const ratios = mode === 'off' ? ['', ''] : [ratio('median'), ratio('cpu')];
      const name = mode === 'off' ? 'without' : 'flushed';
      return [name, formatCount(rows), of('median', 1), of('mean', 1), of('cpu', 1), ...ratios];
    }),
  );
  return formatTable(head, lines);
}

// Last: the tables above must exist by then.
await runToEnd(main);
