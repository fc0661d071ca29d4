/** What a process loads, told by V8: it lists every script that ran, and Node.js writes that down at exit. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { freePorts, runProgram, startProgram, temporaryDirectory } from '../support/program.ts';

const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const root = new URL('../../', import.meta.url).href;

/** Modules below dist, and packages, of each process that ended. */
function readLoaded(directory: string): string[][] {
  return readdirSync(directory).map((name) => {
    const { result } = JSON.parse(readFileSync(join(directory, name), 'utf8')) as {
      result: { url: string }[];
    };
    return result.filter(({ url }) => url.startsWith(root)).map(({ url }) => url.slice(root.length));
  });
}

function commandsIn(modules: readonly string[]): string[] {
  const ofAll = ['command', 'help', 'table', 'open-buffer'];
  return modules
    .map((path) => /^dist\/commands\/(.*)\.js$/.exec(path)?.[1])
    .filter((name) => name !== undefined && !ofAll.includes(name)) as string[];
}

const foreign =
  /^dist\/(bench|verify|replay|sql|tail|dead-letters|engine)\/|node_modules\/(ua-parser-js|cli-progress)\//;

test.each([1, 2])('collect with %i workers loads nothing of other commands', async (workers) => {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const [port] = await freePorts(1);
  const coverage = join(directory.path, 'coverage');
  const program = await startProgram(
    [
      ...['collect', '--listen', `127.0.0.1:${port}`, '--data-dir', join(directory.path, 'data')],
      ...['--workers', String(workers), '--drain-delay', '0s'],
    ],
    { NODE_V8_COVERAGE: coverage },
  );
  undo.push(() => program.kill());
  expect(await program.stop()).toBe(0);
  const processes = readLoaded(coverage);
  expect(processes).toHaveLength(workers === 1 ? 1 : workers + 1);
  for (const modules of processes) {
    expect(modules).toContain('dist/collector/collector.js');
    expect(commandsIn(modules)).toEqual(['collect']);
    expect(modules.filter((path) => foreign.test(path))).toEqual([]);
  }
});

test.each([
  [['--help'], []],
  [
    ['bench', '--help'],
    ['bench', 'bench-setup'],
  ],
  [['help', 'sql'], ['sql']],
])('millrace %j loads the commands %j', async (args, commands) => {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const { code } = await runProgram(args, { NODE_V8_COVERAGE: directory.path });
  expect(code).toBe(0);
  const [modules] = readLoaded(directory.path);
  expect(commandsIn(modules ?? []).sort()).toEqual(commands);
});
