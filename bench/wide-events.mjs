/** Measures what events with many distinct keys do to a table. `--help` says how. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, fileSystemOf, formatCount, formatTable } from './figures.mjs';
import { benchDatabase, startEngine } from './pipeline.mjs';
import { importBuilt, requireLinux, runToEnd } from './program.mjs';

const help = `Measures what events with many distinct keys do to table events of the embedded ClickHouse.

Usage: node bench/wide-events.mjs [options]

  --paths <list>  Values of --max-dynamic-paths to compare. Default: 1024,256,64,0.
  --dir <dir>     Where the tables are. Default: the directory for temporary files.

Kinds of events: paths, 14,550 events of 20 out of 7,520 distinct paths each, 150 an insert; carts, 200 events keyed by
100 product ids each, 10 an insert, and 139 small ones by themselves; keys, 7 events of 12,000 keys with 30 small ones
each. Then the parts are merged into one, all of \`data\` is read, once and three times at a time, and one path.
Each combination has an engine of its own, which stays idle afterwards; memory and descriptors are those of its process.
Needs Linux and the built program (npm run build).
Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing.
`;

const kinds = {
  paths: (random) =>
    Array.from({ length: 97 }, () => Array.from({ length: 150 }, () => eventOf('paths', pathsOf(random)))),
  carts: (random) => [
    ...Array.from({ length: 20 }, () =>
      Array.from({ length: 10 }, () => eventOf('cart', { items: cartOf(random) })),
    ),
    ...Array.from({ length: 139 }, () => [eventOf('view', { os: 'linux' })]),
  ],
  keys: () =>
    Array.from({ length: 7 }, () => [
      eventOf('keys', Object.fromEntries(Array.from({ length: 12_000 }, (_, n) => [`key${n}`, n]))),
      ...Array.from({ length: 30 }, (_, n) => eventOf('view', { n })),
    ]),
};
const onePath = { paths: 'data.k5.s5', carts: 'data.items.id5.qty', keys: 'data.key7' };

async function main(undo) {
  const { values } = parseArgs({
    options: {
      paths: { type: 'string', default: '1024,256,64,0' },
      dir: { type: 'string', default: tmpdir() },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const { cpu, cores, memoryGiB, node } = describeMachine();
  process.stdout.write(
    `Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${fileSystemOf(values.dir)}; Node.js ${node}.\n`,
  );
  const rows = [];
  for (const kind of Object.keys(kinds)) {
    for (const maxDynamicPaths of values.paths.split(',').map(Number))
      rows.push(await measure({ kind, maxDynamicPaths, dir: values.dir }, undo));
  }
  const titles = ['events', 'paths', 'insert s', 'merge s', 'files', 'read s', '3 reads s', 'one path ms'];
  process.stdout.write(`${formatTable([...titles, 'peak MB', 'descriptors'], rows)}\n`);
  return 0;
}

async function measure({ kind, maxDynamicPaths, dir: parent }, undo) {
  const { ensureTables, nameTables } = await importBuilt('clickhouse/tables.js');
  const { insertEventsStatement, insertSettings } = await importBuilt('clickhouse/inserts.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const dir = await mkdtemp(join(parent, 'millrace-bench-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const { clickhouse, pid } = await startEngine(dir, undo);
  const options = {
    database: benchDatabase,
    cluster: undefined,
    columns: loadSchema().columns,
    maxDynamicPaths,
  };
  await ensureTables(clickhouse, options, { debug: () => {} });
  const sql = insertEventsStatement(nameTables(options), ['received_at', 'offset', 'data', 'raw']);
  let offset = 0;
  const insert = await secondsOf(async () => {
    for (const events of kinds[kind](createRandom())) {
      const lines = events.map((event) => {
        offset++;
        return JSON.stringify({ received_at: Date.now(), offset, data: event, raw: JSON.stringify(event) });
      });
      const body = Buffer.from(lines.join('\n'));
      await clickhouse.insert(sql.replace('FORMAT Native', 'FORMAT JSONEachRow'), body, {
        settings: insertSettings,
      });
    }
  });
  const merge = await secondsOf(() => clickhouse.execute(`OPTIMIZE TABLE ${benchDatabase}.events FINAL`));
  const [{ files }] = await clickhouse.query(
    `SELECT sum(files) AS files FROM system.parts WHERE active AND database = '${benchDatabase}' AND table = 'events'`,
  );
  const all = () => clickhouse.query(`SELECT sum(length(toString(data))) AS n FROM ${benchDatabase}.events`);
  const read = await secondsOf(all);
  const three = await secondsOf(() => Promise.all([all(), all(), all()]));
  const one = await secondsOf(() =>
    clickhouse.query(`SELECT count(${onePath[kind]}) AS n FROM ${benchDatabase}.events`),
  );
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1_024;
  const descriptors = (await readdir(`/proc/${pid}/fd`)).length;
  const fixed = (seconds) => seconds.toFixed(2);
  return [
    ...[kind, String(maxDynamicPaths), fixed(insert), fixed(merge), formatCount(Number(files)), fixed(read)],
    ...[fixed(three), (one * 1_000).toFixed(0), peak.toFixed(0), formatCount(descriptors)],
  ];
}

async function secondsOf(work) {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1_000;
}

function eventOf(event, properties) {
  return { event, ...properties };
}

function pathsOf(random) {
  const properties = {};
  for (let n = 0; n < 20; n++) {
    const outer = `k${random(80)}`;
    properties[outer] ??= {};
    properties[outer][`s${random(94)}`] = [random(1_000), `v${random(100)}`, random(2) === 0][random(3)];
  }
  return properties;
}

function cartOf(random) {
  return Object.fromEntries(
    Array.from({ length: 100 }, () => [`id${random(20_000)}`, { qty: random(9), price: random(1_000) / 10 }]),
  );
}

/** The same numbers in every run. Constants: the C standard's example of rand(). */
function createRandom() {
  let state = 1;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

await runToEnd(main);
