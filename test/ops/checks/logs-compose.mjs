/** The services that ship logs: what the compose file says of them, and the script that makes the table, run by bash. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';

const file = 'docker/vector/compose.yaml';
const password = 'a-long-enough-one';

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'log shipping services',
    tools: ['bash'],
    async run({ root, scratch }) {
      const { services } = parse(readFileSync(join(root, file), 'utf8'));
      checkServices(services);
      await checkScript(services['logs-table'].command[0], scratch);
      return 'pinned, read-only, and wrong settings are refused before anything is made';
    },
    mistakes: [
      { file, find: 'driver: local', replace: 'driver: json-file', says: /reads what it writes/ },
      { file, find: 'RETENTION_DAYS:-14', replace: 'DAYS:-14', says: /RETENTION/ },
      { file, find: '0.58.0-distroless-libc', replace: 'latest', says: /version/ },
      { file, find: '[1-9][0-9]{0,3}', replace: '.*', says: /two weeks/ },
      { file, find: '{12,}', replace: '*', says: /short/ },
      { file, find: 'GRANT INSERT', replace: 'GRANT ALL', says: /rights/ },
      { file, find: '--param_days="$$LOG', replace: '--param_day="$$LOG', says: /param_days/ },
    ],
  },
];

function checkServices({ vector, 'logs-table': table }) {
  if (vector.logging?.driver !== 'local')
    fail('vector would log into a file that it reads: it reads what it writes');
  if (!/LOG_RETENTION_DAYS:-\d+/.test(table.environment.LOG_RETENTION_DAYS))
    fail('LOG_RETENTION_DAYS has no default');
  for (const [name, service] of Object.entries({ vector, 'logs-table': table })) {
    if (!/:\d+\.\d+/.test(service.image)) fail(`${name} has no pinned version: ${service.image}`);
    if (service.read_only !== true) fail(`${name} may write to its own file system`);
  }
  const writable = vector.volumes.filter((volume) => volume.startsWith('/') && !volume.endsWith(':ro'));
  if (writable.length > 0) fail(`vector may write to the machine: ${writable.join(', ')}`);
}

/** With a clickhouse-client that writes down what it was asked. */
async function checkScript(command, scratch) {
  const [bin, secrets, asked] = ['bin', 'secrets', 'asked'].map((name) => join(scratch, name));
  mkdirSync(bin);
  mkdirSync(secrets);
  const client = `#!/bin/sh\necho "$@" >> '${asked}'\n[ $# -gt 0 ] || cat >> '${asked}'\n`;
  writeFileSync(join(bin, 'clickhouse-client'), client);
  chmodSync(join(bin, 'clickhouse-client'), 0o755);
  writeFileSync(join(secrets, 'clickhouse_password'), 'admin\n');
  // As compose hands it on.
  const script = command.replaceAll('$$', '$').replaceAll('/run/secrets', secrets);

  async function run(days, vectorPassword) {
    writeFileSync(asked, '');
    writeFileSync(join(secrets, 'clickhouse_vector_password'), `${vectorPassword}\n`);
    const env = { LOG_RETENTION_DAYS: days, PATH: `${bin}:${process.env.PATH}` };
    await runTool(['bash', '-euo', 'pipefail', '-c', script], { env });
    return readFileSync(asked, 'utf8');
  }
  const isRefused = (days, vectorPassword) =>
    run(days, vectorPassword).then(
      () => false,
      () => readFileSync(asked, 'utf8') === '',
    );

  const said = await run('30', password);
  if (!said.includes('--param_days=30 --queries-file /logs.sql')) fail(`no --param_days=30 in: ${said}`);
  if (!said.includes(`IDENTIFIED BY '${password}'`)) fail(`the user of Vector is not made: ${said}`);
  if (!/GRANT INSERT ON default\.logs TO vector/.test(said)) fail(`Vector's user has other rights: ${said}`);
  for (const days of ['two weeks', '0', '-1', '14.5', ''])
    if (!(await isRefused(days, password))) fail(`LOG_RETENTION_DAYS='${days}' is taken`);
  for (const bad of ['short', `${password}'; DROP TABLE events; --`, `${password}\\`])
    if (!(await isRefused('14', bad))) fail(`this password is taken: ${bad}`);
}

/** @returns {never} */
function fail(message) {
  throw new CheckError(message);
}
