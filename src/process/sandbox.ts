/**
 * Runs a program with no more files than it is given, and no network: the system's own means, by what is there. What
 * is confined so reaches nothing else, even when whatever it runs has a fault.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** Kinds of sandboxes, the strictest first. */
export type SandboxKind = 'bubblewrap' | 'landlock' | 'systemd' | 'none';

/** What a confined program may use. Paths are absolute, and there. */
interface Allowance {
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
  const faults: string[] = [];
  for (const [kind, find] of finders) {
    if (wanted !== 'auto' && wanted !== kind) continue;
    const found = await find();
    if (typeof found !== 'string') return found;
    faults.push(found);
  }
  // The first is the strictest, and the one to wish for.
  const [first = ''] = faults;
  const advice = process.platform === 'linux' ? first : 'a sandbox is available on Linux only';
  if (wanted === 'auto') return { ...none, advice };
  throw new OperatorError(
    `the sandbox ${wanted} does not work here: ${advice}. Otherwise choose another with --clickhouse-sandbox`,
    exitCodes.unavailable,
  );
}

const none: Sandbox = { kind: 'none', confines: 'nothing', wrap: (command) => [...command] };

/** Each gives a sandbox, or says what it lacks. */
const finders: ReadonlyArray<readonly [SandboxKind, () => Promise<Sandbox | string>]> = [
  ['bubblewrap', findBubblewrap],
  ['landlock', findLandlock],
  ['systemd', async () => findUnit()],
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
  '/etc/ssl/openssl.cnf',
  '/etc/pki/tls/openssl.cnf',
  '/etc/crypto-policies',
  '/sys/fs/cgroup',
  '/sys/devices/system/cpu',
];

/**
 * What may be read of some paths: all that is there, but nothing beside a directory to write to. A data directory below
 * /usr has more than the engine's part.
 */
function readable(paths: readonly string[], write: readonly string[]): string[] {
  const hidden = new Set(write.map((path) => dirname(path)));
  const expand = (path: string): string[] => {
    if (hidden.has(path) || !existsSync(path)) return [];
    if (![...hidden].some((other) => other.startsWith(`${path}/`))) return [path];
    return readdirSync(path).flatMap((name) => expand(join(path, name)));
  };
  return paths.flatMap(expand);
}

/**
 * Mounts what is allowed and nothing else, without a network, in name spaces of its own for processes, messages and
 * names. No rights can be gained in it, and those of root are gone. Source: bwrap(1).
 */
async function findBubblewrap(): Promise<Sandbox | string> {
  const spaces = ['--unshare-net', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--new-session'];
  const wrap: Sandbox['wrap'] = (command, { read, write }) => [
    'bwrap',
    ...spaces,
    // Root keeps its rights without it, and mounts what it likes. Without the second, a signal ends bwrap alone.
    ...['--cap-drop', 'ALL', '--die-with-parent', '--proc', '/proc', '--dev', '/dev'],
    ...readable([...systemPaths, ...read], write).flatMap((path) => ['--ro-bind', path, path]),
    ...write.flatMap((path) => ['--bind', path, path]),
    // Settings of the kernel are files of root, which need no right.
    ...['--remount-ro', '/proc', '--remount-ro', '/', '--chdir', '/', '--'],
    ...command,
  ];
  const fault = await tryOut(wrap);
  if (fault === undefined) return { kind: 'bubblewrap', confines: 'files, network and processes', wrap };
  return fault === notInstalled
    ? 'install bubblewrap (apt install bubblewrap)'
    : `bubblewrap is installed but may not create namespaces, which a container, AppArmor or a sysctl can allow (${fault})`;
}

/** Rights of Landlock by their names in setpriv(1). Those for directories are refused for a file. */
const landlockRights = {
  read: { file: 'execute,read-file', directory: 'execute,read-file,read-dir' },
  write: {
    file: 'read-file,write-file,truncate',
    directory:
      'read-file,read-dir,write-file,truncate,make-reg,make-dir,make-sym,remove-file,remove-dir,refer',
  },
} as const;

/**
 * Landlock's rules by setpriv, and no network by unshare where the system lets this user. Nothing stays in between:
 * both become the program. Landlock has no rule for signals, socket files and changes of modes, as setpriv gives it;
 * tracing others and reading their environment end with it. Source: setpriv(1), unshare(1), landlock(7).
 */
async function findLandlock(): Promise<Sandbox | string> {
  const rules = (kind: keyof typeof landlockRights, paths: readonly string[]) =>
    paths.flatMap((path) => {
      const rights = landlockRights[kind][statSync(path).isDirectory() ? 'directory' : 'file'];
      return ['--landlock-rule', `path-beneath:${rights}:${path}`];
    });
  // Root's rights would go round the rules: modes, mounts, other users' processes.
  const powerless = process.geteuid?.() === 0 ? ['--inh-caps=-all', '--bounding-set=-all'] : [];
  const confine: Sandbox['wrap'] = (command, { read, write }) => [
    'setpriv',
    ...[...powerless, '--no-new-privs', '--landlock-access', 'fs'],
    ...rules('read', readable([...systemPaths, '/proc', ...devices, ...read], write)),
    ...rules('write', [...readable(['/dev/null'], []), ...write]),
    '--',
    ...command,
  ];
  const offline: Sandbox['wrap'] = (command, allowance) => [
    ...(['unshare', '--user', '--map-current-user', '--net', '--ipc', '--'] as const),
    ...confine(command, allowance),
  ];
  if ((await tryOut(offline)) === undefined)
    return {
      kind: 'landlock',
      confines: 'files and network, but neither signals nor socket files',
      wrap: offline,
    };
  const fault = await tryOut(confine);
  if (fault === undefined)
    return { kind: 'landlock', confines: 'files, but neither network nor signals', wrap: confine };
  return `it needs setpriv of util-linux 2.40 or later, and Linux 6.2 or later with Landlock (${fault})`;
}

/** Devices that every program may read. */
const devices = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'];

/** The program that runs this one: it may be outside of the system's directories. Not what is beside it. */
export function nodePaths(): string[] {
  return [process.execPath];
}

/** A unit of systemd that confines this process already: it sees its files read-only and cannot gain rights. */
function findUnit(): Sandbox | string {
  return isConfinedUnit()
    ? { ...none, kind: 'systemd', confines: 'writing outside the paths that the unit allows' }
    : 'it needs a unit with ProtectSystem=strict and NoNewPrivileges=yes, as docs/millrace.service has';
}

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

const notInstalled = 'not installed';

/** Runs Node.js in a sandbox. @returns what failed */
function tryOut(wrap: Sandbox['wrap']): Promise<string | undefined> {
  const [file, ...args] = wrap([process.execPath, '-e', '0'], { read: nodePaths(), write: [] });
  return new Promise((resolve) => {
    execFile(file, args, { timeout: trialMs }, (error, _stdout, stderr) => {
      if (error === null) resolve(undefined);
      else if (error.code === 'ENOENT') resolve(notInstalled);
      else resolve(stderr.trim().split('\n')[0] || messageOf(error));
    });
  });
}
