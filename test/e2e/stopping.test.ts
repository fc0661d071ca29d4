import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  childrenOf,
  cleanEnvironment,
  createSite,
  type Site,
  temporaryDirectory,
  until,
} from '../support/program.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const npm = ['npm', 'start', '--'] as const;
const node = ['node', 'dist/main.js', 'start'] as const;

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
let started: number[] = [];

beforeEach(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
});

afterEach(() => {
  for (const pid of started.splice(0).filter(isRunning)) process.kill(pid, 'SIGKILL');
  directory.remove();
});

/** Starts everything in a process group of its own, as a shell does; `pids` are all that run then. */
async function start([file, ...args]: readonly [string, ...string[]], ...more: string[]) {
  const child: ChildProcess = spawn(file, [...args, ...site.flags, ...more], {
    cwd: root,
    detached: true,
    env: cleanEnvironment(),
  });
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (data) => {
    output.stdout += data;
  });
  child.stderr?.on('data', (data) => {
    output.stderr += data;
  });
  const exited = once(child, 'exit');
  started = [child.pid ?? 0];
  await until('everything', async () => output.stdout.includes('is ready'));
  started.push(...(await childrenOf(child.pid ?? 0)));
  return { child, output, exited, pids: [...started] };
}

const noneIsLeft = (pids: readonly number[]) =>
  until('the end of all processes', async () => !pids.some(isRunning), 30_000);

test.each([
  ['npm', npm],
  ['node', node],
] as const)('SIGTERM to %s ends everything that it started', async (_, command) => {
  const { child, exited, pids, output } = await start(command);
  child.kill('SIGTERM');
  await noneIsLeft(pids);
  await exited;
  expect(output.stdout).toContain('Stopping:');
  expect(output.stderr).not.toMatch(/"level":"(warn|error|fatal)"/);
});

test.each([
  ['npm', npm],
  ['node', node],
] as const)(
  'SIGKILL to %s ends everything that it started, whatever --drain-delay says',
  async (_, command) => {
    const { child, pids } = await start(command, '--drain-delay', '10m', '--workers', '2');
    child.kill('SIGKILL');
    await noneIsLeft(pids);
  },
);

test('SIGKILL in the middle of the start leaves nothing behind', async () => {
  for (const words of ['engine/process.js', ' stream', ' collect']) {
    const [file, ...args] = node;
    const child = spawn(file, [...args, ...site.flags], { cwd: root, env: cleanEnvironment() });
    started = [child.pid ?? 0];
    await until(`a process '${words}'`, async () => {
      started = [child.pid ?? 0, ...(await childrenOf(child.pid ?? 0))];
      return started.some((pid) => commandOf(pid).includes(words));
    });
    child.kill('SIGKILL');
    await noneIsLeft(started);
  }
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s to npm and all below it, as a terminal sends it, stops in order: npm hands it on a second time',
  async (signal) => {
    const { child, exited, pids, output } = await start(npm);
    process.kill(-(child.pid ?? 0), signal);
    await noneIsLeft(pids);
    expect(await exited).toEqual([0, null]);
    expect(output.stdout).toContain('Stopping:');
    expect(output.stderr).not.toMatch(/"level":"(warn|error|fatal)"/);
  },
);

/** Whether there is such a process, and it has not ended: nobody may be there to take note of its end. */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3));
  } catch {
    return false;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
