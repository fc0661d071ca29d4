/**
 * Log shipping: lines of the real logger go through Vector's transform, compiled and run by Vector's own language
 * (VRL), into the table of logs.sql in the embedded ClickHouse, and old ones go. Vector itself cannot be had as a
 * package: the rest of its configuration is compared with the keys that Vector 0.57 documents.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';
import { freePort } from '../network.mjs';

const folder = 'docker/vector';
/** Keys of the components in use. Source: https://vector.dev/docs/reference/configuration/ */
const knownKeys = {
  root: ['data_dir', 'secret', 'sources', 'transforms', 'sinks'],
  directory: ['type', 'path', 'remove_trailing_whitespace'],
  file: ['type', 'include', 'exclude', 'read_from', 'ignore_older_secs', 'max_line_bytes', 'fingerprint'],
  remap: ['type', 'inputs', 'drop_on_error', 'drop_on_abort', 'source'],
  clickhouse: [
    ...[
      'type',
      'inputs',
      'endpoint',
      'database',
      'table',
      'format',
      'compression',
      'auth',
      'batch',
      'buffer',
    ],
    ...['encoding', 'healthcheck', 'request', 'skip_unknown_fields', 'date_time_best_effort', 'tls'],
  ],
};
/** Runs a program over events; what it prints is not mistaken for anything else. */
const runner = `
import json, sys
from vrl_python import VRLRuntime
given = json.load(sys.stdin)
fault = VRLRuntime.check_syntax(given["program"])
if fault is not None:
    sys.exit(fault.formatted_message)
runtime = VRLRuntime()
print(json.dumps([runtime.execute(given["program"], event).processed_event for event in given["events"]]))
`;

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'log shipping',
    tools: ['vrl'],
    async run({ root, scratch }) {
      const text = readFileSync(join(root, folder, 'vector.yaml'), 'utf8');
      const config = parse(text);
      checkShape(config, text);
      const rows = await transform(config.transforms.rows.source, root);
      const kept = await withClickHouse({ root, scratch }, (url) => checkTable(url, root, rows));
      return `${rows.length} lines became rows, ${kept}`;
    },
    mistakes: [
      {
        file: `${folder}/vector.yaml`,
        find: 'strip_whitespace(',
        replace: 'strip_white(',
        says: /undefined function/,
      },
      {
        file: `${folder}/vector.yaml`,
        find: 'string(fields.request_id) ?? ""',
        replace: 'string(fields.requestId) ?? ""',
        says: /request_id/,
      },
      { file: `${folder}/vector.yaml`, find: '"message": ', replace: '"msg": ', says: /message/ },
      { file: `${folder}/vector.yaml`, find: '- rows', replace: '- row', says: /row is no source/ },
      { file: `${folder}/vector.yaml`, find: 'drop_on_error', replace: 'drop_errors', says: /drop_errors/ },
      {
        file: `${folder}/vector.yaml`,
        find: 'SECRET[files.vector_password]',
        replace: 'hunter2',
        says: /password/,
      },
      {
        file: `${folder}/vector.yaml`,
        find: 'http://clickhouse:8123',
        replace: '$' + '{URL}',
        says: /variable/,
      },
      { file: `${folder}/logs.sql`, find: 'toIntervalDay(', replace: 'toIntervalYear(', says: /too old/ },
      { file: `${folder}/logs.sql`, find: '    trace_id String,\n', replace: '', says: /trace_id/ },
    ],
  },
];

/** Components that do not know each other, options that do not exist, secrets in the open. */
function checkShape(config, text) {
  checkKeys('vector.yaml', config, knownKeys.root);
  const { secret = {}, sources = {}, transforms = {}, sinks = {} } = config;
  const components = { ...secret, ...sources, ...transforms, ...sinks };
  for (const [name, component] of Object.entries(components)) {
    const keys = knownKeys[component.type];
    if (keys === undefined) fail(`${name} is of type ${component.type}, which this check does not know`);
    checkKeys(name, component, keys);
    for (const input of component.inputs ?? [])
      if (!(input in sources || input in transforms)) fail(`${name} reads ${input}: ${input} is no source`);
  }
  const { password } = sinks.logs.auth;
  const [, backend] = /^SECRET\[(\w+)\.\w+\]$/.exec(password) ?? [];
  if (!(backend in secret)) fail('the password of the sink is not from a secret');
  if (/\$\{|\$[A-Z]/.test(text)) fail('vector.yaml has a variable: Vector 0.57 and later replace none');
}

function checkKeys(name, component, known) {
  const unknown = Object.keys(component).filter((key) => !known.includes(key));
  if (unknown.length > 0) fail(`${name} has unknown options: ${unknown.join(', ')}`);
}

/** The rows that Vector makes of the lines of the real logger, and of others. */
async function transform(program, root) {
  const logger = pathToFileURL(join(root, 'dist/logger.js')).href;
  const script = `const { createLogger } = await import(${JSON.stringify(logger)});
    const log = createLogger('collect', 'info');
    log.warn({ request_id: 'r-1', trace_id: 't-1', code: 'STOPPING' }, 'bye');
    log.error({ err: new Error('oh no') }, 'failed');`;
  const written = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const lines = [...written.stderr.trimEnd().split('\n'), 'a line of something else', '["no", "object"]', ''];
  const file = '/var/lib/docker/containers/0123456789abcdef/0123456789abcdef-json.log';
  const events = lines.map((log) => ({
    message: JSON.stringify({ log: `${log}\n`, stream: 'stderr', time: '2026-01-31T08:00:01.123456789Z' }),
    file,
  }));
  const output = await runTool(['vrl', '-c', runner], { input: JSON.stringify({ program, events }) });
  const rows = JSON.parse(output);
  const [first, second, other] = rows;
  const wanted = {
    level: 'warn',
    service: 'millrace-collect',
    request_id: 'r-1',
    trace_id: 't-1',
    message: 'bye',
  };
  for (const [column, value] of Object.entries(wanted))
    if (first[column] !== value) fail(`column ${column} of a line is ${first[column]}, not ${value}`);
  if (first.fields.code !== 'STOPPING' || second.fields.err?.message !== 'oh no')
    fail(`other fields are missing in ${JSON.stringify(rows.slice(0, 2))}`);
  const { message, timestamp, container } = other;
  const plain = ['a line of something else', '2026-01-31 08:00:01.123', '0123456789ab'];
  if (!isDeepStrictEqual([message, timestamp, container], plain))
    fail(`not ${plain}: ${JSON.stringify(other)}`);
  return rows;
}

async function checkTable(url, root, rows) {
  const sql = readFileSync(join(root, folder, 'logs.sql'), 'utf8').replace(/^--.*$/gm, '');
  const statements = sql.split(';').filter((statement) => statement.trim() !== '');
  const create = async (days) => {
    for (const statement of statements) await query(url, statement, { param_days: days });
  };
  const ages = async () => {
    await query(url, 'OPTIMIZE TABLE logs FINAL');
    return (await query(url, 'SELECT message FROM logs ORDER BY timestamp DESC'))
      .trim()
      .split('\n')
      .join(' ');
  };
  await create('14');
  await insert(url, rows);
  await query(url, 'TRUNCATE TABLE logs');
  const dated = [0, 6, 8, 13, 16, 400].map((days) => ({
    ...rows[0],
    message: `${days}d`,
    timestamp: ago(days),
  }));
  await insert(url, dated);
  const kept = await ages();
  if (kept !== '0d 6d 8d 13d') fail(`lines that are too old are still there, or others are not: ${kept}`);
  // Again, with another number of days.
  await create('7');
  const fewer = await ages();
  if (fewer !== '0d 6d')
    fail(`after LOG_RETENTION_DAYS=7 lines too old are there, or others are not: ${fewer}`);
  const refused = await create('two weeks').then(
    () => false,
    () => true,
  );
  if (!refused) fail('a retention that is no number is taken');
  return 'those older than the retention went';
}

/** As the sink of Vector does: a column that the table does not have is refused, and here one that is missing too. */
async function insert(url, rows) {
  const columns = (
    await query(url, 'SELECT name FROM system.columns WHERE table = {table:String}', { param_table: 'logs' })
  )
    .trim()
    .split('\n')
    .sort();
  const given = Object.keys(rows[0]).sort();
  if (!isDeepStrictEqual(columns, given)) {
    const odd = [...columns, ...given].filter((name) => !(columns.includes(name) && given.includes(name)));
    fail(`the rows and the table do not agree about ${odd.join(', ')}`);
  }
  const body = rows.map((row) => JSON.stringify(row)).join('\n');
  await query(url, `INSERT INTO logs FORMAT JSONEachRow\n${body}`, { input_format_skip_unknown_fields: '0' });
}

function ago(days) {
  return new Date(Date.now() - days * 86_400_000).toISOString().replace('T', ' ').slice(0, 23);
}

async function query(url, sql, settings = {}) {
  const response = await fetch(`${url}/?${new URLSearchParams(settings)}`, { method: 'POST', body: sql });
  const text = await response.text();
  if (!response.ok) fail(`ClickHouse refuses '${sql.trim().slice(0, 200)}': ${text.slice(0, 500)}`);
  return text;
}

async function withClickHouse({ root, scratch }, use) {
  const url = `http://127.0.0.1:${await freePort()}`;
  const args = [
    'clickhouse',
    '--data-dir',
    join(scratch, 'data'),
    '--clickhouse-url',
    url,
    '--no-clickhouse-auth',
    '--log-level',
    'error',
  ];
  const child = spawn(process.execPath, [join(root, 'dist/main.js'), ...args], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  const ended = exited.then(([code]) => fail(`the embedded ClickHouse ended with ${code}`));
  ended.catch(() => {});
  try {
    await Promise.race([once(child, 'message'), ended]);
    return await use(url);
  } finally {
    child.kill();
    await exited;
  }
}

/** @returns {never} */
function fail(message) {
  throw new CheckError(message);
}
