/** Compares ways to send the streamer's inserts to ClickHouse. `--help` says how. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { describeMachine, formatCount, formatDecimal, formatSpread, formatTable } from './figures.mjs';
import { recordsOf } from './filled-buffer.mjs';
import { benchDatabase, startEngine } from './pipeline.mjs';
import { importBuilt, MissingError, runToEnd } from './program.mjs';
import { encodeJson } from './row-formats.mjs';

const help = `Compares clients for what the streamer does with ClickHouse: insert a body that is ready in memory, one after
another. Runs are interleaved, each in a process of its own, so that none pays for another's garbage. millrace
and exec send the same bytes; insert starts from objects and writes the JSON itself.

Usage: node bench/insert-clients.mjs [options]

  --rounds <n>   Rounds; in each, every client sends every size. Default: 3.
  --rows <list>  Rows of a body. Default: 1000,10000,100000.
  --total <n>    Rows that one run sends, at least 20 bodies of them. Default: 200000.
  --json <file>  Writes all runs and the machine as JSON.

Needs the built program (npm run build), the embedded ClickHouse (chdb, an optional dependency) and
@clickhouse/client (a development dependency). Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is
needed is missing, 98 the table does not hold the rows that were sent.
`;

const execute = promisify(execFile);
const event = '{"event":"view","os":"linux","browser":"chrome"}';
const database = benchDatabase;
/** Small, so that every size is measured with the client's code equally warm. */
const warmUpRows = 100;
const warmUpInserts = 50;
const clientNames = ['millrace', '@clickhouse/client exec', '@clickhouse/client insert'];

async function main(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  if (options.client !== undefined) {
    process.stdout.write(JSON.stringify(await measure(options)));
    return 0;
  }
  const { client, tables } = await prepareServer(undo);
  await importClient();
  const [{ version }] = await client.query('SELECT version() AS version');
  const machine = { ...describeMachine(), clickhouse: version };
  process.stdout.write(`${describeSettings(machine, options, buildBody(10_000))}\n\n`);
  const runs = await measureAll(client.url, options);
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ machine, options, runs }, null, 2));
  process.stdout.write(`\n${formatRuns(runs, options)}\n\n`);
  return await verify(client, tables, runs);
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      rows: { type: 'string', default: '1000,10000,100000' },
      total: { type: 'string', default: '200000' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
      // For the child processes.
      client: { type: 'string' },
      url: { type: 'string' },
    },
  });
  const options = { ...values, rounds: Number(values.rounds), total: Number(values.total) };
  options.sizes = values.rows.split(',').map(Number);
  const isFine = [options.rounds, options.total, ...options.sizes].every((n) => Number.isInteger(n) && n > 0);
  if (!isFine)
    throw Object.assign(new Error('--rounds, --rows and --total take whole numbers; see --help'), {
      exitCode: 2,
    });
  return options;
}

/** An embedded ClickHouse with the tables of Millrace, in a directory of its own. */
async function prepareServer(undo) {
  const { ensureTables, nameTables } = await importBuilt('clickhouse/tables.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const { clickhouse: client } = await startEngine(dir, undo);
  const options = { database, cluster: undefined, columns: loadSchema().columns };
  await ensureTables(client, options, { debug: () => {} });
  return { client, tables: nameTables(options) };
}

async function importClient() {
  try {
    return await import('@clickhouse/client');
  } catch {
    throw new MissingError(
      '@clickhouse/client is not installed: run `npm install` with development dependencies',
    );
  }
}

async function measureAll(url, { rounds, sizes, total }) {
  const script = fileURLToPath(import.meta.url);
  const runs = [];
  for (let round = 1; round <= rounds; round++) {
    for (const rows of sizes) {
      for (const name of clientNames) {
        const flags = [
          '--client',
          name,
          '--url',
          url.origin,
          '--rows',
          String(rows),
          '--total',
          String(total),
        ];
        const { stdout } = await execute(process.execPath, [script, ...flags]);
        runs.push({ round, client: name, rows, ...JSON.parse(stdout) });
      }
    }
    process.stdout.write(`round ${round} of ${rounds} is done\n`);
  }
  return runs;
}

/** Of this process: sends bodies one after another, as a streamer does for a partition. */
async function measure({ client: name, url, sizes: [rows], total }) {
  const { nameTables } = await importBuilt('clickhouse/tables.js');
  const { insertSettings } = await importBuilt('clickhouse/inserts.js');
  const { events } = nameTables({ database, columns: [] });
  const sender = await senders[name]({ url: new URL(url), table: events });
  const warmUp = sender.prepare(buildBody(warmUpRows));
  const body = sender.prepare(buildBody(rows));
  const inserts = Math.max(Math.ceil(total / rows), 20);
  // A token for each: ClickHouse would take a second body for a repetition of the first.
  const settingsOf = (i) => ({
    ...insertSettings,
    insert_deduplication_token: `${process.pid}-${rows}-${i}`,
  });
  for (let i = 0; i < warmUpInserts; i++) await sender.send(warmUp, settingsOf(`warm-up-${i}`));
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  for (let i = 0; i < inserts; i++) await sender.send(body, settingsOf(i));
  const { user, system } = process.cpuUsage(cpuBefore);
  const seconds = (performance.now() - startedAt) / 1e3;
  await sender.close();
  return {
    inserts,
    rowsSent: inserts * rows + warmUpInserts * warmUpRows,
    rowsPerSecond: (inserts * rows) / seconds,
    cpuMicrosPerRow: (user + system) / (inserts * rows),
    cpuMicrosPerInsert: (user + system) / inserts,
  };
}

/** Each sends what its `prepare` made of a body; preparing is not counted. */
const senders = {
  async millrace({ url, table }) {
    const { createClickHouse } = await importBuilt('clickhouse/client.js');
    const client = createClickHouse({ url, database, user: 'default', password: '', timeoutMs: 60_000 });
    const sql = `INSERT INTO ${table} FORMAT JSONEachRow`;
    const send = (body, settings) => client.insert(sql, body, { settings });
    return { prepare: (body) => body, send, close: () => client.close() };
  },
  async '@clickhouse/client exec'({ url, table }) {
    const client = await createOfficialClient(url);
    const query = `INSERT INTO ${table} FORMAT JSONEachRow`;
    const send = async (body, settings) => {
      const { stream } = await client.exec({ query, values: streamOf(body), clickhouse_settings: settings });
      // The connection is free again only when the answer was read.
      for await (const _ of stream);
    };
    return { prepare: (body) => body, send, close: () => client.close() };
  },
  /** Its usual way: objects, which it writes as JSON. */
  async '@clickhouse/client insert'({ url, table }) {
    const client = await createOfficialClient(url);
    const prepare = (body) =>
      body
        .toString()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
    const send = (values, settings) =>
      client.insert({ table, values, format: 'JSONEachRow', clickhouse_settings: settings });
    return { prepare, send, close: () => client.close() };
  },
};

async function createOfficialClient(url) {
  const { createClient } = await importClient();
  return createClient({ url, database, username: 'default', password: '', request_timeout: 60_000 });
}

/** The client takes bytes that are already rows by `exec` only, and there as a stream. */
function streamOf(body) {
  return Readable.from([body], { objectMode: false });
}

/** Rows in JSONEachRow. */
function buildBody(rows) {
  return encodeJson(recordsOf([Buffer.from(event)], rows, 1_000_000)).body;
}

function describeSettings({ cpu, cores, memoryGiB, node, clickhouse }, { rounds }, body) {
  const row = (body.length / 10_000).toFixed(0);
  return `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB; Node.js ${node}; embedded ClickHouse ${clickhouse}.
Rows of ${row} bytes in JSONEachRow, one insert at a time, one block and one token each; ${rounds} interleaved rounds.`;
}

function formatRuns(runs, { sizes }) {
  const head = [
    'median (range)',
    'rows a body',
    'CPU us per row',
    'CPU us per insert',
    'rows/s',
    'CPU : millrace',
  ];
  const lines = sizes.flatMap((rows) =>
    clientNames.map((client) => {
      const own = runs.filter((run) => run.client === client && run.rows === rows);
      const base = runs.filter((run) => run.client === clientNames[0] && run.rows === rows);
      // Of runs within one round, since the machine differs from round to round.
      const ratios = own.map(({ cpuMicrosPerRow }, i) => cpuMicrosPerRow / base[i].cpuMicrosPerRow);
      return [
        client,
        formatCount(rows),
        formatSpread(
          own.map(({ cpuMicrosPerRow }) => cpuMicrosPerRow),
          formatDecimal(3),
        ),
        formatSpread(own.map(({ cpuMicrosPerInsert }) => cpuMicrosPerInsert)),
        formatSpread(own.map(({ rowsPerSecond }) => rowsPerSecond)),
        formatSpread(ratios, formatDecimal(2)),
      ];
    }),
  );
  return formatTable(head, lines);
}

async function verify(client, { events }, runs) {
  const sent = runs.reduce((sum, { rowsSent }) => sum + rowsSent, 0);
  const [{ stored }] = await client.query(
    `SELECT toFloat64(count()) AS stored FROM ${events} WHERE event = 'view'`,
  );
  process.stdout.write(`${formatCount(stored)} rows in the table, ${formatCount(sent)} sent\n`);
  return stored === sent ? 0 : 98;
}

// Last: the tables above must exist by then.
await runToEnd(main);
