/** The package as npm makes it, installed in an empty folder: nothing may come from this clone. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { cleanEnvironment, createSite, post, temporaryDirectory, until } from '../support/program.ts';

const execute = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string; readonly mode: number }[];
}

/** Packs a copy: the clone's own `dist` is in use by other tests, and the packing builds it anew. */
async function pack(directory: string): Promise<{ tarball: string; files: Packed['files'] }> {
  const copy = join(directory, 'clone');
  // Where npm takes more than it should, there is more to take.
  for (const name of ['src', 'schemas', 'tools', 'test', 'bench', 'docs'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  for (const name of ['package.json', 'package-lock.json', 'tsconfig.json', 'README.md', 'LICENSE'])
    cpSync(join(root, name), join(copy, name));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'), 'dir');
  // What an earlier build has left.
  mkdirSync(join(copy, 'dist/tools'), { recursive: true });
  writeFileSync(join(copy, 'dist/tools/kafka.js'), '');
  const stdout = await npm(copy, 'pack', '--json', '--pack-destination', directory);
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [Packed];
  return { tarball: join(directory, packed.filename), files: packed.files };
}

/** As in a shell of its own: the npm that runs these tests tells its children what the .npmrc of this clone says. */
function freshEnvironment(): NodeJS.ProcessEnv {
  const { npm_config_strict_allow_scripts: _ofThisClone, ...environment } = cleanEnvironment();
  return environment;
}

async function npm(cwd: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute('npm', args, { cwd, env: freshEnvironment(), maxBuffer: 16 * 1024 ** 2 });
  return stdout;
}

/** Of Node.js, and of npm for a registry that is not asked, or does not answer. */
const unreachable =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b/;

/** npm would try for minutes, one package after another. */
const oneRetry = ['--fetch-retries=1', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=2000'];

/** @returns why it cannot be installed, when the registry is away */
async function install(folder: string, tarball: string): Promise<string | undefined> {
  mkdirSync(folder);
  // Without it npm would install into the nearest folder above that has one.
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  try {
    await npm(folder, 'install', '--prefer-offline', '--no-audit', '--no-fund', ...oneRetry, tarball);
    return undefined;
  } catch (error) {
    const code = unreachable.exec(String((error as { stderr?: string }).stderr))?.[0];
    if (code === undefined || process.env.MILLRACE_REQUIRE_KAFKA === '1') throw error;
    return `the registry of npm cannot be reached: ${code}`;
  }
}

/** What is installed in the folder, and nothing of that name from a registry. */
const run = ['--no', 'millrace'];

test('npm pack gives what installs in an empty folder, and runs there', {
  timeout: 400_000,
}, async (context) => {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const { tarball, files } = await pack(directory.path);
  const parts = new Set(files.map(({ path }) => path.split('/')[0]));
  expect([...parts].sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json', 'schemas']);
  expect(files.filter(({ path }) => path.startsWith('dist/tools'))).toEqual([]);

  const folder = join(directory.path, 'folder');
  const missing = await install(folder, tarball);
  if (missing !== undefined) context.skip(missing);

  const site = await createSite(join(folder, 'data'));
  const options = { cwd: folder, env: freshEnvironment() };
  const child = spawn('npx', [...run, 'start', ...site.flags], { ...options, detached: true });
  // The first process may end before what it runs: the end of the output is the end of both.
  const closed = once(child, 'close');
  // The whole group: SIGKILL is not handed on.
  undo.push(() => child.exitCode ?? child.signalCode ?? process.kill(-(child.pid ?? 0), 'SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  await until('the start', async () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${output}`);
    return output.includes('is ready');
  });

  const response = await post(site.collector, { event: 'installed' });
  expect(response.status).toBe(200);
  const where = ['--data-dir', join(folder, 'data'), '--clickhouse-url', site.clickhouse];
  const statement = 'SELECT event FROM events';
  await until('the row', async () => {
    const { stdout } = await execute('npx', [...run, 'sql', statement, ...where, '--format', 'TSV'], options);
    return stdout === 'installed\n';
  });

  child.kill('SIGTERM');
  await closed;
  expect(output).toContain('Stopping: ');
  for (const url of [site.collector, site.streamer, site.clickhouse])
    await expect(fetch(url)).rejects.toThrow('fetch failed');
});
