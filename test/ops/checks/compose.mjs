/** The compose file: by the loader of Docker Compose itself, and by what its services must have. */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';

const file = 'docker/compose.yaml';
const readme = 'docker/README.md';
/** The module that Docker Compose loads files with; the plugin itself is not needed. */
const loader = fileURLToPath(new URL('../compose-config', import.meta.url));
const profiles = ['core', 'observability'];
/** What may be reached from outside. */
const published = ['haproxy', 'grafana'];

/** @param {import('../check.mjs').Site} site */
async function checkCompose({ root, scratch }) {
  for (const name of ['init', '.env.example']) copyFileSync(join(root, 'docker', name), join(scratch, name));
  await runTool([join(scratch, 'init')]);
  const env = readEnvironment(join(scratch, '.env'));
  const load = (variables) => loadProject(join(root, file), variables);
  const project = JSON.parse(await load(env));
  for (const name of ['CLICKHOUSE_PASSWORD_SHA256', 'ANALYST_PASSWORD_SHA256', 'SECRETS_DIR'])
    await refuses(load, { ...env, [name]: '' }, name);
  const services = Object.entries(project.services);
  const faults = services.flatMap(([name, service]) => faultsOf(name, service, root));
  faults.push(...memoryFaults(project.services, readFileSync(join(root, readme), 'utf8')));
  faults.push(...(await settingFaults(project.services)));
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return `${services.length} services are loaded, hardened and limited; an unset secret is refused; the memory in ${readme} is right`;
}

function readEnvironment(path) {
  const lines = readFileSync(path, 'utf8').split('\n');
  const entries = lines.flatMap((line) => (/^[A-Z]/.test(line) ? [line.split(/=(.*)/, 2)] : []));
  return Object.fromEntries(entries);
}

/** All profiles; normalised, with variables filled in. */
function loadProject(path, env) {
  return runTool(['go', 'run', '.', path], { cwd: loader, env, timeoutMs: 600_000 });
}

async function refuses(load, variables, name) {
  const said = await load(variables).catch((error) => error.message);
  if (!new RegExp(`${name}.*is not set`).test(said))
    throw new CheckError(`${file} does not refuse an unset ${name}`);
}

/** What every service must have; a service is as the loader gives it. */
function faultsOf(name, service, root) {
  const isOneShot = service.restart === 'no';
  const must = {
    'a tag that is no moving one': /:v?\d+\.\d+[\w.-]*$/.test(service.image),
    read_only: service.read_only === true,
    'cap_drop ALL': service.cap_drop?.includes('ALL'),
    'no-new-privileges': service.security_opt?.includes('no-new-privileges:true'),
    'a limit of memory': service.mem_limit !== undefined,
    'a limit of CPUs': service.cpus !== undefined,
    'a limit of processes': service.pids_limit > 0,
    'one known profile': service.profiles?.length === 1 && profiles.includes(service.profiles[0]),
    'a health check': isOneShot || service.healthcheck?.test !== undefined || isOwn(service),
    'ports on loopback only, if any': (service.ports ?? []).every(
      ({ host_ip }) => host_ip === '127.0.0.1' && published.includes(name),
    ),
  };
  const faults = Object.entries(must).flatMap(([what, holds]) =>
    holds ? [] : [`${file}: ${name} lacks ${what}`],
  );
  for (const { type, source } of service.volumes ?? []) {
    const path = source.replace(/^.*\/docker\//, 'docker/');
    if (type === 'bind' && isOurs(path) && !existsSync(join(root, path)))
      faults.push(`${file}: ${name} mounts ${path}, which does not exist`);
  }
  return faults;
}

/** The image brings its own. */
function isOwn({ image }) {
  return image.startsWith('millrace:');
}

/** Whether a file is part of the repository, and not of those that are made. */
function isOurs(path) {
  return path.startsWith('docker/') && !path.startsWith('docker/secrets');
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
  const grants = await readGrants(join(root, 'docker/clickhouse/users.xml'), scratch);
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
  };
  const faults = Object.entries(must).flatMap(([what, holds]) =>
    holds ? [] : [`docker/clickhouse lacks ${what}`],
  );
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return '3 files are well-formed, their names those of the compose file; the engine takes the users and their rights';
}

function readGrants(path, scratch) {
  const hash = createHash('sha256').update('secret').digest('hex');
  const env = { CLICKHOUSE_PASSWORD_SHA256: hash, ANALYST_PASSWORD_SHA256: hash };
  const script = fileURLToPath(new URL('../clickhouse-users.mjs', import.meta.url));
  return runTool(['node', script, path, scratch], { env });
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
