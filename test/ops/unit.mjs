/** Does what systemd would do with a unit, but for its walls; and asks systemd itself what it thinks of units. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { CheckError, runTool } from './check.mjs';
import { untilOk } from './network.mjs';

/**
 * Runs the commands of a collector's unit as they are written there: what comes before the start, the start, until the
 * collector says that it is ready; posts an event, and stops it.
 * @param {string} file
 * @param {{url: string, scratch: string}} options where the collector listens, and a directory for credentials
 */
export async function tryCollectorUnit(file, { url, scratch }) {
  const unit = readUnit(file);
  const credentials = join(scratch, 'credentials');
  mkdirSync(credentials);
  for (const [id, source] of unit.LoadCredential.map((value) => value.split(':')))
    copyFileSync(source, join(credentials, id));
  const settings = unit.Environment.map((setting) => setting.replaceAll('%d', credentials).split('='));
  const env = Object.fromEntries(settings);
  for (const line of unit.ExecStartPre) await runTool(['sh', '-c', line], { cwd: scratch, env });

  const start = ['-c', `exec ${unit.ExecStart[0]}`];
  const child = spawn('sh', start, { cwd: scratch, env: { PATH: process.env.PATH, ...env } });
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  const ended = once(child, 'exit');
  try {
    await untilOk(`${url}/readyz`, { child, seconds: 60 });
    const posted = await fetch(`${url}/v1/events`, { method: 'POST', body: '{"event":"view"}' });
    if (posted.status !== 200) throw new CheckError(`an event was answered with ${posted.status}`);
    child.kill('SIGTERM');
    const [code, signal] = await ended;
    if (code !== 0) throw new CheckError(`the collector ended with ${code ?? signal}`);
  } catch (error) {
    throw new CheckError(`${error.message}:\n${said}`, { cause: error });
  } finally {
    child.kill('SIGKILL');
  }
}

/**
 * Values by key. In a command `$$` stands for `$`.
 * @param {string} file
 * @returns {Record<string, string[]>}
 */
function readUnit(file) {
  /** @type {Record<string, string[]>} */
  const unit = {};
  for (const line of readFileSync(file, 'utf8').replaceAll('\\\n', ' ').split('\n')) {
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined) unit[key] = [...(unit[key] ?? []), value.replaceAll('$$', '$')];
  }
  return unit;
}

/**
 * Asks systemd whether units are right; it warns about what it does not know, and a warning counts. Settings for a
 * unit of a Debian package (`haproxy.service.d`) are asked about together with that unit.
 * @param {string} directory of the units
 * @param {string} scratch
 * @returns {Promise<string[]>} paths of copies
 */
export async function verifyUnits(directory, scratch) {
  const copies = join(scratch, 'units');
  mkdirSync(copies, { recursive: true });
  // Docker is not here, and needs not be, nor need Node.js be there; and the user is whoever runs this, who may be root.
  const stub = '[Unit]\nDescription=stands for Docker\n[Service]\nExecStart=/bin/true\n';
  writeFileSync(join(copies, 'docker.service'), stub);
  const entries = readdirSync(directory);
  const names = entries.filter((name) => name.endsWith('.service'));
  for (const name of names) {
    const programs = /\/usr\/(bin\/docker|local\/bin\/node) /g;
    const text = readFileSync(join(directory, name), 'utf8').replaceAll(programs, '/bin/true ');
    writeFileSync(join(copies, name), text.replace(/^User=.*/m, 'User=millrace'));
  }
  for (const settings of entries.filter((name) => name.endsWith('.service.d'))) {
    const name = settings.slice(0, -2);
    cpSync(join(directory, settings), join(copies, settings), { recursive: true });
    copyFileSync(join('/usr/lib/systemd/system', name), join(copies, name));
    names.push(name);
  }
  const files = names.map((name) => join(copies, name));
  // What it says goes to standard error, also when it ends with 0.
  const verify = [
    'sh',
    '-c',
    'systemd-analyze verify --man=no --recursive-errors=no "$@" 2>&1',
    'sh',
    ...files,
  ];
  const warnings = await runTool(verify, { env: { SYSTEMD_UNIT_PATH: `${copies}:` } });
  if (warnings.trim() !== '') throw new CheckError(`systemd-analyze verify says:\n${warnings.trim()}`);
  return files;
}

/**
 * Asks systemd how far a unit is shut in, by its file and by settings beside it (`haproxy.service.d`).
 * @param {string} file
 * @param {number} threshold most of ten that it may be exposed, in tenths
 */
export async function requireHardening(file, threshold) {
  const rate = `systemd-analyze security --offline=true --no-pager --threshold=${threshold} "$1"`;
  // It lists a hundred things that are fine.
  const env = { SYSTEMD_UNIT_PATH: `${dirname(file)}:` };
  await runTool(['bash', '-o', 'pipefail', '-c', `${rate} | grep -v ✓`, 'bash', file], { env });
}

/**
 * Puts a stand-in for systemctl into `scratch`/bin. As systemd, it knows the units that are in a directory at that time.
 * @param {string} scratch
 * @param {string} units directory
 * @returns {() => string[]} what it was told since it was last asked, as `restart grafana`
 */
export function standInForSystemd(scratch, units) {
  const state = join(scratch, 'systemd');
  const log = join(state, 'log');
  for (const directory of [state, join(scratch, 'bin')]) mkdirSync(directory);
  const program = `#!/bin/sh
cd ${state}
case $1 in
  show)
    load=not-found active=inactive
    [ ! -e ${units}/$2.service ] && [ $2 != docker ] || load=loaded
    [ ! -e $2.start ] || active=active
    printf 'LoadState=%s\\nActiveState=%s\\n' $load $active ;;
  is-enabled) [ -e $2.enable ] || { echo disabled; exit 1; } ;;
  daemon-reload) ;;
  restart) echo "$*" >> log ;;
  *) echo "$*" >> log; : > $2.$1 ;;
esac
`;
  const file = join(scratch, 'bin/systemctl');
  writeFileSync(file, program);
  chmodSync(file, 0o755);
  writeFileSync(log, '');
  return () => {
    const told = readFileSync(log, 'utf8').trim().split('\n');
    writeFileSync(log, '');
    return told;
  };
}
