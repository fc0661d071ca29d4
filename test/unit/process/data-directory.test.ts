import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findOpenEntries, prepareDataDirectory } from '../../../src/process/data-directory.ts';
import { temporaryDirectory } from '../../support/program.ts';

const directory = temporaryDirectory();
let count = 0;

afterAll(() => directory.remove());

function freshPath(): string {
  count += 1;
  return join(directory.path, String(count));
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

/** A data directory as an earlier version left it. */
function openDirectory(): string {
  const path = freshPath();
  const log = join(path, 'log', 'events');
  mkdirSync(log, { recursive: true });
  for (const name of ['spool', 'clickhouse', 'clickhouse.inserts', 'backups'])
    mkdirSync(join(path, name), { mode: 0o700 });
  for (const name of ['data.mdb', 'lock.mdb']) writeFileSync(join(log, name), name);
  for (const name of ['.', 'log', 'log/events', 'spool', 'clickhouse', 'backups'])
    chmodSync(join(path, name), 0o755);
  for (const name of ['data.mdb', 'lock.mdb']) chmodSync(join(log, name), 0o644);
  return path;
}

test('a new one is for its user alone, whatever the umask', () => {
  const path = join(freshPath(), 'within');
  const before = process.umask(0);
  try {
    expect(prepareDataDirectory(path)).toBe(path);
  } finally {
    process.umask(before);
  }
  expect(modeOf(path)).toBe(0o700);
});

test('one that others may read is tightened, and that is told once', () => {
  const path = openDirectory();
  const told: unknown[] = [];
  const log = { warn: (...args: unknown[]) => void told.push(args) };
  expect(findOpenEntries(path)).toHaveLength(8);
  prepareDataDirectory(path, log as never);
  expect(findOpenEntries(path)).toEqual([]);
  for (const name of ['.', 'log', 'log/events', 'spool', 'clickhouse', 'clickhouse.inserts', 'backups'])
    expect([name, modeOf(join(path, name))]).toEqual([name, 0o700]);
  for (const name of ['data.mdb', 'lock.mdb']) expect(modeOf(join(path, 'log/events', name))).toBe(0o600);
  expect(readFileSync(join(path, 'log/events/data.mdb'), 'utf8')).toBe('data.mdb');
  prepareDataDirectory(path, log as never);
  expect(told).toHaveLength(1);
  expect(JSON.stringify(told)).toContain('others could read');
});

test('what is not of Millrace stays as it is', () => {
  const path = openDirectory();
  for (const name of ['mine', 'log/kafka-0']) {
    mkdirSync(join(path, name));
    chmodSync(join(path, name), 0o755);
  }
  writeFileSync(join(path, 'log', 'file'), '');
  prepareDataDirectory(path);
  for (const name of ['mine', 'log/kafka-0']) expect(modeOf(join(path, name))).toBe(0o755);
});

test('the path may be a link, and is told without it', () => {
  const target = openDirectory();
  const path = freshPath();
  symlinkSync(target, path);
  expect(prepareDataDirectory(path)).toBe(target);
  expect(modeOf(target)).toBe(0o700);
});

describe('refused with exit 78, and nothing is changed behind it:', () => {
  test.each(['log', 'spool', 'clickhouse', 'clickhouse.inserts', 'backups', 'log/events'])(
    'a link in the place of %s',
    (name) => {
      const target = freshPath();
      mkdirSync(target);
      chmodSync(target, 0o755);
      const path = freshPath();
      mkdirSync(join(path, name, '..'), { recursive: true });
      symlinkSync(target, join(path, name));
      expect(() => prepareDataDirectory(path)).toThrow(
        expect.objectContaining({
          exitCode: 78,
          message: expect.stringContaining(`${name} is a symbolic link`),
        }),
      );
      expect(modeOf(target)).toBe(0o755);
    },
  );

  test('a link in the place of a file of the log', () => {
    const path = freshPath();
    const target = join(directory.path, 'target');
    writeFileSync(target, '');
    mkdirSync(join(path, 'log', 'events'), { recursive: true });
    symlinkSync(target, join(path, 'log', 'events', 'data.mdb'));
    expect(() => prepareDataDirectory(path)).toThrow(/data\.mdb is a symbolic link/);
  });

  test('a file in the place of a directory', () => {
    const path = freshPath();
    mkdirSync(path);
    writeFileSync(join(path, 'clickhouse'), '');
    expect(() => prepareDataDirectory(path)).toThrow(/clickhouse is not a directory/);
  });

  test.skipIf(process.geteuid?.() !== 0).each(['.', 'log', 'log/events', 'log/events/data.mdb'])(
    "another user's %s",
    (name) => {
      const path = openDirectory();
      chownSync(join(path, name), 65_534, 65_534);
      expect(() => prepareDataDirectory(path)).toThrow(
        expect.objectContaining({ exitCode: 78, message: expect.stringContaining('belongs to user 65534') }),
      );
    },
  );
});

test('one that cannot be made: exit 69', () => {
  const file = freshPath();
  writeFileSync(file, '');
  expect(() => prepareDataDirectory(join(file, 'data'))).toThrow(
    expect.objectContaining({ exitCode: 69, message: expect.stringContaining('--data-dir') }),
  );
});
