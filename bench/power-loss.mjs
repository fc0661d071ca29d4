/** Cuts the power of a file system under ClickHouse and counts what is left. `--help` says how. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatTable } from './figures.mjs';
import { encodeRows } from './filled-buffer.mjs';
import { benchDatabase, startEngine } from './pipeline.mjs';
import { importBuilt, MissingError, runToEnd } from './program.mjs';

const help = `What is left of inserts that the embedded ClickHouse acknowledged, when the power goes in the moment of the last
acknowledgement? The data lies on an ext4 of its own in a file. A copy of the file, taken at that moment, holds what
had been written to the device, and nothing of the page cache: mounted, it is the disk after the power came back.
(It is kind: what the device itself would still have had in a cache counts as written.)

Usage: node bench/power-loss.mjs [options]

  --runs <n>      Runs of each variant. Default: 3.
  --inserts <n>   Inserts of a run, of 1,000 rows each. Default: 5.

Needs root (mount), Linux with ext4 and loop devices, the built program and the embedded ClickHouse (chdb). Exit
codes: 0 ok, 1 failure, 2 wrong usage, 69 something that is needed is missing, 98 the settings of Millrace lost rows.
`;

const table = `${benchDatabase}.events`;
const rowsOfInsert = 1_000;
const flushes = [
  'fsync_after_insert',
  'fsync_part_directory',
  'min_rows_to_fsync_after_merge',
  'min_compressed_bytes_to_fsync_after_merge',
];
const variants = [
  { name: "ClickHouse's defaults", reset: flushes },
  { name: 'fsync_after_insert alone', reset: flushes.slice(1) },
  { name: 'as Millrace makes tables', reset: [] },
];

async function main(undo) {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '3' },
      inserts: { type: 'string', default: '5' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (process.getuid?.() !== 0) throw new MissingError('mounting needs root: run this as root');
  const lines = [];
  let isSafe = true;
  for (const variant of variants) {
    for (let run = 1; run <= Number(values.runs); run++) {
      const result = await tryOnce(undo, variant, Number(values.inserts));
      if (variant.reset.length === 0 && result.lost > 0) isSafe = false;
      lines.push([
        variant.name,
        ...[run, result.acknowledged, result.lost, result.tokensLost, result.repeated].map(String),
      ]);
    }
  }
  const head = [
    'variant',
    'run',
    'rows acknowledged',
    'rows lost',
    'tokens lost',
    'rows doubled by a repeat',
  ];
  process.stdout.write(`${formatTable(head, lines)}\n`);
  return isSafe ? 0 : 98;
}

async function tryOnce(undo, { reset }, inserts) {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-power-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  const [disk, copy] = [join(dir, 'disk'), join(dir, 'copy')];
  writeFileSync(disk, '');
  truncateSync(disk, 1024 ** 3);
  execFileSync('mkfs.ext4', ['-q', '-F', disk]);

  const before = await open(undo, disk);
  await prepareTable(before.client, reset);
  // What is tried is the inserts, not the making of the table.
  execFileSync('sync');
  for (let i = 0; i < inserts; i++) await insert(before.client, i);
  copySparse(disk, copy);
  await before.cutOff();

  const after = await open(undo, copy);
  const tokens = readTokens(join(after.path, 'engine'));
  const left = await count(after.client);
  // As the streamer does when it was the commit of the last insert that did not survive.
  await insert(after.client, inserts - 1);
  const isLastLeft = left === inserts * rowsOfInsert;
  const repeated = isLastLeft ? (await count(after.client)) - left : 0;
  await after.cutOff();
  const acknowledged = inserts * rowsOfInsert;
  return { acknowledged, lost: acknowledged - left, tokensLost: inserts - tokens, repeated };
}

/** The embedded ClickHouse on the file system of a file. */
async function open(undo, image) {
  const path = `${image}.mounted`;
  mkdirSync(path);
  execFileSync('mount', ['-o', 'loop', image, path]);
  const { clickhouse: client, stop } = await startEngine(path, []);
  let isOpen = true;
  const cutOff = async () => {
    if (!isOpen) return;
    isOpen = false;
    await stop();
    execFileSync('umount', [path]);
  };
  undo.push(cutOff);
  return { client, path, cutOff };
}

async function prepareTable(client, reset) {
  const { ensureTables } = await importBuilt('clickhouse/tables.js');
  const { loadSchema } = await importBuilt('schema/schema.js');
  const options = { database: benchDatabase, cluster: undefined, columns: loadSchema().columns };
  await ensureTables(client, options, { debug: () => {} });
  if (reset.length > 0) await client.execute(`ALTER TABLE ${table} RESET SETTING ${reset.join(', ')}`);
}

async function insert(client, number) {
  const { insertEventsStatement, insertSettings, readStructure } = await importBuilt('clickhouse/inserts.js');
  const bytes = Buffer.from('{"event":"view","os":"linux","browser":"chrome"}');
  const of = (value) => Array.from({ length: rowsOfInsert }, (_, i) => value(i));
  const block = {
    count: rowsOfInsert,
    bytes,
    starts: of(() => 0),
    ends: of(() => bytes.length),
    offsets: of((i) => number * rowsOfInsert + i),
    receivedAt: of((i) => 1_767_225_600_000 + i),
  };
  const { dataType } = await readStructure(client, { database: benchDatabase });
  const identity = { topic: 'events', topicId: 'power', partition: 0 };
  const { columns, body } = await encodeRows(block, identity, dataType);
  const sql = insertEventsStatement({ events: table }, columns);
  const settings = { ...insertSettings, insert_deduplication_token: `insert-${number}` };
  await client.insert(sql, body, { settings });
}

async function count(client) {
  const [{ rows }] = await client.query(`SELECT toFloat64(count()) AS rows FROM ${table}`);
  return rows;
}

/** Tokens in the log of `events`, the only table with any. */
function readTokens(path) {
  return readdirSync(path, { recursive: true })
    .filter((file) => file.endsWith('deduplication_log_1.txt') && existsSync(join(path, file)))
    .map((file) => readFileSync(join(path, file), 'utf8').split('\n').length - 1)
    .reduce((sum, lines) => sum + lines, 0);
}

function copySparse(from, to) {
  try {
    execFileSync('cp', ['--sparse=always', from, to]);
  } catch {
    copyFileSync(from, to);
  }
}

await runToEnd(main);
