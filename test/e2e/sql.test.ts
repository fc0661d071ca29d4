import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { type Finished, freePorts, runProgram, temporaryDirectory, until } from '../support/program.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const directory = temporaryDirectory();
let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
});

afterAll(async () => {
  // It may still be at a statement that nobody waits for.
  await engine?.stop('SIGKILL');
  await engine?.dispose();
  directory.remove();
});

const target = () => ['--clickhouse-url', engine.url, '--data-dir', join(directory.path, 'none')];

function sql(...args: string[]): Promise<Finished> {
  return runProgram(['sql', ...target(), ...args]);
}

/** With text, or nothing, on standard input. */
function sqlWithInput(input: string | Buffer, ...args: string[]): Promise<Finished> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [main, 'sql', ...target(), ...args], (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

function fileOf(text: string): string {
  const path = join(directory.path, 'query.sql');
  writeFileSync(path, text);
  return path;
}

describe('a statement', () => {
  test('prints its result, with names for programs', async () => {
    const result = await sql("SELECT 1 AS a, 'x' AS b");
    expect(result).toEqual({ code: 0, stdout: 'a\tb\n1\tx\n', stderr: '' });
  });

  test('in any format, by two names of the option', async () => {
    expect((await sql('SELECT 1 AS a', '--format', 'CSV')).stdout).toBe('1\n');
    expect((await sql('SELECT 1 AS a', '--output-format=JSONEachRow')).stdout).toBe('{"a":1}\n');
    expect((await sql('SELECT 1 AS a FORMAT TSV', '--format', 'CSV')).stdout).toBe('1\n');
  });

  test('may give bytes that are no text', async () => {
    const args = ['sql', ...target(), "SELECT unhex('00FF9B0A1B') AS x FORMAT RawBLOB"];
    const { stdout } = spawnSync(process.execPath, [main, ...args]);
    expect(stdout.toString('hex')).toBe('00ff9b0a1b');
  });

  test('that ClickHouse refuses: exit 1, its message', async () => {
    const { code, stdout, stderr } = await sql('SELECT nonsense');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^millrace: Code: 47\..*nonsense/);
  });

  test('that fails in the middle of its result: exit 1, a message', async () => {
    const { code, stdout, stderr } = await sql(
      "SELECT number, throwIf(number = 1900000, 'too far') FROM numbers(2000000) SETTINGS max_block_size = 1000",
      ...['--format', 'TSV'],
    );
    expect(stdout).toMatch(/^0\t0\n1\t0\n/);
    expect(stderr).toContain('too far');
    expect(code).toBe(1);
  });

  test('of any length takes no memory, and ends when nobody reads on', async () => {
    const child = spawn(process.execPath, [
      '--max-old-space-size=64',
      main,
      ...['sql', ...target(), 'SELECT number, repeat(toString(number), 20) FROM system.numbers'],
      ...['--format', 'TSV'],
    ]);
    let bytes = 0;
    let peak = 0;
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (data: Buffer) => {
        bytes += data.length;
        peak = Math.max(peak, residentBytes(child.pid));
        if (bytes > 300_000_000) {
          child.stdout.destroy();
          resolve();
        }
      });
      child.once('exit', () => resolve());
    });
    const code = child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)));
    expect(bytes).toBeGreaterThan(300_000_000);
    expect(peak).toBeLessThan(250_000_000);
    expect(code).toBe(0);
  });

  test('where nobody answers: exit 69', async () => {
    const [port] = await freePorts(1);
    const { code, stderr } = await runProgram([
      'sql',
      'SELECT 1',
      '--clickhouse-url',
      `http://127.0.0.1:${port}`,
    ]);
    expect(code).toBe(69);
    expect(stderr).toContain('--clickhouse-url');
  });

  test('is always posted, so that it may change things', async () => {
    const { code } = await sql(
      'CREATE TABLE posted (x Int8) ENGINE = Memory; INSERT INTO posted VALUES (7);',
    );
    expect(code).toBe(0);
    expect((await sql('SELECT x FROM posted', '--format', 'TSV')).stdout).toBe('7\n');
  });
});

function residentBytes(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

describe('several statements', () => {
  test('of a file run one after the other', async () => {
    const file = fileOf(`-- a report; of two
      SELECT ';' AS a; /* ; /* ; */ */
      SELECT $x$;$x$ AS b; // ;`);
    expect(await sql('--file', file)).toEqual({ code: 0, stdout: 'a\n;\nb\n;\n', stderr: '' });
  });

  test('stop at the first that fails, and say where', async () => {
    const file = fileOf('SELECT 1;\n\nSELECT nonsense;\nSELECT 3;');
    const { code, stdout, stderr } = await sql('--file', file, '--format', 'TSV');
    expect([code, stdout]).toEqual([1, '1\n']);
    expect(stderr).toContain('statement 2 of 3, in line 3: ');
  });

  test('come from standard input, with or without --file -', async () => {
    expect((await sqlWithInput('SELECT 1; SELECT 2', '--format', 'TSV')).stdout).toBe('1\n2\n');
    expect((await sqlWithInput('SELECT 3', '--format', 'TSV', '--file', '-')).stdout).toBe('3\n');
  });

  test('an INSERT takes its data from the rest', async () => {
    await sql('CREATE TABLE data (s String) ENGINE = Memory');
    const { code, stderr } = await sqlWithInput('INSERT INTO data FORMAT CSV\n"a;b"\n"it\'s;"\n');
    expect([code, stderr]).toEqual([0, '']);
    expect((await sql('SELECT s FROM data ORDER BY s', '--format', 'CSV')).stdout).toBe('"a;b"\n"it\'s;"\n');
  });

  test.each([
    ['no statement', ['--file', '/dev/null'], 'there is no statement'],
    ['a file that is not there', ['--file', '/no/such.sql'], '/no/such.sql'],
    ['a statement and a file', ['SELECT 1', '--file', 'x'], 'not both'],
    ['two statements as arguments', ['SELECT', '1'], "'sql' takes"],
  ])('%s: exit 2', async (_, args, message) => {
    const { code, stderr } = await sql(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  test('what is not UTF-8: exit 2', async () => {
    expect((await sqlWithInput(Buffer.from('SELECT \xff', 'latin1'))).code).toBe(2);
  });
});

describe('users', () => {
  const owner = 'o'.repeat(43);
  const reader = 'r'.repeat(43);
  /** What a ClickHouse was asked with, that lets nobody change anything. */
  const asked: { user: unknown; key: unknown; method: unknown }[] = [];
  const server = createServer((request, response) => {
    const { 'x-clickhouse-user': user, 'x-clickhouse-key': key } = request.headers;
    asked.push({ user, key, method: request.method });
    response.writeHead(500, { 'x-clickhouse-exception-code': '497' });
    response.end('Code: 497. DB::Exception: not enough privileges \u001b[2J (ACCESS_DENIED)');
  });
  let url: string;
  const dataDir = join(directory.path, 'with-files');

  beforeAll(async () => {
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'clickhouse-password'), owner, { mode: 0o600 });
    writeFileSync(join(dataDir, 'clickhouse-reader-password'), reader, { mode: 0o600 });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(() => server.close());

  test('the reader, unless another is named; a refusal says which one may', async () => {
    const flags = ['sql', 'DROP TABLE events', '--clickhouse-url', url, '--data-dir', dataDir];
    const first = await runProgram(flags);
    expect(first.code).toBe(1);
    expect(first.stderr).toContain('--clickhouse-user default may also change data');
    expect(first.stderr).toContain('\\x1B[2J');
    const second = await runProgram([...flags, '--clickhouse-user', 'default']);
    expect(second.stderr).not.toContain('has the right');
    expect(asked).toEqual([
      { user: 'reader', key: reader, method: 'POST' },
      { user: 'default', key: owner, method: 'POST' },
    ]);
  });

  test('a password that is given', async () => {
    const locked = await startTestEngine({ password: 'correct' });
    try {
      const flags = [
        'sql',
        'SELECT 1',
        '--format',
        'TSV',
        '--clickhouse-url',
        locked.url,
        '--data-dir',
        dataDir,
      ];
      const right = await runProgram(flags, { MILLRACE_CLICKHOUSE_PASSWORD: 'correct' });
      expect(right).toEqual({ code: 0, stdout: '1\n', stderr: '' });
      const wrong = await runProgram(flags, { MILLRACE_CLICKHOUSE_PASSWORD: 'wrong-password' });
      expect(wrong.code).toBe(1);
      expect(wrong.stderr).toMatch(/Authentication failed[\s\S]*MILLRACE_CLICKHOUSE_PASSWORD/);
      expect(wrong.stderr).not.toContain('wrong-password');
    } finally {
      await locked.dispose();
    }
  });
});

const hasScript = spawnSync('script', ['--version']).status === 0;
if (!hasScript) console.warn('script of util-linux is not installed: nothing is tested on a terminal');

describe.skipIf(!hasScript)('on a terminal', () => {
  /** A pseudo-terminal with the program in it. */
  function openTerminal(...args: string[]) {
    const words = [process.execPath, main, 'sql', ...target(), ...args].map(
      (word) => `'${word.replaceAll("'", "'\\''")}'`,
    );
    const child = spawn('script', ['-qec', words.join(' '), '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', XDG_STATE_HOME: join(directory.path, 'state') },
    });
    let screen = '';
    child.stdout.on('data', (data) => {
      screen += String(data);
    });
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return {
      exited,
      type: (text: string) => child.stdin.write(text),
      /** Waits for what is shown since the last time. */
      async shows(pattern: RegExp) {
        await until(`${pattern} on the terminal`, async () => pattern.test(screen), 30_000).catch((error) => {
          throw new Error(`${error}\n${JSON.stringify(screen)}`);
        });
        screen = '';
      },
    };
  }

  test('results are tables, and what is stored cannot steer it', async () => {
    const terminal = openTerminal("SELECT concat('a', unhex('1B'), '[2J', unhex('C29B')) AS evil");
    await terminal.shows(/┌─evil.*a\\x1B\[2J\\x9B/s);
    expect(await terminal.exited).toBe(0);
  });

  test('a prompt takes statements of several lines, keeps a history, and goes on after an error', async () => {
    const terminal = openTerminal();
    await terminal.shows(/millrace> /);
    terminal.type('SELECT 40 +\r');
    await terminal.shows(/-> /);
    terminal.type('2 AS answer;\r');
    await terminal.shows(/answer[\s\S]*42[\s\S]*millrace> /);
    terminal.type('SELECT nonsense;\r');
    await terminal.shows(/Code: 47[\s\S]*millrace> /);
    terminal.type("SELECT 'given up\r");
    await terminal.shows(/-> /);
    terminal.type('\u0003');
    await terminal.shows(/millrace> /);
    terminal.type('SELECT count(sleepEachRow(1)) FROM numbers(60) SETTINGS max_block_size = 1;\r');
    await terminal.shows(/size = 1;/);
    terminal.type('\u0003');
    await terminal.shows(/stopped[\s\S]*millrace> /);
    terminal.type('SELECT 6 * 7 AS again;\r');
    await terminal.shows(/again[\s\S]*42[\s\S]*millrace> /);
    terminal.type('CREATE USER u IDENTIFIED BY \u0027x\u0027;\r');
    await terminal.shows(/Code: [\s\S]*millrace> /);
    terminal.type('\u0004');
    expect(await terminal.exited).toBe(0);

    const file = join(directory.path, 'state', 'millrace', 'sql-history');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toMatch(/^SELECT 40 \+\n2 AS answer;\n/);
    expect(readFileSync(file, 'utf8')).not.toContain('IDENTIFIED');
    const next = openTerminal();
    await next.shows(/millrace> /);
    next.type('\u001b[A\r');
    await next.shows(/again[\s\S]*42/);
    next.type('\u0004');
    expect(await next.exited).toBe(0);
  });
});
