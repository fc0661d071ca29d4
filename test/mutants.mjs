/**
 * Breaks each rule of the delivery protocol on purpose, in a copy of the project, and runs the tests that should
 * notice. A mutant that survives is a rule that no test holds. Needs `npm run build` first.
 *
 *     npm run test:mutants            all of them
 *     npm run test:mutants -- lease   those with this in their name
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mutants } from './support/mutants.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'millrace-mutants-'));
const report = join(copy, 'report.json');
/** Far above what any of the runs takes: a mutant that never ends is caught, too. */
const timeoutMs = 120_000;

/** No Kafka, unlike the project's own configuration: none of these tests needs one. */
const config = `import { defineConfig } from 'vitest/config';
export default defineConfig({
  root: ${JSON.stringify(copy)},
  test: { include: ['test/**/*.test.ts'], testTimeout: 30_000, hookTimeout: 60_000, fileParallelism: false },
});
`;

function makeCopy() {
  for (const name of ['src', 'test', 'tools', 'schemas', 'package.json', 'tsconfig.json']) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  for (const name of ['node_modules', 'dist']) symlinkSync(join(root, name), join(copy, name), 'dir');
  writeFileSync(join(copy, 'vitest.config.ts'), config);
}

/** Runs test files; gives the name of the first test that failed. */
function runTests(files, { bails = true, maxMs = timeoutMs } = {}) {
  rmSync(report, { force: true });
  const flags = ['--config', 'vitest.config.ts', '--reporter', 'json', '--outputFile', report];
  const run = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      ...flags,
      ...(bails ? ['--bail', '1'] : []),
      ...files,
    ],
    { cwd: copy, timeout: maxMs, encoding: 'utf8' },
  );
  if (run.error?.code === 'ETIMEDOUT') return { failed: `no end within ${maxMs / 1_000} s` };
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8')).testResults;
  } catch {
    return { broken: run.stderr.slice(-2_000) };
  }
  const tests = results.flatMap(({ assertionResults }) => assertionResults);
  const failed = tests.find(({ status }) => status === 'failed');
  if (failed !== undefined) return { failed: failed.fullName };
  const unloaded = results.find(({ status }) => status === 'failed');
  if (unloaded !== undefined || tests.length === 0)
    return { broken: unloaded?.message ?? 'no tests were found' };
  return {};
}

/** Applies the edits of a mutant; gives a function that takes them back. */
function apply({ name, edits }) {
  const originals = new Map();
  for (const { file, find, replace } of edits) {
    const path = join(copy, 'src', file);
    const text = readFileSync(path, 'utf8');
    if (!originals.has(path)) originals.set(path, text);
    const count = text.split(find).length - 1;
    if (count !== 1) throw new Error(`mutant '${name}': its text is ${count} times in src/${file}: ${find}`);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
  }
  return () => {
    for (const [path, text] of originals) writeFileSync(path, text);
  };
}

function main() {
  const wanted = process.argv.slice(2);
  const chosen = mutants.filter(({ name }) => wanted.every((word) => name.includes(word)));
  makeCopy();
  // All texts first: a mutant that no longer fits is noticed before anything takes time.
  for (const mutant of chosen) apply(mutant)();
  const all = [...new Set(chosen.flatMap(({ tests }) => tests))];
  const sound = runTests(all, { bails: false, maxMs: 5 * timeoutMs });
  if (sound.failed !== undefined || sound.broken !== undefined) {
    process.stderr.write(`the tests fail without any mutant: ${sound.failed ?? sound.broken}\n`);
    return 1;
  }
  const bad = [];
  for (const mutant of chosen) {
    const takeBack = apply(mutant);
    const { failed, broken } = runTests(mutant.tests);
    takeBack();
    if (failed === undefined) bad.push(mutant.name);
    const outcome = failed ?? (broken === undefined ? 'SURVIVED' : `BROKEN: ${broken}`);
    process.stdout.write(`${mutant.name}\n  rule:   ${mutant.rule}\n  caught: ${outcome}\n`);
  }
  process.stdout.write(`\n${chosen.length - bad.length} of ${chosen.length} mutants caught\n`);
  if (bad.length > 0) process.stdout.write(`not caught: ${bad.join(', ')}\n`);
  return bad.length === 0 && chosen.length > 0 ? 0 : 1;
}

try {
  process.exitCode = main();
} finally {
  rmSync(copy, { recursive: true, force: true });
}
