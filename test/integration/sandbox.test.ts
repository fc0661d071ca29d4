/** What confines the embedded ClickHouse: a program in it gets nowhere, whoever runs it. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { SandboxKind } from '../../src/process/sandbox.ts';
import { runCommand, temporaryDirectory } from '../support/program.ts';
import { canBecomeNobody, confining, needSandbox } from '../support/sandboxes.ts';

/** What the built program says came of the attempts. */
interface Outcome {
  readonly confines: string;
  /** What the confined program read of its own. */
  readonly own: string;
  readonly through: string[];
  readonly held: Readonly<Record<string, string>>;
}

/** What Landlock has no rule for, as setpriv gives it; docs/security.md says so. */
const known: Readonly<Record<(typeof confining)[number], readonly string[]>> = {
  bubblewrap: [],
  landlock: ['see a process', 'signal a process', 'connect to a socket file', 'change a mode'],
};

/** What fails without a sandbox, too, by the user's rights, and by what the system or a container forbids. */
const ofSystem = [
  ...['list /root', 'make a device', 'mount something', 'write a setting of the kernel', 'become root'],
  ...["use root's rights", "read a process's files", "open a process's memory"],
];

const users = [
  { user: 'this user', runner: [] },
  ...(canBecomeNobody() ? [{ user: 'nobody', runner: ['runuser', '-u', 'nobody', '--'] }] : []),
] as const;

describe.each(users)('as $user', ({ user, runner }) => {
  for (const kind of confining) {
    it(`${kind} holds whatever a program tries`, async (context) => {
      await needSandbox(context, kind);
      const { through, held, own, confines } = await attempt(kind, user, runner);
      const network = confines.includes('and network')
        ? []
        : ['connect by TCP', 'connect to an abstract socket'];
      const gaps = [...known[kind], ...network];
      expect(through.filter((name) => !gaps.includes(name))).toEqual([]);
      expect(Object.keys(held).length).toBeGreaterThan(20);
      expect(own).toBe('tex');
    });
  }

  it('without one, the same attempts get through', async () => {
    const { held } = await attempt('none', user, runner);
    expect(Object.keys(held).filter((name) => !ofSystem.includes(name))).toEqual([]);
  });
});

it('knows a unit of systemd by its mounts and its rights', async (context) => {
  const module = fileURLToPath(new URL('../../dist/process/sandbox.js', import.meta.url));
  const script = `import(process.argv[1]).then(async ({ findSandbox }) => {
    console.log((await findSandbox('systemd').catch(({ exitCode }) => ({ kind: exitCode }))).kind);
  })`;
  // As ProtectSystem=strict does.
  const readOnly = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"';
  const unit = ['unshare', '--mount', 'sh', '-c', readOnly, '-'];
  const noNewRights = ['setpriv', '--no-new-privs'];
  const named = ['env', 'INVOCATION_ID=1'];
  const kindIn = async (...wrappers: string[]) => {
    const [file = '', ...args] = [...wrappers, process.execPath, '-e', script, module];
    return (await runCommand(file, args, { INVOCATION_ID: undefined })).stdout.trim();
  };
  const { code, stderr } = await runCommand('unshare', [...unit.slice(1), 'true']);
  if (code !== 0) return context.skip(`a mount of its own is not allowed: ${stderr.trim()}`);
  expect(await kindIn(...unit, ...noNewRights, ...named)).toBe('systemd');
  expect(await kindIn(...unit, ...noNewRights)).toBe('69');
  expect(await kindIn(...unit, ...named)).toBe('69');
  expect(await kindIn(...noNewRights, ...named)).toBe('69');
});

async function attempt(kind: SandboxKind, user: string, runner: readonly string[]): Promise<Outcome> {
  const { path, remove } = temporaryDirectory();
  onTestFinished(remove);
  const secret = randomBytes(12).toString('hex');
  const [outside, readOnly, dataDir] = ['outside', 'read only', 'dätä dir'].map((name) =>
    join(path, name),
  ) as [string, string, string];
  const own = join(dataDir, 'clickhouse');
  for (const directory of [outside, readOnly, own, join(dataDir, 'log')])
    mkdirSync(directory, { recursive: true });
  for (const name of ['canary', 'truncated', 'removed', 'moved']) writeFileSync(join(outside, name), secret);
  writeFileSync(join(dataDir, 'clickhouse-password'), secret);
  copyFileSync('/bin/true', join(outside, 'program'));
  copyFileSync('/usr/bin/id', join(readOnly, 'setuid-id'));
  if (user === 'nobody') execFileSync('chown', ['-R', 'nobody', path]);
  // Root's in any case: what `nobody` would become by running it.
  if (process.geteuid?.() === 0) execFileSync('chown', ['root', join(readOnly, 'setuid-id')]);
  chmodSync(join(readOnly, 'setuid-id'), 0o4755);
  const orders = {
    kind,
    read: [readOnly],
    write: [own],
    aims: {
      ...{ own, outside, readOnly, dataDir, secret },
      canary: join(outside, 'canary'),
      socket: join(outside, 'socket'),
      abstractSocket: `\0millrace-${secret}`,
    },
  };
  const script = fileURLToPath(new URL('../support/confined.mjs', import.meta.url));
  const [file = '', ...args] = [...runner, process.execPath, script, JSON.stringify(orders)];
  const { code, stdout, stderr } = await runCommand(file, args, { SANDBOX_TEST_SECRET: secret });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const outcome: Outcome = JSON.parse(stdout);
  if (kind !== 'none') {
    expect(existsSync(join(outside, 'made'))).toBe(false);
    for (const name of ['canary', 'truncated', 'removed', 'moved'])
      expect(readFileSync(join(outside, name), 'utf8')).toBe(secret);
  }
  return outcome;
}
