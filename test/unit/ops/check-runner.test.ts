/** The runner of the checks for operation, with checks of its own in a project of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const source = fileURLToPath(new URL('../../ops/', import.meta.url));
let root: string;
let path: string;

/** A check that the file `thing` says `good`. */
const good = {
  name: "'good thing'",
  tools: "['git']",
  run: `async ({ root }) => {
    const text = readFileSync(root + '/thing', 'utf8').trim();
    if (text !== 'good') throw new CheckError('the thing is ' + text);
    return '1 thing';
  }`,
  mistakes: "[{ file: 'thing', find: 'good', replace: 'bad', says: /is bad/ }]",
};

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'millrace-runner-'));
  for (const file of ['main.mjs', 'check.mjs', 'tools.mjs']) {
    cpSync(join(source, file), join(root, 'test/ops', file), { recursive: true });
  }
  mkdirSync(join(root, 'test/ops/checks'));
  writeFileSync(join(root, 'thing'), 'good\n');
  // Nothing but these two can be found, whatever this machine has.
  path = join(root, 'bin');
  mkdirSync(path);
  symlinkSync(process.execPath, join(path, 'node'));
  symlinkSync(execFileSync('sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim(), join(path, 'git'));
  writeFileSync(join(root, '.gitignore'), 'bin\n');
  execFileSync('git', ['init', '--quiet'], { cwd: root });
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Runs it with these checks; what is not given is that of `good`. */
function run(
  checks: readonly Partial<Record<keyof typeof good | 'heavy', string>>[],
  args: readonly string[] = [],
) {
  const texts = checks.map((check) => {
    const fields = Object.entries({ ...good, ...check }).map(([name, value]) => `${name}: ${value}`);
    return `{ ${fields.join(', ')} }`;
  });
  writeFileSync(
    join(root, 'test/ops/checks/some.mjs'),
    `import { readFileSync } from 'node:fs';
    import { CheckError, runTool } from '../check.mjs';
    export const checks = [${texts.join(',\n')}];`,
  );
  const { status, stdout, stderr } = spawnSync(join(path, 'node'), ['test/ops/main.mjs', ...args], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: path, HOME: root, TMPDIR: tmpdir() },
  });
  return { status, lines: stdout.trimEnd().split('\n'), stderr };
}

test('a check that passes has a line, and the counts come last', () => {
  const { status, lines } = run([{}]);
  expect(lines[0]).toMatch(/^ok {6}good thing: 1 thing \(\d+\.\d s\)$/);
  expect(lines.at(-1)).toBe('1 passed, 0 failed, 0 skipped');
  expect(status).toBe(0);
});

test('a check that fails does not keep the others from running: exit code 1', () => {
  const run1 = "async () => { throw new CheckError('it is broken'); }";
  const { status, lines } = run([{ name: "'broken thing'", run: run1 }, {}]);
  expect(lines[0]).toBe('FAILED  broken thing: it is broken');
  expect(lines[1]).toMatch(/^ok/);
  expect(lines.at(-1)).toBe('1 passed, 1 failed, 0 skipped');
  expect(status).toBe(1);
});

test('a tool that fails is reported with what it said', () => {
  const run1 = "async () => { await runTool(['git', 'no-such-command']); }";
  const { status, lines } = run([{ run: run1 }]);
  expect(lines.join('\n')).toMatch(/FAILED .*git no-such-command ended with 1:\n.*is not a git command/);
  expect(status).toBe(1);
});

test('a fault of a check itself does not keep the others from running either', () => {
  const { status, lines } = run([{ name: "'faulty thing'", run: "async () => JSON.parse('')" }, {}]);
  expect(lines[0]).toMatch(/^FAILED {2}faulty thing: SyntaxError/);
  expect(lines.at(-1)).toBe('1 passed, 1 failed, 0 skipped');
  expect(status).toBe(1);
});

test('a tool that cannot be run, or does not end, fails its check', () => {
  const cannot = "async () => { await runTool(['no-such-tool']); }";
  expect(run([{ run: cannot }]).lines[0]).toMatch(/^FAILED .*no-such-tool cannot be run: .*ENOENT/);
  const late = `async () => {
    const wait = 'setTimeout(() => {}, 5_000)';
    const twice = "require('child_process').spawn(process.execPath, ['-e', '" + wait + "'], { stdio: 'inherit' });" + wait;
    await runTool(['node', '-e', twice], { timeoutMs: 500 });
  }`;
  const startedAt = Date.now();
  expect(run([{ run: late }]).lines[0]).toMatch(/^FAILED .* took more than 0\.5 s$/);
  expect(Date.now() - startedAt).toBeLessThan(20_000);
});

test('what a tool says is read as a whole, however it is cut', () => {
  const script =
    "'process.stdout.write(Buffer.of(0xc3)); setTimeout(() => process.stdout.write(Buffer.of(0xa9)), 100)'";
  const { lines } = run([{ run: `async () => JSON.stringify(await runTool(['node', '-e', ${script}]))` }]);
  expect(lines[0]).toMatch(/^ok {6}good thing: "é"/);
});

test('a tool that is missing is named with the way to get it: exit code 69', () => {
  const { status, lines } = run([{ tools: "['shellcheck']" }, {}]);
  expect(lines[0]).toMatch(
    /^MISSING good thing: shellcheck is not installed: .*apt-get install .*--install$/,
  );
  expect(lines.at(-1)).toBe('1 passed, 0 failed, 1 skipped');
  expect(status).toBe(69);
});

test('a failure outweighs a missing tool', () => {
  const { status } = run([
    { tools: "['shellcheck']" },
    { run: "async () => { throw new CheckError('no'); }" },
  ]);
  expect(status).toBe(1);
});

test('a tool without a source is a fault of the check, not of the machine', () => {
  const { status, stderr } = run([{ tools: "['no-such-tool']" }]);
  expect(stderr).toMatch(/no source is known for no-such-tool: add it to test\/ops\/tools\.mjs/);
  expect(status).toBe(1);
});

test('light runs leave heavy checks out, unless they are named', () => {
  const heavy = { name: "'heavy thing'", heavy: 'true' };
  expect(run([heavy, {}]).lines.at(-1)).toBe('2 passed, 0 failed, 0 skipped');
  expect(run([heavy, {}], ['--light']).lines.at(-1)).toBe('1 passed, 0 failed, 0 skipped');
  expect(run([heavy, {}], ['--light', 'heavy']).lines[0]).toMatch(/^ok {6}heavy thing/);
  expect(run([heavy, {}], ['--list']).lines).toEqual(['heavy thing (heavy): git', 'good thing: git']);
});

test('wrong usage: exit code 2', () => {
  expect(run([{}], ['--no-such-option']).status).toBe(2);
  const { status, stderr } = run([{}], ['elephant']);
  expect(stderr).toMatch(/no check is named like elephant/);
  expect(status).toBe(2);
  expect(run([{}], ['good', 'elephant']).status).toBe(2);
});

test('mistakes are planted in a copy, and noticed', () => {
  const { status, lines } = run([{}], ['--mistakes']);
  expect(lines[0]).toMatch(/^ok {6}good thing: 1 mistake noticed/);
  expect(status).toBe(0);
  expect(run([{}]).status).toBe(0);
});

test('a mistake stays in the copy, also where links lead', () => {
  const extra = ['link', 'node_modules', 'clone'].map((name) => join(root, name));
  symlinkSync('thing', extra[0] as string);
  symlinkSync('bin', extra[1] as string);
  execFileSync('git', ['init', '--quiet', extra[2] as string]);
  const mistakes = good.mistakes.replace("file: 'thing'", "file: 'link'");
  // It is noticed by a check that reads the file itself.
  const seen = `async (site) => {
    if (readFileSync(${JSON.stringify(join(root, 'thing'))}, 'utf8') !== 'good\\n') throw new Error('it is in the project');
    return await (${good.run})(site);
  }`;
  const { status, lines } = run([{ run: seen, mistakes }], ['--mistakes']);
  for (const path of extra) rmSync(path, { recursive: true, force: true });
  expect(lines[0]).toMatch(/^ok {6}good thing: 1 mistake noticed/);
  expect(status).toBe(0);
  expect(readFileSync(join(root, 'thing'), 'utf8')).toBe('good\n');
});

test.each([
  ['went unnoticed', { run: "async () => '1 thing'" }, /'bad' in thing went unnoticed/],
  [
    'was noticed as something else',
    { mistakes: good.mistakes.replace('is bad', 'is late') },
    /noticed as something else: the thing is bad/,
  ],
  [
    'has no place in the file',
    { mistakes: good.mistakes.replace("find: 'good'", "find: 'fine'") },
    /the mistake's text is not in thing: fine/,
  ],
  ['is not there at all', { mistakes: '[]' }, /it plants no mistake/],
])('a mistake that %s fails the check', (_, check, says) => {
  const { status, lines } = run([check], ['--mistakes']);
  expect(lines[0]).toMatch(/^FAILED {2}good thing: /);
  expect(lines.join('\n')).toMatch(says);
  expect(status).toBe(1);
});

test('a check that fails without a mistake says nothing about mistakes', () => {
  const run1 = "async () => { throw new CheckError('it is broken anyway'); }";
  const { lines } = run([{ run: run1 }], ['--mistakes']);
  expect(lines[0]).toBe('FAILED  good thing: it is broken anyway');
});
