/** The validators of others: where each comes from, and how it is installed once and then found again. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Kept between runs, as the jars of Kafka are. */
export const cacheDirectory = join(
  process.env.MILLRACE_CACHE_DIR ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'millrace'),
  'ops',
);
const ownTools = join(cacheDirectory, 'bin');
const searched = `${ownTools}${delimiter}${process.env.PATH}${delimiter}/usr/sbin`;

/**
 * By name of the program. `apt`: Debian's package; `pip`: distributions with their versions, in an environment of their
 * own, and `program` where theirs has another name; `go`: a package with its version; `hint`: what to do when none of these can help.
 */
export const tools = {
  bash: { apt: 'bash' },
  git: { apt: 'git' },
  npm: { hint: 'it comes with Node.js' },
  prometheus: { apt: 'prometheus' },
  promtool: { apt: 'prometheus' },
  tar: { apt: 'tar' },
  go: { hint: 'install Go 1.25 or later' },
  go: { hint: 'install Go 1.26 or later' },
  // A Python with the language of Vector's transforms, compiled from Vector's own.
  vrl: { pip: 'vrl-python==0.1.0', program: 'python3' },
  go: { hint: 'install Go 1.25.10 or later' },
  python3: { apt: 'python3' },
  terraform: { hint: 'install Terraform 1.11 or later' },
  tflint: { go: 'github.com/terraform-linters/tflint@v0.64.0' },
  'ansible-lint': { pip: ['ansible-lint==26.10.1', 'ansible-core==2.19.14'] },
  haproxy: { apt: 'haproxy' },
  'systemd-analyze': { apt: 'systemd' },
};

/** Environment in which the tools are found. */
export const toolEnvironment = { ...process.env, PATH: searched };

/** A tool that is neither there nor could be installed; the message says how to get it. */
export class MissingToolError extends Error {}

/** Whether a program can be found. */
export function hasTool(name) {
  return searched.split(delimiter).some((directory) => existsSync(join(directory, name)));
}

/**
 * Makes sure that a tool can be run; Debian's packages are installed only when `mayInstall` says so, since they change
 * the machine, all others go below the cache directory.
 * @throws MissingToolError
 */
export function requireTool(name, { mayInstall, log }) {
  if (hasTool(name)) return;
  const source = tools[name];
  if (source === undefined) throw new Error(`no source is known for ${name}: add it to test/ops/tools.mjs`);
  const command = installCommand(name, source);
  if (command === undefined) throw new MissingToolError(`${name} is not installed: ${source.hint}`);
  if (source.apt !== undefined && !mayInstall)
    throw new MissingToolError(`${name} is not installed: ${command.join(' ')}, or run this with --install`);
  log(`installing ${name}: ${command.join(' ')}`);
  if (source.pip !== undefined) installPython(name, source);
  else run(command, source.go === undefined ? {} : { GOBIN: ownTools, GOFLAGS: '-mod=mod' });
  if (!hasTool(name)) throw new MissingToolError(`${name} is not there after ${command.join(' ')}`);
}

function installCommand(name, { apt, pip, go }) {
  if (apt !== undefined) {
    const sudo = process.getuid?.() === 0 ? [] : ['sudo'];
    return [...sudo, 'apt-get', 'install', '-y', '-qq', ...[apt].flat()];
  }
  if (pip !== undefined) return ['pip', 'install', ...[pip].flat()];
  if (go !== undefined) return hasTool('go') ? ['go', 'install', go] : undefined;
  return tools[name].hint === undefined ? ['(no way known)'] : undefined;
}

/** An environment for each tool: their dependencies do not meet. */
function installPython(name, { pip, program = name }) {
  const environment = join(cacheDirectory, 'python', name);
  if (!existsSync(join(environment, 'bin', program))) {
    rmSync(environment, { recursive: true, force: true });
    run(['python3', '-m', 'venv', environment]);
    run([join(environment, 'bin', 'pip'), 'install', '--quiet', ...[pip].flat()]);
  }
  mkdirSync(ownTools, { recursive: true });
  // Not a link: a program of a virtual environment finds its modules by its own path.
  writeFileSync(join(ownTools, name), `#!/bin/sh\nexec '${join(environment, 'bin', program)}' "$@"\n`, {
    mode: 0o755,
  });
}

function run([file, ...args], env = {}) {
  const result = spawnSync(file, args, { env: { ...toolEnvironment, ...env }, encoding: 'utf8' });
  if (result.status === 0) return;
  const said = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`.trim();
  throw new MissingToolError(`${[file, ...args].join(' ')} failed:\n${said}`);
}

/** First line of what a tool says of its version. */
export function versionOf(name, flag = '--version') {
  const options = { env: toolEnvironment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
  return execFileSync(name, [flag], options).split('\n', 1)[0];
}
