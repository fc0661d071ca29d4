/** Validates what is not code: image, compose, proxy, monitoring, cloud, roles, pipeline. `--help` says how. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CheckError } from './check.mjs';
import { MissingToolError, requireTool } from './tools.mjs';

const help = `Runs the validators of everything that Millrace is operated with, a line for each.

Usage: npm run check:ops -- [options] [words...]

  words        Only checks with one of these words in their names.
  --light      Without those that take minutes or large downloads. A check that is named runs in any case.
  --mistakes   Plants mistakes in copies of the files, and sees that the checks notice.
  --install    Installs Debian's packages that are missing (apt-get, as root or by sudo). Tools from PyPI and Go are
               installed below the cache directory without being asked (MILLRACE_CACHE_DIR, ~/.cache/millrace).
  --list       Lists the checks and the tools that they need.
  --help

Exit codes: 0 all passed, 1 a check failed or a mistake went unnoticed, 2 wrong usage, 69 a tool is missing.
`;
const root = fileURLToPath(new URL('../..', import.meta.url));
const log = (line) => process.stderr.write(`${line}\n`);

async function main() {
  const { values: options, positionals: words } = readOptions();
  if (options.help) return print(help.trimEnd());
  const all = await loadChecks();
  if (options.list) return all.forEach(list);
  const checks = all.filter(({ name, heavy }) =>
    words.length === 0 ? !(options.light && heavy === true) : words.some((word) => name.includes(word)),
  );
  for (const word of words) {
    if (!checks.some(({ name }) => name.includes(word)))
      throw usage(`no check is named like ${word}: see --list`);
  }
  const counts = { passed: 0, failed: 0, missing: 0 };
  for (const check of checks) counts[await runCheck(check, options)]++;
  const { passed, failed, missing } = counts;
  print(
    `${missing > 0 ? `${missing} not run, since tools are missing\n` : ''}${passed} passed, ${failed} failed, ${missing} skipped`,
  );
  return failed > 0 ? 1 : missing > 0 ? 69 : 0;
}

function list({ name, tools, heavy }) {
  print(`${name}${heavy ? ' (heavy)' : ''}: ${tools.join(', ')}`);
}

function readOptions() {
  const flag = { type: 'boolean', default: false };
  return parseArgs({
    allowPositionals: true,
    options: { light: flag, mistakes: flag, install: flag, list: flag, help: { ...flag, short: 'h' } },
  });
}

/** Every file in checks/ exports some. */
async function loadChecks() {
  const directory = new URL('checks/', import.meta.url);
  const files = readdirSync(directory).filter((name) => name.endsWith('.mjs'));
  const modules = await Promise.all(files.sort().map((name) => import(new URL(name, directory).href)));
  return modules.flatMap(({ checks }) => checks);
}

async function runCheck(check, { install, mistakes }) {
  try {
    for (const tool of check.tools) requireTool(tool, { mayInstall: install, log });
  } catch (error) {
    if (!(error instanceof MissingToolError)) throw error;
    print(`MISSING ${check.name}: ${error.message}`);
    return 'missing';
  }
  const startedAt = performance.now();
  try {
    const found = mistakes ? await plantMistakes(check) : await runAt(root, check);
    print(`ok      ${check.name}: ${found} (${((performance.now() - startedAt) / 1_000).toFixed(1)} s)`);
    return 'passed';
  } catch (error) {
    // A fault of the check itself must not keep the others from running either.
    print(`FAILED  ${check.name}: ${error instanceof CheckError ? error.message : error.stack}`);
    return 'failed';
  }
}

/** Without a mistake the copy must pass: else what is noticed is the copy. */
async function plantMistakes(check) {
  if (check.mistakes.length === 0)
    throw new CheckError('it plants no mistake, so nothing shows that it notices any');
  const copy = makeCopy();
  try {
    await runAt(copy, check);
    for (const mistake of check.mistakes) await plant(copy, check, mistake);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  return `${check.mistakes.length} ${check.mistakes.length === 1 ? 'mistake' : 'mistakes'} noticed`;
}

async function plant(copy, check, { file, find, replace, says }) {
  const path = join(copy, file);
  const text = readFileSync(path, 'utf8');
  if (!text.includes(find)) throw new CheckError(`the mistake's text is not in ${file}: ${find}`);
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
  const said = await runAt(copy, check).then(
    () => undefined,
    (error) => {
      if (error instanceof CheckError) return error.message;
      throw error;
    },
  );
  writeFileSync(path, text);
  if (said === undefined) throw new CheckError(`'${replace}' in ${file} went unnoticed`);
  if (!says.test(said))
    throw new CheckError(`'${replace}' in ${file} was noticed as something else: ${said}`);
}

async function runAt(directory, check) {
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-ops-'));
  try {
    return await check.run({ root: directory, scratch });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const installed = ['node_modules', 'dist', '.build'];

/** What git would commit now, and what was installed and built. */
function makeCopy() {
  const copy = mkdtempSync(join(tmpdir(), 'millrace-ops-copy-'));
  const listing = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  if (listing.status !== 0) throw new CheckError(`${root} is no clone: ${listing.stderr}`);
  for (const file of String(listing.stdout).split('\0').filter(Boolean)) {
    const stat = lstatSync(join(root, file), { throwIfNoEntry: false });
    // Removed, or a clone of something else. A link to what is installed is not ignored as the directory is.
    if (stat === undefined || stat.isDirectory() || installed.includes(file)) continue;
    mkdirSync(join(copy, dirname(file)), { recursive: true });
    // As it is, a link leads to the copy's own files: a mistake must not be planted in the project.
    cpSync(join(root, file), join(copy, file), { verbatimSymlinks: true });
  }
  for (const name of installed) symlinkSync(join(root, name), join(copy, name), 'dir');
  return copy;
}

function usage(message) {
  return Object.assign(new Error(message), { exitCode: 2 });
}

function print(line) {
  process.stdout.write(`${line}\n`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage = error.exitCode === 2 || String(error.code).startsWith('ERR_PARSE_ARGS');
  log(isUsage ? error.message : error.stack);
  process.exitCode = isUsage ? 2 : 1;
}
