/**
 * Runs a program with no more files than it is given, and no network: the system's own means, by what is there. What
 * is confined so reaches nothing else, even when whatever it runs has a fault.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { exitCodes, OperatorError } from '../errors.ts';

/** Kinds of sandboxes, the strictest first. */
export type SandboxKind = 'bubblewrap' | 'landlock' | 'systemd' | 'none';

/** What a confined program may use. Paths are absolute, and there. */
export interface Allowance {
  readonly read: readonly string[];
  readonly write: readonly string[];
}

/** A way to confine a program. */
export interface Sandbox {
  readonly kind: SandboxKind;
  /** What it confines, for a person: `files and network`. */
  readonly confines: string;
  /** For `none`: what to do about it. */
  readonly advice?: string;
  /** The command that runs `command` confined. */
  wrap(command: readonly [file: string, ...args: string[]], allowance: Allowance): [string, ...string[]];
}

/**
 * Finds a sandbox that works here: each is tried, since a kernel, a container or a policy may forbid what is installed.
 * @param wanted `auto`: the strictest; or one kind
 * @throws OperatorError exit 69 when the one that is wanted does not work here
 */
export async function findSandbox(wanted: SandboxKind | 'auto'): Promise<Sandbox> {
  if (wanted === 'none') return { ...none, advice: '--clickhouse-sandbox none was given' };
  for (const [kind, find] of finders) {
    if (wanted !== 'auto' && wanted !== kind) continue;
    const found = await find();
    if (found !== undefined) return found;
  }
  if (wanted === 'auto') return none;
  throw new OperatorError(
    `the sandbox ${wanted} does not work here: ${requirements[wanted]}. Or choose another with --clickhouse-sandbox`,
    exitCodes.unavailable,
  );
}

const requirements: Readonly<Record<Exclude<SandboxKind, 'none'>, string>> = {
  bubblewrap: 'install bubblewrap (apt install bubblewrap), and allow user namespaces',
  landlock: 'it takes setpriv of util-linux 2.40 or later, and a kernel with Landlock',
  systemd: 'it takes a unit with ProtectSystem=strict and NoNewPrivileges=yes, as docs/deploy.md has',
};

const none: Sandbox = {
  kind: 'none',
  confines: 'nothing',
  advice: process.platform === 'linux' ? requirements.bubblewrap : 'there is one on Linux only',
  wrap: (command) => [...command],
};

const finders: ReadonlyArray<readonly [SandboxKind, () => Promise<Sandbox | undefined>]> = [
  ['bubblewrap', findBubblewrap],
  ['landlock', findLandlock],
  ['systemd', async () => (isConfinedUnit() ? { ...none, kind: 'systemd', confines: 'files' } : undefined)],
];

/** What Node.js and native code need of a system, beside themselves; what is not there is left out. */
const systemPaths = [
  '/usr',
  '/bin',
  '/lib',
  '/lib32',
  '/lib64',
  '/nix/store',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/localtime',
  '/etc/timezone',
  '/etc/nsswitch.conf',
  '/etc/passwd',
  '/sys/fs/cgroup',
  '/sys/devices/system/cpu',
];

/**
 * Mounts what is allowed and nothing else, without a network, in name spaces of its own for processes, messages and
 * names. Source: bwrap(1).
 */
async function findBubblewrap(): Promise<Sandbox | undefined> {
  const spaces = ['--unshare-net', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--new-session'];
  const wrap: Sandbox['wrap'] = (command, { read, write }) => [
    'bwrap',
    ...spaces,
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
    ...systemPaths.flatMap((path) => ['--ro-bind-try', path, path]),
    ...read.flatMap((path) => ['--ro-bind', path, path]),
    ...write.flatMap((path) => ['--bind', path, path]),
    ...['--remount-ro', '/', '--chdir', '/', '--'],
    ...command,
  ];
  const isWorking = await succeeds(wrap([process.execPath, '-e', '0'], { read: nodePaths(), write: [] }));
  return isWorking ? { kind: 'bubblewrap', confines: 'files, network and processes', wrap } : undefined;
}

/**
 * Landlock's rules by setpriv, and no network by unshare where the system lets this user. Nothing stays in between:
 * both become the program. Source: setpriv(1), unshare(1).
 */
async function findLandlock(): Promise<Sandbox | undefined> {
  const confined = (offline: readonly string[]): Sandbox['wrap'] => {
    return (command, { read, write }) => {
      const system = [...systemPaths, '/proc', '/dev'].filter((path) => existsSync(path));
      const rule = (access: string, path: string) => ['--landlock-rule', `path-beneath:${access}:${path}`];
      const [file = '', ...args] = [
        ...offline,
        'setpriv',
        ...['--no-new-privs', '--landlock-access', 'fs'],
        ...[...system, ...read].flatMap((path) => rule('read-file,read-dir,execute', path)),
        ...['/dev/null', '/dev/shm']
          .filter((path) => existsSync(path))
          .flatMap((path) => rule('write-file', path)),
        ...write.flatMap((path) => rule('fs', path)),
        '--',
        ...command,
      ];
      return [file, ...args];
    };
  };
  const offline = ['unshare', '--user', '--map-current-user', '--net', '--'];
  const trial = { read: nodePaths(), write: [] };
  for (const [prefix, confines] of [
    [offline, 'files and network'],
    [[], 'files'],
  ] as const) {
    const wrap = confined(prefix);
    if (await succeeds(wrap([process.execPath, '-e', '0'], trial)))
      return { kind: 'landlock', confines, wrap };
  }
  return undefined;
}

/** The program that runs this one: it may be outside of the system's directories. */
export function nodePaths(): string[] {
  return [dirname(process.execPath)];
}

/** Whether a unit of systemd confines this process already: it sees its files read-only and cannot gain rights. */
function isConfinedUnit(): boolean {
  if (process.env.INVOCATION_ID === undefined) return false;
  try {
    const status = readFileSync('/proc/self/status', 'utf8');
    // Fields of proc(5): the mount point, its options, and of the root among them.
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const root = mounts.map((line) => line.split(' ')).filter((fields) => fields[4] === '/');
    const isReadOnly = root.at(-1)?.[5]?.split(',').includes('ro') === true;
    return isReadOnly && /^NoNewPrivs:\s*1$/m.test(status);
  } catch {
    return false;
  }
}

/** How long a trial may take, milliseconds. */
const trialMs = 10_000;

function succeeds([file, ...args]: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(file ?? '', args, { timeout: trialMs }, (error) => resolve(error === null));
  });
}
