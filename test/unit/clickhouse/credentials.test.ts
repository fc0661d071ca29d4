import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { credentialsFor, ensurePasswords } from '../../../src/clickhouse/credentials.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { createScrubber } from '../../../src/redact.ts';
import { temporaryDirectory } from '../../support/program.ts';

const built = fileURLToPath(new URL('../../../dist/', import.meta.url));
const directory = temporaryDirectory();
const owner = 'o'.repeat(43);
const reader = 'r'.repeat(43);
let count = 0;

afterAll(() => directory.remove());

function freshDirectory(): string {
  count += 1;
  return join(directory.path, String(count));
}

function configOf(env: Record<string, string> = {}, dataDir = freshDirectory()) {
  const variables = Object.entries(env).map(([name, value]) => [`MILLRACE_${name}`, value]);
  return loadConfig({
    flags: {},
    env: { MILLRACE_DATA_DIR: dataDir, ...Object.fromEntries(variables) },
    allowed: [],
  }).config;
}

/** A data directory with both files. */
function withFiles(names: readonly ('owner' | 'reader')[] = ['owner', 'reader']): string {
  const dataDir = freshDirectory();
  mkdirSync(dataDir);
  if (names.includes('owner'))
    writeFileSync(join(dataDir, 'clickhouse-password'), `${owner}\n`, { mode: 0o600 });
  if (names.includes('reader'))
    writeFileSync(join(dataDir, 'clickhouse-reader-password'), `${reader}\n`, { mode: 0o600 });
  return dataDir;
}

describe('the passwords of the embedded ClickHouse', () => {
  test('are made once, random, in files that only the owner may read', () => {
    const config = configOf();
    const made = ensurePasswords(config);
    for (const { text, isGenerated } of Object.values(made)) {
      expect(text).toMatch(/^[\w-]{43}$/);
      expect(isGenerated).toBe(true);
    }
    expect(made.owner.text).not.toBe(made.reader.text);
    expect(readFileSync(join(config.dataDir, 'clickhouse-password'), 'utf8')).toBe(`${made.owner.text}\n`);
    expect(readFileSync(join(config.dataDir, 'clickhouse-reader-password'), 'utf8')).toBe(
      `${made.reader.text}\n`,
    );
    expect(statSync(join(config.dataDir, 'clickhouse-password')).mode & 0o777).toBe(0o600);
    expect(statSync(config.dataDir).mode & 0o777).toBe(0o700);
    expect(ensurePasswords(config)).toEqual(made);
  });

  test('are those that are given, the empty one too', () => {
    const given = configOf({ CLICKHOUSE_PASSWORD: '', CLICKHOUSE_READER_PASSWORD: 'mine' });
    expect(ensurePasswords(given)).toEqual({
      owner: { text: '', isGenerated: false },
      reader: { text: 'mine', isGenerated: false },
    });
  });

  test('do not show in any text that is scrubbed, although the scrubber is older', () => {
    const scrub = createScrubber([]);
    const { text } = ensurePasswords(configOf()).owner;
    expect(scrub(`it is ${text}`)).toBe('it is [redacted]');
  });

  test('processes that start at once agree on them', async () => {
    const { dataDir } = configOf();
    const script = `import { ensurePasswords } from '${built}clickhouse/credentials.js';
      const { owner, reader } = ensurePasswords({ dataDir: process.argv[1], clickhouseUser: 'default' });
      process.stdout.write(owner.text + reader.text);`;
    const results = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', script, dataDir]);
        let output = '';
        child.stdout.on('data', (data) => (output += data));
        await once(child, 'close');
        return output;
      }),
    );
    expect(results[0]).toHaveLength(86);
    expect(new Set(results).size).toBe(1);
  });

  test.each([
    ['is empty', (path: string) => writeFileSync(path, '', { mode: 0o600 }), /16 printable characters/],
    ['is short', (path: string) => writeFileSync(path, 'a'.repeat(15), { mode: 0o600 }), /remove it/],
    [
      'has two lines',
      (path: string) => writeFileSync(path, `${owner}\n${reader}\n`, { mode: 0o600 }),
      /printable/,
    ],
    [
      'others may read',
      (path: string) => {
        writeFileSync(path, owner);
        chmodSync(path, 0o644);
      },
      /mode 0644.*chmod 600/,
    ],
    ['is a link', (path: string) => symlinkSync('/etc/hostname', path), /symbolic link/],
  ])('from a file that %s are refused with exit 78', (_, make, message) => {
    const config = configOf();
    mkdirSync(config.dataDir);
    make(join(config.dataDir, 'clickhouse-password'));
    const fault = expect.objectContaining({ exitCode: 78, message: expect.stringMatching(message) });
    expect(() => ensurePasswords(config)).toThrow(fault);
    expect(() => credentialsFor(config, 'owner')).toThrow(fault);
  });

  test('are not made for an owner who would not find them', () => {
    expect(() => ensurePasswords(configOf({ CLICKHOUSE_USER: 'alice' }))).toThrow(
      /user alice set MILLRACE_CLICKHOUSE_PASSWORD/,
    );
    expect(() => ensurePasswords(configOf({ CLICKHOUSE_USER: 'reader' }))).toThrow(/is the read-only user/);
    const alice = configOf({ CLICKHOUSE_USER: 'alice', CLICKHOUSE_PASSWORD: 'p' });
    expect(ensurePasswords(alice).owner).toEqual({ text: 'p', isGenerated: false });
  });
});

describe('a client asks', () => {
  const none = { user: 'default', password: '' };
  const asOwner = { user: 'default', password: owner };
  const asReader = { user: 'reader', password: reader };
  const given = { CLICKHOUSE_PASSWORD: 'given' };

  test.each([
    ['with the passwords of the files', {}, asOwner, asReader],
    ['with a given password before them', given, { user: 'default', password: 'given' }, undefined],
    ['with the empty password when that is given', { CLICKHOUSE_PASSWORD: '' }, none, undefined],
    [
      'as the reader that is given',
      { CLICKHOUSE_READER_PASSWORD: 'mine', ...given },
      { user: 'default', password: 'given' },
      { user: 'reader', password: 'mine' },
    ],
    ['as the reader only when told to', { CLICKHOUSE_USER: 'reader' }, asReader, asReader],
    [
      'as the reader with a given password',
      { CLICKHOUSE_USER: 'reader', ...given },
      { user: 'reader', password: 'given' },
      undefined,
    ],
    [
      'as another user without a file',
      { CLICKHOUSE_USER: 'alice' },
      { user: 'alice', password: '' },
      undefined,
    ],
    [
      'as another user with a given password',
      { CLICKHOUSE_USER: 'alice', CLICKHOUSE_READER_PASSWORD: 'mine', ...given },
      { user: 'alice', password: 'given' },
      undefined,
    ],
    ['without one where none is needed', { CLICKHOUSE_AUTH: 'false' }, none, undefined],
    ['without one on another machine', { CLICKHOUSE_URL: 'http://192.0.2.1:8123' }, none, undefined],
    ['without one at a name that may lead anywhere', { CLICKHOUSE_URL: 'http://ch1:8123' }, none, undefined],
    ['with the files on any loopback address', { CLICKHOUSE_URL: 'http://[::1]:9000' }, asOwner, asReader],
  ] as const)('%s', (_, env, expectedOwner, expectedReader = expectedOwner) => {
    const config = configOf(env, withFiles());
    expect(credentialsFor(config, 'owner')).toMatchObject(expectedOwner);
    expect(credentialsFor(config, 'reader')).toMatchObject(expectedReader);
  });

  test('without a password where there is no file, and as the owner where the reader has none', () => {
    expect(credentialsFor(configOf(), 'reader')).toMatchObject(none);
    expect(credentialsFor(configOf({}, withFiles(['owner'])), 'reader')).toMatchObject(asOwner);
  });

  test('and can say where the password came from, without it', () => {
    const dataDir = withFiles();
    const hints = [
      credentialsFor(configOf({}, dataDir), 'owner'),
      credentialsFor(configOf({}, dataDir), 'reader'),
      credentialsFor(configOf(given, dataDir), 'owner'),
      credentialsFor(configOf(), 'owner'),
    ].map(({ loginHint }) => loginHint);
    expect(hints[0]).toContain(join(dataDir, 'clickhouse-password'));
    expect(hints[1]).toContain(join(dataDir, 'clickhouse-reader-password'));
    expect(hints[2]).toContain('of MILLRACE_CLICKHOUSE_PASSWORD');
    expect(hints[3]).toContain('without a password');
    expect(hints.join()).not.toMatch(/ooo|rrr|'given'/);
  });

  test.skipIf(process.geteuid?.() !== 0)('and is told whom to ask when the files are not for it', () => {
    const dataDir = withFiles();
    chmodSync(directory.path, 0o755);
    chmodSync(dataDir, 0o700);
    const config = configOf({}, dataDir);
    process.seteuid?.(65_534);
    try {
      const message =
        /clickhouse-password cannot be read by user 65534.*user 0 .*MILLRACE_CLICKHOUSE_PASSWORD_FILE/;
      expect(() => credentialsFor(config, 'owner')).toThrow(
        expect.objectContaining({ exitCode: 78, message: expect.stringMatching(message) }),
      );
    } finally {
      process.seteuid?.(0);
    }
  });
});
