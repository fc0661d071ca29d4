import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { freePorts, launchProgram, runProgram, temporaryDirectory, until } from '../support/program.ts';

const directory = temporaryDirectory();
let engine: TestEngine;
let port: number | undefined;

beforeAll(async () => {
  engine = await startTestEngine({ password: 'right', databases: ['stream_bad', 'check_bad'] });
  [port] = await freePorts(1);
});

afterAll(async () => {
  await engine?.dispose();
  directory.remove();
});

function schemaWith(column: string): string {
  const path = join(directory.path, `${Buffer.from(column).toString('hex')}.json`);
  const properties = { event: { type: 'string' }, x: { type: 'string', column } };
  writeFileSync(path, JSON.stringify({ type: 'object', required: ['event'], properties }));
  return path;
}

function run(command: 'stream' | 'check', flags: readonly string[], password: string) {
  const common = ['--clickhouse-url', engine.url, '--data-dir', join(directory.path, 'data')];
  const own = command === 'stream' ? ['--stream-listen', `127.0.0.1:${port}`] : ['--create'];
  return runProgram([command, ...common, ...own, ...flags], { MILLRACE_CLICKHOUSE_PASSWORD: password });
}

describe.each(['stream', 'check'] as const)('%s ends with exit 78, and says what to change', (command) => {
  test('when the password is wrong', async () => {
    const { code, stdout, stderr } = await run(command, [], 'wrong');
    expect(stdout + stderr).toMatch(/Authentication failed[\s\S]*MILLRACE_CLICKHOUSE_PASSWORD/);
    expect(code).toBe(78);
  });

  test('when the file of the password has another one, and names the file', async () => {
    const dataDir = join(directory.path, `${command}-file`);
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'clickhouse-password'), 'another password of 16'.replaceAll(' ', '-'), {
      mode: 0o600,
    });
    const own = command === 'stream' ? ['--stream-listen', `127.0.0.1:${port}`] : ['--create'];
    const flags = ['--clickhouse-url', engine.url, '--data-dir', dataDir, ...own];
    const { code, stdout, stderr } = await runProgram([command, ...flags]);
    expect(stdout + stderr).toContain(`the password in ${dataDir}/clickhouse-password`);
    expect(stdout + stderr).not.toContain('another-password');
    expect(code).toBe(78);
  });

  test('when the user is unknown', async () => {
    const { code, stdout, stderr } = await run(command, ['--clickhouse-user', 'nobody'], 'right');
    expect(stdout + stderr).toMatch(/nobody[\s\S]*--clickhouse-user/);
    expect(code).toBe(78);
  });

  test.each([
    'NoSuchType',
    'Int8(',
    'Nullable(Array(String))',
    'Decimal(1000, 2)',
    'LowCardinality(Float64)',
    'FixedString(0)',
    'Enum8()',
    'Array',
    "DateTime('Mars/Olympus')",
  ])('when the schema has the column type %s', async (column) => {
    const flags = ['--schema', schemaWith(column), '--clickhouse-database', `${command}_bad`];
    const { code, stdout, stderr } = await run(command, flags, 'right');
    expect(stdout + stderr).toMatch(/ClickHouse refuses: [\s\S]*--schema/);
    expect(code).toBe(78);
  });

  test('when the cluster does not exist', async () => {
    const flags = ['--clickhouse-cluster', 'nowhere'];
    const { code, stdout, stderr } = await run(command, flags, 'right');
    expect(stdout + stderr).toMatch(/(nowhere|ReplicatedMergeTree)[\s\S]*--clickhouse-cluster/);
    expect(code).toBe(78);
  });
});

test('every client finds the passwords in the data directory, and none is sent elsewhere', async () => {
  const dataDir = join(directory.path, 'with-files');
  const password = 'o'.repeat(43);
  const other = await startTestEngine({ password, dataDir });
  try {
    writeFileSync(join(dataDir, 'clickhouse-password'), `${password}\n`, { mode: 0o600 });
    const flags = ['--clickhouse-url', other.url, '--data-dir', dataDir];
    expect((await runProgram(['check', ...flags, '--create'])).code).toBe(0);
    for (const command of [
      ['tail', '--no-follow'],
      ['dead-letters', 'list'],
    ]) {
      const { code, stderr } = await runProgram([...command, ...flags]);
      expect([code, stderr]).toEqual([0, expect.not.stringContaining('refuses')]);
    }
    // Another directory: nobody guesses.
    const elsewhere = ['--clickhouse-url', other.url, '--data-dir', join(directory.path, 'none')];
    const { code, stderr } = await runProgram(['tail', '--no-follow', ...elsewhere]);
    expect([code, stderr]).toEqual([69, expect.stringMatching(/without a password[\s\S]*--data-dir/)]);
  } finally {
    await other.stop();
  }
});

test('a ClickHouse that does not answer is waited for', async () => {
  const program = launchProgram([
    'stream',
    ...['--clickhouse-url', 'http://127.0.0.1:1', '--data-dir', join(directory.path, 'waiting')],
    ...['--stream-listen', `127.0.0.1:${port}`],
  ]);
  await until('the warning', async () => program.output.stderr.includes('waiting for ClickHouse'));
  expect(program.child.exitCode).toBe(null);
  await program.kill();
});
