/** Loads compose files as Docker Compose does, with what docker/init makes. */
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTool } from './check.mjs';

/** The module that Docker Compose loads files with; the plugin itself is not needed. */
const loader = fileURLToPath(new URL('compose-config', import.meta.url));
export const profiles = ['core', 'observability'];
/** What may be reached from outside. */
const published = ['haproxy', 'grafana'];

/** It reads the files of all containers, which are root's, and has no other of root's rights. */
const mayBeRoot = ['vector'];

/** Runs docker/init in the scratch directory; gives the variables of .env. */
export async function initialise(root, scratch) {
  for (const name of ['init', '.env.example']) copyFileSync(join(root, 'docker', name), join(scratch, name));
  await runTool([join(scratch, 'init')]);
  return readEnvironment(join(scratch, '.env'));
}

export function readEnvironment(path) {
  const lines = readFileSync(path, 'utf8').split('\n');
  const entries = lines.flatMap((line) => (/^[A-Z]/.test(line) ? [line.split(/=(.*)/, 2)] : []));
  return Object.fromEntries(entries);
}

/** JSON of the files merged, with all profiles; normalised, with variables filled in. */
export function loadProject(paths, env) {
  return runTool(['go', 'run', '.', ...paths], { cwd: loader, env, timeoutMs: 600_000 });
}

/** What a service lacks that each must have; it is as the loader gives it. */
export function faultsOf(name, service, { root, file }) {
  const isOneShot = service.restart === 'no';
  const must = {
    'a tag that is no moving one': /:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$/.test(service.image),
    read_only: service.read_only === true,
    'cap_drop ALL': service.cap_drop?.includes('ALL'),
    'no-new-privileges': service.security_opt?.includes('no-new-privileges:true'),
    'a user, by number, who is not root': /^[1-9]\d*:\d+$/.test(service.user) || mayBeRoot.includes(name),
    'no rights given back, and no sight of the host':
      (mayBeRoot.includes(name) || service.cap_add === undefined) &&
      service.privileged !== true &&
      [service.pid, service.ipc, service.network_mode, service.userns_mode].every(
        (mode) => mode !== 'host',
      ) &&
      !(service.volumes ?? []).some(({ source }) => /docker\.sock/.test(source)),
    'a limit of memory': service.mem_limit !== undefined,
    'a limit of CPUs': service.cpus !== undefined,
    'a limit of processes': service.pids_limit > 0,
    'one known profile': service.profiles?.length === 1 && profiles.includes(service.profiles[0]),
    'a health check, or a word that it has none':
      isOneShot || isOwn(service) || Boolean(service.healthcheck?.test ?? service.healthcheck?.disable),
    'ports on loopback only, if any': (service.ports ?? []).every(
      ({ host_ip }) => host_ip === '127.0.0.1' && published.includes(name),
    ),
  };
  const faults = Object.entries(must).flatMap(([what, holds]) =>
    holds ? [] : [`${file}: ${name} lacks ${what}`],
  );
  // Of the repository, and not what is made beside it.
  for (const { type, source } of service.volumes ?? [])
    if (type === 'bind' && source.startsWith(join(root, 'docker/')) && !existsSync(source))
      faults.push(`${file}: ${name} mounts ${source}, which does not exist`);
  return faults;
}

/** The image brings its own. */
function isOwn({ image }) {
  return image.startsWith('millrace:');
}
