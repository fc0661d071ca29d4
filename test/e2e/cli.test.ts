import { describe, expect, test } from 'vitest';
import { runProgram } from '../support/program.ts';

const commands = [
  ...[
    'start',
    'collect',
    'stream',
    'clickhouse',
    'check',
    'verify',
    'sql',
    'tail',
    'dead-letters',
    'replay',
    'bench',
  ],
];

describe('help', () => {
  test('lists every command', async () => {
    const { code, stdout, stderr } = await runProgram(['--help']);
    expect([code, stderr]).toEqual([0, '']);
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(stdout).toContain('69 a dependency is unavailable');
  });

  test.each(commands)('%s --help shows its options with their defaults, and examples', async (command) => {
    const { code, stdout } = await runProgram([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: millrace ${command}`);
    expect(stdout).toContain(`  millrace ${command}`);
    expect(stdout).toContain('Default: ');
  });

  test.each([
    ['verify', '98 loss, duplicates'],
    ['dead-letters', '1 failure, or ClickHouse still refuses some'],
    ['replay', '1 events were rejected'],
    ['bench', '98 an acknowledged event is lost'],
  ])('%s --help says what its exit codes mean', async (command, meaning) => {
    const { stdout } = await runProgram([command, '--help']);
    expect(stdout.replaceAll('\n', ' ')).toContain(meaning);
  });

  test('bench --help shows all its forms', async () => {
    const { stdout } = await runProgram(['bench', '--help']);
    for (const form of ['bench', 'bench max', 'bench compare <url-A> <url-B>'])
      expect(stdout).toMatch(new RegExp(`^(Usage:|      ) millrace ${form} \\[options\\]$`, 'm'));
  });

  test('--version is the version of package.json', async () => {
    const { version } = (await import('../../package.json', { with: { type: 'json' } })).default;
    expect((await runProgram(['--version'])).stdout).toBe(`${version}\n`);
  });
});

describe('wrong use', () => {
  test('an unknown command names the nearest: exit 2', async () => {
    const { code, stderr } = await runProgram(['colect']);
    expect(code).toBe(2);
    expect(stderr).toContain("the nearest one is 'collect'");
  });

  test('a missing argument: exit 2', async () => {
    const { code, stderr } = await runProgram(['replay']);
    expect(code).toBe(2);
    expect(stderr).toContain("'replay' needs <file>");
  });

  test('no command: the help, exit 2', async () => {
    const { code, stdout } = await runProgram([]);
    expect(code).toBe(2);
    expect(stdout).toContain('Usage: millrace');
  });

  test('bad options: all of them at once, exit 78, before anything starts', async () => {
    const flags = ['--listen', 'x', '--worker', '2', '--batch-age', 'soon'];
    const { code, stderr } = await runProgram(['start', ...flags], { MILLRACE_BUFFER: 'tape' });
    expect(code).toBe(78);
    expect(stderr).toContain('4 faults');
    for (const part of [
      '--listen must',
      'nearest one is --workers',
      '--batch-age must',
      'MILLRACE_BUFFER must',
    ]) {
      expect(stderr).toContain(part);
    }
  });

  test.each(['start', 'collect', 'check'])(
    '%s with a spool beside the embedded log: exit 78',
    async (command) => {
      const { code, stderr } = await runProgram([command, '--on-outage', 'spool']);
      expect(code).toBe(78);
      expect(stderr).toContain('--on-outage spool needs --buffer kafka');
    },
  );

  test('a schema that cannot be read: exit 78, names the file', async () => {
    const { code, stderr } = await runProgram(['start', '--schema', '/no/such/schema.json']);
    expect(code).toBe(78);
    expect(stderr).toContain('/no/such/schema.json');
  });
});
