import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { type OptionKey, options } from '../../../src/config/options.ts';
import { OperatorError } from '../../../src/errors.ts';

const allowed = Object.keys(options) as OptionKey[];
const directory = mkdtempSync(join(tmpdir(), 'millrace-config-'));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function faultsOf(sources: Parameters<typeof loadConfig>[0]): string {
  try {
    loadConfig(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError);
    expect((error as OperatorError).exitCode).toBe(78);
    return (error as OperatorError).message;
  }
  throw new Error('the configuration was accepted');
}

describe('a moment', () => {
  const since = (value: string) => loadConfig({ flags: { since: value }, env: {}, allowed }).config.since;

  test('is so long ago, or a time with its zone', () => {
    const before = Date.now();
    const ago = since('90m') ?? 0;
    expect(ago).toBeGreaterThanOrEqual(before - 90 * 60_000);
    expect(ago).toBeLessThanOrEqual(Date.now() - 90 * 60_000);
    expect(since('2026-01-31T08:00:00Z')).toBe(Date.UTC(2026, 0, 31, 8));
    expect(since('2026-01-31T08:00:00.250+02:00')).toBe(Date.UTC(2026, 0, 31, 6, 0, 0, 250));
    for (const bad of ['yesterday', '2026-01-31', '2026-01-31T08:00:00', '2026-13-01T00:00:00Z'])
      expect(faultsOf({ flags: { since: bad }, env: {}, allowed })).toContain(
        '--since must be a duration ago',
      );
  });
});

describe('precedence', () => {
  test('a flag comes before a variable, a variable before the file, the file before the default', () => {
    const config = file('all.yaml', 'workers: 2\nbatch-rows: 2\nbatch-age: 2s\n');
    const env = { MILLRACE_WORKERS: '3', MILLRACE_BATCH_ROWS: '3', MILLRACE_CONFIG: config };
    const loaded = loadConfig({ flags: { workers: '4' }, env, allowed });
    expect(loaded.config).toMatchObject({
      workers: 4,
      batchRows: 3,
      batchAge: 2_000,
      batchBytes: 32 * 1024 ** 2,
    });
    expect(loaded.origins).toMatchObject({
      workers: 'flag',
      batchRows: 'environment',
      batchAge: 'file',
      batchBytes: 'default',
    });
  });

  test('every default is valid', () => {
    const { config } = loadConfig({ flags: {}, env: {}, allowed });
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(config.clickhouseUrl.href).toBe('http://127.0.0.1:8123/');
    expect(config.kafkaBrokers).toEqual([{ host: '127.0.0.1', port: 9092 }]);
  });

  test('JSON is a file format too, and numbers and booleans need no quotes', () => {
    const path = file(
      'all.json',
      '{"workers": 7, "kafka-create-topic": false, "kafka-brokers": ["a:1", "[::1]:2"]}',
    );
    const { config } = loadConfig({ flags: { config: path }, env: {}, allowed });
    expect(config.workers).toBe(7);
    expect(config.kafkaCreateTopic).toBe(false);
    expect(config.kafkaBrokers).toEqual([
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
    ]);
  });
});

describe('faults', () => {
  test('are all reported at once, each with where it is', () => {
    const config = file('bad.yaml', 'batch-age: soon\nbatch-agee: 1s\n');
    const message = faultsOf({
      flags: { listen: 'nowhere', config, 'no-such': true, 'batch-rows': true },
      env: { MILLRACE_WORKERS: '0', MILLRACE_WORKRES: '1' },
      allowed,
    });
    expect(message).toContain('the configuration has 7 faults');
    expect(message).toContain('--listen must be host:port');
    expect(message).toContain('--batch-rows needs a value: --batch-rows <n>');
    expect(message).toMatch(/--no-such is not an option here; the nearest one is --/);
    expect(message).toContain('MILLRACE_WORKERS must be a whole number from 1 to 256');
    expect(message).toContain('MILLRACE_WORKRES is not an option here; the nearest one is MILLRACE_WORKERS');
    expect(message).toContain('batch-age in');
    expect(message).toContain('the nearest one is batch-age');
  });

  test('a flag of another command is named as such', () => {
    const message = faultsOf({ flags: { workers: '2' }, env: {}, allowed: ['listen'] });
    expect(message).toContain('--workers is an option of other commands, not of this one');
  });

  test('a missing file is named', () => {
    expect(faultsOf({ flags: { config: '/does/not/exist.yaml' }, env: {}, allowed })).toContain(
      '/does/not/exist.yaml',
    );
  });

  test('a URL must not carry a password', () => {
    const message = faultsOf({ flags: { 'clickhouse-url': 'http://u:hunter2@host:8123' }, env: {}, allowed });
    expect(message).toContain('must not contain a user or a password');
    expect(message).not.toContain('hunter2');
  });
});

describe('secrets', () => {
  test('come from a variable or from a file that a variable names', () => {
    const path = file('password', 'hunter2\n');
    const fromFile = loadConfig({ flags: {}, env: { MILLRACE_CLICKHOUSE_PASSWORD_FILE: path }, allowed });
    expect(fromFile.config.clickhousePassword).toBe('hunter2');
    const fromVariable = loadConfig({ flags: {}, env: { MILLRACE_CLICKHOUSE_PASSWORD: 'hunter3' }, allowed });
    expect(fromVariable.config.clickhousePassword).toBe('hunter3');
  });

  test('are not there, empty or given: three things', () => {
    expect(loadConfig({ flags: {}, env: {}, allowed }).config.clickhousePassword).toBe(undefined);
    const empty = loadConfig({ flags: {}, env: { MILLRACE_CLICKHOUSE_PASSWORD: '' }, allowed });
    expect(empty.config.clickhousePassword).toBe('');
    const path = file('empty-password', '\n');
    const message = faultsOf({ flags: {}, env: { MILLRACE_CLICKHOUSE_READER_PASSWORD_FILE: path }, allowed });
    expect(message).toContain(`MILLRACE_CLICKHOUSE_READER_PASSWORD_FILE: ${path} is empty`);
  });

  test('are refused as a flag and in the file, without being shown', () => {
    const config = file('secret.yaml', 'clickhouse-password: hunter2\n');
    const message = faultsOf({ flags: { 'clickhouse-password': 'hunter3', config }, env: {}, allowed });
    expect(message).toContain('MILLRACE_CLICKHOUSE_PASSWORD_FILE');
    expect(message).not.toMatch(/hunter/);
  });
});

describe('values', () => {
  test.each([
    ['max-body-bytes', '64KiB', 'maxBodyBytes', 65_536],
    ['max-body-bytes', '2048', 'maxBodyBytes', 2_048],
    ['batch-age', '250ms', 'batchAge', 250],
    ['batch-age', '1.5s', 'batchAge', 1_500],
    ['log-retention', '7d', 'logRetention', 604_800_000],
    ['no-embedded-clickhouse', true, 'embeddedClickhouse', false],
    ['embedded-clickhouse', true, 'embeddedClickhouse', true],
    ['since', '2026-01-31T08:00:00Z', 'since', Date.UTC(2026, 0, 31, 8)],
    ['until', '2026-01-31T08:00:00.5+02:00', 'until', Date.UTC(2026, 0, 31, 6, 0, 0, 500)],
  ] as const)('--%s %s is %s = %s', (flag, value, key, expected) => {
    expect(loadConfig({ flags: { [flag]: value }, env: {}, allowed }).config[key]).toBe(expected);
  });

  test('a time may be a duration ago', () => {
    const before = Date.now();
    const { since } = loadConfig({ flags: { since: '1h' }, env: {}, allowed }).config;
    expect(since).toBeGreaterThanOrEqual(before - 3_600_000);
    expect(since).toBeLessThanOrEqual(Date.now() - 3_600_000);
  });

  test.each([
    ['offset', '12', { from: 12, to: 12 }],
    ['offset', '12-40', { from: 12, to: 40 }],
  ])('--%s %s is a range', (flag, value, expected) => {
    expect(loadConfig({ flags: { [flag]: value }, env: {}, allowed }).config.offset).toEqual(expected);
  });

  test.each([
    ['max-body-bytes', '5MB'],
    ['batch-age', '10'],
    ['listen', '127.0.0.1'],
    ['listen', '127.0.0.1:70000'],
    ['buffer', 'rabbitmq'],
    ['workers', '1.5'],
    ['workers', ''],
    ['clickhouse-url', 'ftp://host'],
    ['clickhouse-url', 'http://host/path'],
    ['kafka-brokers', 'a:1,b'],
    ['since', 'yesterday'],
    ['since', '2026-01-31'],
    ['until', '2026-13-31T08:00:00Z'],
    ['offset', '9-3'],
    ['offset', '-3'],
  ] as const)('--%s %s is refused', (flag, value) => {
    expect(faultsOf({ flags: { [flag]: value }, env: {}, allowed })).toContain(`--${flag} must`);
  });
});
