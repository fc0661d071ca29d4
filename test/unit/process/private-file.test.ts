import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createPrivateFile, readPrivateFile } from '../../../src/process/data-directory.ts';
import { temporaryDirectory } from '../../support/program.ts';

const directory = temporaryDirectory();
let count = 0;

afterAll(() => directory.remove());

function freshPath(): string {
  count += 1;
  return join(directory.path, String(count));
}

test('what is made is read again, whatever the umask', () => {
  const path = freshPath();
  const before = process.umask(0);
  try {
    expect(createPrivateFile(path, 'first\n')).toBe(true);
  } finally {
    process.umask(before);
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readPrivateFile(path, 100)).toBe('first\n');
});

test('what is there stays as it is, and nothing is left beside it', () => {
  const path = freshPath();
  createPrivateFile(path, 'first');
  expect(createPrivateFile(path, 'second')).toBe(false);
  expect(readPrivateFile(path, 100)).toBe('first');
  expect(readdirSync(directory.path).filter((name) => name.includes('-'))).toEqual([]);
});

test('nothing is written through a link', () => {
  const target = freshPath();
  const path = freshPath();
  symlinkSync(target, path);
  expect(createPrivateFile(path, 'text')).toBe(false);
  expect(readPrivateFile(target, 100)).toBe(undefined);
});

test.each([
  ['a link', /is a symbolic link/, (path: string) => symlinkSync('/dev/null', path)],
  ['a directory', /is not a regular file/, (path: string) => mkdirSync(path)],
  ['a named pipe', /is not a regular file/, (path: string) => execFileSync('mkfifo', [path])],
  [
    'a file that the group may read',
    /has mode 0640.*chmod 600/,
    (path: string) => {
      writeFileSync(path, 'x');
      chmodSync(path, 0o640);
    },
  ],
  [
    'a file that others may write',
    /has mode 0602.*chmod 600/,
    (path: string) => {
      writeFileSync(path, 'x');
      chmodSync(path, 0o602);
    },
  ],
  [
    'a file that is too large',
    /more than 100 bytes/,
    (path: string) => createPrivateFile(path, 'x'.repeat(101)),
  ],
])('%s is refused with exit 78', (_, message, make) => {
  const path = freshPath();
  make(path);
  expect(() => readPrivateFile(path, 100)).toThrow(
    expect.objectContaining({ exitCode: 78, message: expect.stringMatching(message) }),
  );
});

test("another user's file is refused", () => {
  const path = freshPath();
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) {
    createPrivateFile(path, 'x');
    chownSync(path, 65_534, 65_534);
  }
  // The second is of root on every Linux, and readable by all.
  expect(() => readPrivateFile(isRoot ? path : '/etc/passwd', 10_000)).toThrow(
    /belongs to user \d+.*sudo -u/,
  );
});

test('a directory that is not there: exit 69', () => {
  const path = join(directory.path, 'nowhere', 'file');
  expect(() => createPrivateFile(path, 'x')).toThrow(expect.objectContaining({ exitCode: 69 }));
});
