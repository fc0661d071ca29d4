/** The embedded ClickHouse in each sandbox, by the built program: it works, and has nothing but its part. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { SandboxKind } from '../../src/process/sandbox.ts';
import {
  freePorts,
  type Program,
  runProgram,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';
import { confining, needSandbox } from '../support/sandboxes.ts';

const password = 'canary-of-the-password';

interface Embedded {
  readonly program: Program;
  sql(statement: string): Promise<string>;
}

async function start(kind: SandboxKind, dataDir: string, env: NodeJS.ProcessEnv = {}): Promise<Embedded> {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const flags = ['--data-dir', dataDir, '--clickhouse-url', url, '--clickhouse-sandbox', kind];
  const program = await startProgram(['clickhouse', ...flags], {
    MILLRACE_CLICKHOUSE_PASSWORD: password,
    ...env,
  });
  onTestFinished(() => program.kill());
  const headers = { 'x-clickhouse-user': 'default', 'x-clickhouse-key': password };
  const sql = async (statement: string) => {
    const response = await fetch(url, { method: 'POST', body: statement, headers });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text;
  };
  return { program, sql };
}

async function useIt({ sql }: Embedded): Promise<void> {
  await sql('CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n');
  await sql('INSERT INTO t SELECT number FROM numbers(1000)');
  expect(await sql("BACKUP TABLE t TO Disk('backups', 'first') FORMAT TSV")).toContain('BACKUP_CREATED');
  await sql("RESTORE TABLE t AS r FROM Disk('backups', 'first')");
  await sql('RENAME TABLE r TO s');
  await sql('OPTIMIZE TABLE s FINAL');
  await sql('DROP TABLE s SYNC');
}

/** The process that has the engine in it: the last of those that the program started, one by the other. */
function engineOf(pid: number): number {
  const children = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
    } catch {
      return false;
    }
  });
  return children.length === 0 ? pid : engineOf(Number(children[0]));
}

for (const kind of [...confining, 'none'] as const) {
  describe(kind, () => {
    it('lets the engine work, and start again', async (context) => {
      await needSandbox(context, kind);
      const { path, remove } = temporaryDirectory();
      onTestFinished(remove);
      // The way there has what shells, mounts and rules may trip over.
      mkdirSync(join(path, 'réal dir: 1,2'));
      symlinkSync('réal dir: 1,2', join(path, 'link'));
      const dataDir = join(path, 'link', "dätä 'dir'");
      const first = await start(kind, dataDir);
      await useIt(first);
      expect(await first.program.stop()).toBe(0);
      const second = await start(kind, dataDir);
      expect(await second.sql('SELECT count(), sum(n) FROM t')).toBe('1000\t499500\n');
      expect(existsSync(join(dataDir, 'backups', 'first'))).toBe(true);
    });

    it('gives it nothing but its part', async (context) => {
      await needSandbox(context, kind);
      const { path, remove } = temporaryDirectory();
      onTestFinished(remove);
      mkdirSync(join(path, 'log'));
      const { program, sql } = await start(kind, path, { MILLRACE_CLICKHOUSE_READER_PASSWORD: 'another' });
      expect(await sql('SELECT 1')).toBe('1\n');
      const pid = engineOf(program.child.pid ?? 0);
      const of = (name: string) => `/proc/${pid}/${name}`;
      expect(readFileSync(of('cmdline'), 'utf8')).toContain('engine/process.js');
      expect(readFileSync(of('environ'), 'utf8')).not.toMatch(/canary|another|MILLRACE/);
      if (kind === 'none') return;
      const status = readFileSync(of('status'), 'utf8');
      expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
      expect(status).toMatch(/^CapEff:\s*0+$/m);
      const isOffline = program.output.stdout.includes('and network') || kind === 'bubblewrap';
      if (isOffline) {
        expect(readlinkSync(of('ns/net'))).not.toBe(readlinkSync('/proc/self/ns/net'));
        // A heading and nothing else: what it serves by is a socket of another name space.
        for (const table of ['tcp', 'tcp6', 'udp', 'udp6'])
          expect(
            readFileSync(of(`net/${table}`), 'utf8')
              .trim()
              .split('\n').length,
          ).toBe(1);
      }
      if (kind !== 'bubblewrap') return;
      const seen = readdirSync(of(`root${path}`)).sort();
      expect(seen).toEqual([
        'backups',
        'clickhouse',
        'clickhouse.config.xml',
        'clickhouse.inserts',
        'clickhouse.users.xml',
      ]);
      expect(existsSync(of('root/etc/shadow'))).toBe(false);
    });

    it('ends it with the program, however that ends', async (context) => {
      await needSandbox(context, kind);
      const { path, remove } = temporaryDirectory();
      onTestFinished(remove);
      const { program } = await start(kind, path);
      const pid = engineOf(program.child.pid ?? 0);
      program.child.kill('SIGKILL');
      await until('the end of the engine', async () => !existsSync(`/proc/${pid}`));
    });

    it('works below a directory of the system', async (context) => {
      await needSandbox(context, kind);
      const parent = await mkdtemp('/usr/local/millrace-test-').catch(() => undefined);
      if (parent === undefined) return context.skip('this user may not write to /usr/local');
      onTestFinished(() => rm(parent, { recursive: true, force: true }));
      const { program, sql } = await start(kind, join(parent, 'data'));
      await sql('CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n');
      if (kind !== 'bubblewrap') return;
      const seen = readdirSync(`/proc/${engineOf(program.child.pid ?? 0)}/root${parent}/data`);
      expect(seen).not.toContain('clickhouse-password');
    });

    it('works for a program and a Node.js in somebody’s home', async (context) => {
      await needSandbox(context, kind);
      const { path, remove } = temporaryDirectory();
      onTestFinished(remove);
      const bin = join(path, '.nvm/versions/node/v1.2.3/bin');
      const root = join(path, 'my projects/millrace');
      for (const directory of [bin, root]) mkdirSync(directory, { recursive: true });
      const origin = fileURLToPath(new URL('../..', import.meta.url));
      copyFileSync(process.execPath, join(bin, 'node'));
      for (const name of ['dist', 'schemas', 'package.json'])
        cpSync(join(origin, name), join(root, name), { recursive: true });
      symlinkSync(join(origin, 'node_modules'), join(root, 'node_modules'));
      const [port] = await freePorts(1);
      const url = `http://127.0.0.1:${port}`;
      const child = fork(
        join(root, 'dist/main.js'),
        ['clickhouse', '--clickhouse-sandbox', kind, '--clickhouse-url', url],
        { execPath: join(bin, 'node'), cwd: root, env: { PATH: process.env.PATH }, silent: true },
      );
      const exited = once(child, 'exit');
      onTestFinished(() => void child.kill('SIGKILL'));
      let log = '';
      child.stderr?.on('data', (data) => {
        log += data;
      });
      child.stdout?.resume();
      const ready = once(child, 'message');
      await Promise.race([ready, exited.then(() => expect.fail(log))]);
      expect((await fetch(`${url}/ping`)).ok).toBe(true);
      const pid = engineOf(child.pid ?? 0);
      if (kind === 'bubblewrap') {
        expect(readdirSync(`/proc/${pid}/root${root}`).sort()).toEqual([
          'data',
          'dist',
          'node_modules',
          'package.json',
        ]);
        expect(readdirSync(`/proc/${pid}/root${dirname(bin)}`)).toEqual(['bin']);
      }
      child.kill('SIGTERM');
      expect(await exited).toEqual([0, null]);
    });
  });
}

it('says what is missing where a sandbox does not work', async () => {
  const { path, remove } = temporaryDirectory();
  onTestFinished(remove);
  for (const kind of ['bubblewrap', 'landlock', 'systemd']) {
    const flags = ['--data-dir', path, '--clickhouse-sandbox', kind];
    // Node.js is given by its path; nothing else is to be found.
    const { code, stderr } = await runProgram(['clickhouse', ...flags], {
      PATH: path,
      INVOCATION_ID: undefined,
    });
    expect(code).toBe(69);
    expect(stderr).toContain(`the sandbox ${kind} does not work here`);
    expect(stderr).toContain(
      { bubblewrap: 'apt install', landlock: 'setpriv', systemd: 'ProtectSystem' }[kind],
    );
  }
});

it('is what check says, where there may be an embedded ClickHouse', async () => {
  const { path, remove } = temporaryDirectory();
  onTestFinished(remove);
  const check = async (...flags: string[]) =>
    (await runProgram(['check', '--data-dir', path, ...flags])).stdout;
  const name = 'the sandbox of the embedded ClickHouse';
  expect(await check('--clickhouse-sandbox', 'none')).toContain(
    `todo  ${name} is none: --clickhouse-sandbox`,
  );
  expect(await check('--clickhouse-sandbox', 'auto')).toMatch(
    new RegExp(`^(ok|todo) +${name} is [a-z]+: `, 'm'),
  );
  expect(await check('--no-embedded-clickhouse')).not.toContain(name);
  expect(await check('--clickhouse-url', 'http://192.0.2.1:8123')).not.toContain(name);
});
