/**
 * The services that ship logs, merged into the stack: what the loader of Docker Compose makes of both files, the script
 * that makes the table, run by bash, and the statements with the rights of the users that run them.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';
import { runAs } from '../clickhouse-users.mjs';
import { faultsOf, initialise, loadProject } from '../compose.mjs';

const file = 'docker/vector/compose.yaml';
const users = 'docker/vector/users.xml';

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'log shipping services',
    heavy: true,
    tools: ['bash', 'go', 'openssl'],
    async run({ root, scratch }) {
      const env = await initialise(root, scratch);
      const files = ['docker/compose.yaml', file].map((name) => join(root, name));
      const { services } = JSON.parse(await loadProject(files, { ...env, LOG_RETENTION_DAYS: '30' }));
      const { sinks } = parse(readFileSync(join(root, 'docker/vector/vector.yaml'), 'utf8'));
      checkServices(services, sinks.logs, root);
      await checkScript(services['logs-table'], scratch);
      await checkRights(services['logs-table'].environment.CLICKHOUSE_USER, sinks.logs, { root, scratch });
      return 'merged, they reach ClickHouse as users who may do what they do, and wrong settings are refused';
    },
    mistakes: [
      { file, find: 'driver: local', replace: 'driver: json-file', says: /reads what it writes/ },
      { file, find: 'RETENTION_DAYS:-14', replace: 'DAYS:-14', says: /no --param_days=30/ },
      { file, find: '0.58.0-distroless-libc', replace: 'latest', says: /vector lacks a tag/ },
      { file, find: '[1-9][0-9]{0,3}', replace: '.*', says: /two weeks/ },
      { file, find: 'networks: [inside]', replace: 'networks: [outside]', says: /network of clickhouse/ },
      { file, find: 'secrets: [vector_password]', replace: 'secrets: []', says: /not given vector_password/ },
      {
        file,
        find: 'CLICKHOUSE_USER: millrace',
        replace: 'CLICKHOUSE_USER: default',
        says: /no user default/,
      },
      { file, find: '--param_days="$$LOG', replace: '--param_day="$$LOG', says: /param_days/ },
      { file: users, find: 'millrace.logs', replace: 'default.logs', says: /ACCESS_DENIED/ },
      { file: users, find: 'GRANT INSERT', replace: 'GRANT SELECT, INSERT', says: /may read/ },
    ],
  },
];

function checkServices(services, sink, root) {
  const { vector, clickhouse, 'logs-table': table } = services;
  const faults = Object.entries({ vector, 'logs-table': table }).flatMap(([name, service]) => [
    ...faultsOf(name, service, { root, file }),
    ...(Object.keys(service.networks).some((network) => network in clickhouse.networks)
      ? []
      : [`${name} is in no network of clickhouse`]),
  ]);
  if (faults.length > 0) fail(faults.join('\n'));
  if (vector.logging?.driver !== 'local')
    fail('vector would log into a file that it reads: it reads what it writes');
  if (new URL(sink.endpoint).hostname !== clickhouse.hostname) fail(`vector sends to ${sink.endpoint}`);
  const [, secret] = /^SECRET\[files\.(\w+)\]$/.exec(sink.auth.password) ?? [];
  if (!vector.secrets?.some(({ source }) => source === secret)) fail(`vector is not given ${secret}`);
  const writable = vector.volumes.filter(({ type, read_only }) => type === 'bind' && !read_only);
  if (writable.length > 0) fail(`vector may write to the machine: ${JSON.stringify(writable)}`);
}

/** With a clickhouse-client that writes down what it was asked. */
async function checkScript({ command, environment }, scratch) {
  const [bin, asked] = ['bin', 'asked'].map((name) => join(scratch, name));
  mkdirSync(bin);
  const client = `#!/bin/sh\necho "$CLICKHOUSE_PASSWORD $@" >> '${asked}'\n`;
  writeFileSync(join(bin, 'clickhouse-client'), client);
  chmodSync(join(bin, 'clickhouse-client'), 0o755);
  // As compose hands it on.
  const script = command[0].replaceAll('$$', '$').replaceAll('/run/secrets', join(scratch, 'secrets'));

  async function run(days) {
    writeFileSync(asked, '');
    const env = { ...environment, LOG_RETENTION_DAYS: days, PATH: `${bin}:${process.env.PATH}` };
    await runTool(['bash', '-euo', 'pipefail', '-c', script], { env });
    return readFileSync(asked, 'utf8');
  }
  const password = readFileSync(join(scratch, 'secrets/clickhouse_password'), 'utf8').trim();
  const said = await run(environment.LOG_RETENTION_DAYS);
  const wanted = `${password} --database millrace --param_days=30 --queries-file /logs.sql\n`;
  if (said !== wanted) fail(`no --param_days=30, or another database or password: ${said}`);
  for (const days of ['two weeks', '0', '-1', '14.5', '']) {
    const taken = await run(days).then(
      () => true,
      () => readFileSync(asked, 'utf8') !== '',
    );
    if (taken) fail(`LOG_RETENTION_DAYS='${days}' is taken`);
  }
}

/** The table is made by the one user, and gets lines from the other, who may do nothing else. */
async function checkRights(maker, sink, { root, scratch }) {
  const directory = join(scratch, 'engine');
  const files = ['docker/clickhouse/users.xml', users].map((name) => join(root, name));
  const as = (user, ...statements) => runAs(user, { directory, files, statements });
  const sql = readFileSync(join(root, 'docker/vector/logs.sql'), 'utf8').replace(/^--.*$/gm, '');
  const statements = sql
    .replace('{days:UInt16}', '14')
    .split(';')
    .filter((text) => text.trim() !== '');
  // `check --create` has made the database.
  await as(maker, 'CREATE DATABASE millrace', 'USE millrace', ...statements);
  const table = `${sink.database}.${sink.table}`;
  const line = JSON.stringify({ timestamp: new Date().toISOString().slice(0, 23), message: 'hello' });
  await as(sink.auth.user, 'SELECT 1', `INSERT INTO ${table} FORMAT JSONEachRow ${line}`);
  const rows = await as(maker, `SELECT count() FROM ${table}`);
  if (rows.trim() !== '1') fail(`instead of a line there are ${rows} in ${table}`);
  for (const forbidden of [`SELECT message FROM ${table}`, `ALTER TABLE ${table} DELETE WHERE 1`]) {
    const said = await as(sink.auth.user, forbidden).catch((error) => error.message);
    if (!said.includes('ACCESS_DENIED')) fail(`${sink.auth.user} may read or change ${table}: ${said}`);
  }
}

/** @returns {never} */
function fail(message) {
  throw new CheckError(message);
}
