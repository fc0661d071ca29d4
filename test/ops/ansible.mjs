/** Runs the plays of ansible/ on this machine, below a scratch directory, starting nothing. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { CheckError, runTool } from './check.mjs';
import { cacheDirectory, toolEnvironment } from './tools.mjs';

/** @typedef {import('./check.mjs').Site} Site */

/** Every secret that site.yml asks for. */
export const secrets = {
  clickhouse_password: 'only-for-this-test-1',
  clickhouse_analyst_password: 'only-for-this-test-2',
  clickhouse_interserver_password: 'only-for-this-test-3',
  clickhouse_admin_password: 'only-for-this-test-7',
  prometheus_grafana_password: 'only-for-this-test-4',
  prometheus_smtp_password: 'only-for-this-test-5',
  prometheus_slack_url: 'http://127.0.0.1:9/slack',
  prometheus_telegram_token: 'only-for-this-test-6',
  consul_gossip_key: Buffer.from('only for this test, of 32 bytes.').toString('base64'),
  kafka_cluster_id: Buffer.from('only for a test.').toString('base64url'),
};

/**
 * Runs a program of Ansible; all of them are in the environment of the linter.
 * @param {Site} site
 * @param {string[]} command
 * @returns {Promise<string>} its standard output
 */
export function runAnsible({ root, scratch }, command) {
  const programs = join(cacheDirectory, 'python', 'ansible-lint', 'bin');
  const env = {
    // First what a check has put in the place of systemctl.
    PATH: [join(scratch, 'bin'), programs, toolEnvironment.PATH].join(':'),
    ANSIBLE_HOME: join(scratch, 'ansible'),
    ANSIBLE_NOCOLOR: '1',
    NO_COLOR: '1',
  };
  return runTool(command, { cwd: join(root, 'ansible'), env, timeoutMs: 600_000 });
}

/**
 * Sees that a play is refused.
 * @param {Site} site
 * @param {string[]} args of ansible-playbook
 * @param {RegExp} says what it must say, lines joined
 */
export async function refuses(site, args, says) {
  const said = await runAnsible(site, ['ansible-playbook', ...args]).then(
    () => undefined,
    (error) => error.message.replaceAll(/\s+/g, ' '),
  );
  if (said === undefined) throw new CheckError(`ansible-playbook ${args.join(' ')} went through`);
  if (!says.test(said)) throw new CheckError(`instead of ${says} it was said: ${said}`);
}

/**
 * Runs a play as a dry run, for real, for real again, and as a dry run again; the last two must change nothing.
 * @param {Site} site
 * @param {string[]} args of ansible-playbook
 * @returns {Promise<number>} how much was changed
 */
export async function playTwice(site, args) {
  await play(site, [...args, '--check']);
  const changed = await play(site, args);
  for (const again of [args, [...args, '--check', '--diff']]) {
    const more = await play(site, again);
    if (more > 0)
      throw new CheckError(`ansible-playbook ${again.join(' ')}: changed=${more}, after it had run`);
  }
  return changed;
}

async function play(site, args) {
  const said = await runAnsible(site, ['ansible-playbook', ...args]);
  const counts = [...said.matchAll(/ changed=(\d+)/g)].map(([, count]) => Number(count));
  if (counts.length === 0)
    throw new CheckError(`ansible-playbook ${args.join(' ')} ran on no host:\n${said}`);
  return counts.reduce((sum, count) => sum + count, 0);
}

/**
 * Variables that make a play write below `prefix`, as this user, and start nothing.
 * @param {string} root directory of the project
 * @param {string} prefix
 */
export async function writeBelow(root, prefix) {
  const { username, uid } = userInfo();
  const prefixes = ['millrace', 'docker', 'haproxy'];
  const users = ['kafka', 'clickhouse', 'consul', 'prometheus', 'prometheus_grafana'];
  return {
    ...secrets,
    ansible_connection: 'local',
    ansible_become: false,
    ansible_python_interpreter: '{{ ansible_playbook_python }}',
    ...Object.fromEntries(prefixes.map((role) => [`${role}_prefix`, prefix])),
    ...Object.fromEntries(prefixes.map((role) => [`${role}_service_manager`, 'none'])),
    ...Object.fromEntries(users.map((role) => [`${role}_uid`, `${uid}`])),
    millrace_user: username,
    millrace_release: await makeRelease(root),
  };
}

/** @type {Map<string, string>} */
const releases = new Map();

/** Once for each project, since it takes a while. */
async function makeRelease(root) {
  const known = releases.get(root);
  if (known !== undefined) return known;
  const directory = mkdtempSync(join(tmpdir(), 'millrace-release-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  await runTool([join(root, 'ansible/make-release'), directory], { timeoutMs: 600_000 });
  const archive = join(directory, readdirSync(directory)[0]);
  releases.set(root, archive);
  return archive;
}

/**
 * Writes JSON, which is YAML, too.
 * @param {Site} site
 * @param {string} name
 * @param {unknown} content
 * @returns {string} path of the file
 */
export function writeScratch({ scratch }, name, content) {
  const path = join(scratch, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}
