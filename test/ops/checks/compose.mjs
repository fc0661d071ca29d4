/** The compose file: by the loader of Docker Compose itself, and by what its services must have. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';
import { readUsers, runAs } from '../clickhouse-users.mjs';
import { faultsOf, initialise, loadProject, profiles, readEnvironment } from '../compose.mjs';

const file = 'docker/compose.yaml';
const readme = 'docker/README.md';
const operations = 'docs/operations.md';

/** @param {import('../check.mjs').Site} site */
async function checkCompose({ root, scratch }) {
  const env = await initialise(root, scratch);
  const load = (variables) => loadProject([join(root, file)], variables);
  const project = JSON.parse(await load(env));
  for (const name of ['CLICKHOUSE', 'ANALYST', 'ADMIN'].map((user) => `${user}_PASSWORD_SHA256`))
    await refuses(load, { ...env, [name]: '' }, name);
  await refuses(load, { ...env, SECRETS_DIR: '' }, 'SECRETS_DIR');
  await changePassword(scratch, env);
  const services = Object.entries(project.services);
  const faults = services.flatMap(([name, service]) => faultsOf(name, service, { root, file }));
  faults.push(...memoryFaults(project.services, readFileSync(join(root, readme), 'utf8')));
  faults.push(...(await settingFaults(project.services)), ...buildFaults(services));
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return `${services.length} services are loaded, hardened and limited; an unset secret is refused; the memory in ${readme} is right`;
}

/** A new password is one file less and docker/init again, which leaves everything else in .env. */
async function changePassword(scratch, before) {
  const [path, secret] = [join(scratch, '.env'), join(scratch, 'secrets/analyst_password')];
  writeFileSync(path, readFileSync(path, 'utf8').replace(/^TAG=.*/m, 'TAG=0.0.9'));
  rmSync(secret);
  await runTool([join(scratch, 'init')]);
  const after = readEnvironment(path);
  const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
  if (changed.join() !== 'ANALYST_PASSWORD_SHA256,TAG' || after.TAG !== '0.0.9')
    throw new CheckError(`docker/init, run again for one password, changes ${changed}; TAG is ${after.TAG}`);
}

/** Two services that build the same tag do so at the same time, and one of them fails. */
function buildFaults(services) {
  const images = services.filter(([, { build }]) => build).map(([, { image }]) => image);
  return images
    .filter((image, index) => images.indexOf(image) !== index)
    .map((image) => `${file}: more than one service builds ${image}`);
}

async function refuses(load, variables, name) {
  const said = await load(variables).catch((error) => error.message);
  if (!new RegExp(`${name}.*is not set`).test(said))
    throw new CheckError(`${file} does not refuse an unset ${name}`);
}

/** Every service with its limit is in the table, and so are the sums. */
function memoryFaults(services, text) {
  const rows = new Map(
    [...text.matchAll(/^\| `?([\w-]+)`? \| (\d+) MiB/gm)].map(([, name, mib]) => [name, Number(mib)]),
  );
  const sums = Object.fromEntries(profiles.map((profile) => [profile, 0]));
  for (const {
    mem_limit,
    profiles: [profile],
    restart,
  } of Object.values(services))
    if (restart !== 'no') sums[profile] += Number(mem_limit) / 1024 ** 2;
  return Object.entries(sums).flatMap(([profile, mib]) =>
    rows.get(profile) === mib
      ? []
      : [`${readme}: profile ${profile} takes ${mib} MiB, not ${rows.get(profile)}`],
  );
}

/** The settings of Millrace, by Millrace: names and values of variables, as it would refuse them at start. */
async function settingFaults(services) {
  const { loadConfig } = await import(new URL('../../../dist/config/load.js', import.meta.url).href);
  const { options } = await import(new URL('../../../dist/config/options.js', import.meta.url).href);
  return Object.entries(services).flatMap(([name, { image, environment }]) => {
    if (!image.startsWith('millrace:')) return [];
    const env = { ...environment };
    delete env.MILLRACE_CLICKHOUSE_PASSWORD_FILE;
    try {
      loadConfig({ flags: {}, env, allowed: Object.keys(options) });
      return [];
    } catch (error) {
      return [`${file}: ${name}: ${error.message}`];
    }
  });
}

/** The XML of ClickHouse and Keeper: well-formed, its names those of the compose file, its users as the engine reads them. */
async function checkClickHouse({ root, scratch }) {
  const read = async (name) => {
    const path = join(root, 'docker/clickhouse', name);
    await runTool(['xmllint', '--noout', path]);
    return readFileSync(path, 'utf8');
  };
  const server = await read('server.xml');
  const users = await read('users.xml');
  const keeper = await read('keeper.xml');
  const { services } = parse(readFileSync(join(root, file), 'utf8'), { merge: true });
  const settings = services['streamer-1'].environment;
  const host = `<hostname>${services.keeper.hostname}</hostname>`;
  const grants = await readUsers(scratch, [join(root, 'docker/clickhouse/users.xml')]);
  const { MILLRACE_CLICKHOUSE_USER: user, MILLRACE_CLICKHOUSE_DATABASE: database } = settings;
  const must = {
    'the cluster of the compose file': server.includes(`<${settings.MILLRACE_CLICKHOUSE_CLUSTER}>`),
    'the address of the server': server.includes(`<host>${services.clickhouse.hostname}</host>`),
    "Keeper's address": server.includes(host.replaceAll('hostname', 'host')) && keeper.includes(host),
    "Keeper's port": server.includes('<port>9181<') && keeper.includes('<tcp_port>9181<'),
    'hashes instead of passwords': !/<password[ >]/.test(users),
    'rights to insert and to make tables':
      /GRANT .*INSERT.*CREATE TABLE/.test(grants) && grants.includes(`ON ${database}.* TO ${user}`),
    'the limits of analysts':
      /millrace_analyst` SETTINGS readonly = 1/.test(grants) && !/INSERT.* TO millrace_analyst/.test(grants),
    'a quota of analysts': /QUOTA millrace_analyst .* MAX .*execution_time = 7200 TO/.test(grants),
    'an admin who can do everything, from the same host only': grants.includes(
      "GRANT ALL ON *.* TO admin WITH GRANT OPTION\nadmin\t['sha256_password']\t[]\t['localhost']",
    ),
  };
  const faults = Object.entries(must).flatMap(([what, holds]) =>
    holds ? [] : [`docker/clickhouse lacks ${what}`],
  );
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return '3 files are well-formed, their names those of the compose file; the engine takes the users and their rights';
}

/** The user who takes over while the password of the first is changed. */
async function checkSecondUser({ root, scratch }) {
  const text = readFileSync(join(root, operations), 'utf8');
  const [, block, name] = /```sql\n(CREATE USER (\w+)[^`]*)```/.exec(text) ?? [];
  if (block === undefined) throw new CheckError(`${operations} makes no second user`);
  const files = [join(root, 'docker/clickhouse/users.xml')];
  const [first, second] = [rightsOf('millrace', await readUsers(scratch, files)), rightsOf(name, block)];
  if (!isDeepStrictEqual(first, second))
    throw new CheckError(`${operations}: ${name} gets other rights than millrace:\n${second.join('\n')}`);
  // Parsed only: the embedded engine has nowhere to put a user.
  const statements = [`SELECT formatQuery($$${block.split(';')[0]}$$)`];
  await runAs('admin', { directory: join(scratch, 'admin'), files, statements });
  return `${name} of ${operations} gets the ${second.length} grants of millrace`;
}

/** Of one user, in an order of their own: `GRANT b, a ON t TO u` as `a, b ON t`. */
function rightsOf(user, text) {
  const grants = [...text.matchAll(/^GRANT (.*) ON (\S+) TO (\w+);?$/gm)].filter(
    ([, , , name]) => name === user,
  );
  return grants.map(([, rights, on]) => `${rights.split(', ').sort().join(', ')} ON ${on}`).sort();
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'compose file',
    heavy: true,
    tools: ['go', 'openssl'],
    run: checkCompose,
    mistakes: [
      { file, find: 'read_only: true', replace: 'read_only: false', says: /lacks read_only/ },
      { file, find: 'user: "99:99"', replace: 'user: "0:0"', says: /haproxy lacks a user/ },
      {
        file,
        find: 'cap_drop: [ALL]',
        replace: 'cap_drop: [ALL]\n  cap_add: [SYS_ADMIN]',
        says: /lacks no rights given back/,
      },
      { file, find: 'mem_limit: 2g', replace: 'mem_limit: 4g', says: /profile core takes/ },
      { file, find: 'haproxy:3.2.4', replace: 'haproxy:latest', says: /haproxy lacks a tag/ },
      {
        file: 'docker/.env.example',
        find: 'HTTPS_ADDRESS=127.0.0.1:8443',
        replace: 'HTTPS_ADDRESS=8443',
        says: /loopback/,
      },
      { file, find: '    mem_limit: 1g\n', replace: '    mem_limitt: 1g\n', says: /mem_limitt/ },
      { file, find: 'MILLRACE_ON_OUTAGE', replace: 'MILLRACE_ON_OUTTAGE', says: /MILLRACE_ON_OUTAGE/ },
      {
        file,
        find: ':?is not set, docker/init writes',
        replace: ':-empty, docker/init writes',
        says: /does not refuse/,
      },
      { file, find: './clickhouse/users.xml', replace: './clickhouse/user.xml', says: /does not exist/ },
      {
        file,
        find: '  pull_policy: never\n',
        replace: '  build: { context: .. }\n',
        says: /more than one service builds/,
      },
      {
        file: 'docker/init',
        find: '[ -e .env ] || sed',
        replace: 'sed',
        says: /TAG is 0\.1\.0/,
      },
    ],
  },
  {
    name: 'clickhouse files',
    tools: ['xmllint'],
    run: checkClickHouse,
    mistakes: [
      { file: 'docker/clickhouse/server.xml', find: '</macros>', replace: '</macro>', says: /macro/ },
      { file: 'docker/clickhouse/keeper.xml', find: '9181', replace: '2181', says: /Keeper's port/ },
      {
        file: 'docker/clickhouse/users.xml',
        find: '<default remove="remove"/>',
        replace: '',
        says: /does not remove the user default/,
      },
      {
        file: 'docker/clickhouse/users.xml',
        find: '<ip>127.0.0.1</ip><ip>::1</ip>',
        replace: '<ip>::/0</ip>',
        says: /an admin who/,
      },
    ],
  },
  {
    name: 'clickhouse users for a new password',
    tools: [],
    run: checkSecondUser,
    mistakes: [
      {
        file: operations,
        find: 'CREATE TABLE, SYSTEM SYNC REPLICA ON',
        replace: 'CREATE TABLE ON',
        says: /other rights/,
      },
      {
        file: operations,
        find: 'IDENTIFIED WITH sha256_password',
        replace: 'IDENTIFIED WITH sha256',
        says: /SYNTAX_ERROR/,
      },
    ],
  },
  {
    name: 'compose set-up script',
    tools: ['shellcheck'],
    run: async ({ root }) => {
      await runTool(['shellcheck', join(root, 'docker/init')]);
      return 'shellcheck has nothing to say';
    },
    mistakes: [
      { file: 'docker/init', find: 'mkdir -p secrets', replace: 'mkdir -p $PWD/secrets', says: /SC2086/ },
    ],
  },
];
