import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeMachine, findCommit } from '../../../src/bench/run-conditions.ts';
import { temporaryDirectory } from '../../support/program.ts';

const commit = 'a'.repeat(40);
let directory: ReturnType<typeof temporaryDirectory>;

beforeEach(() => {
  directory = temporaryDirectory();
  mkdirSync(join(directory.path, '.git/refs/heads'), { recursive: true });
});
afterEach(() => directory.remove());

const write = (path: string, text: string) => writeFileSync(join(directory.path, path), text);

test('a checkout of a branch', () => {
  write('.git/HEAD', 'ref: refs/heads/main\n');
  write('.git/refs/heads/main', `${commit}\n`);
  expect(findCommit(directory.path)).toBe(commit);
});

test('a branch whose refs are packed', () => {
  write('.git/HEAD', 'ref: refs/heads/main\n');
  write(
    '.git/packed-refs',
    `# pack-refs\n${'b'.repeat(40)} refs/heads/not-main\n${commit} refs/heads/main\n`,
  );
  expect(findCommit(directory.path)).toBe(commit);
});

test('a commit without a branch', () => {
  write('.git/HEAD', `${commit}\n`);
  expect(findCommit(directory.path)).toBe(commit);
});

test('a work tree of its own', () => {
  mkdirSync(join(directory.path, '.git/worktrees/w'), { recursive: true });
  mkdirSync(join(directory.path, 'w'));
  write('w/.git', 'gitdir: ../.git/worktrees/w\n');
  write('.git/worktrees/w/HEAD', 'ref: refs/heads/side\n');
  write('.git/worktrees/w/commondir', '../..\n');
  write('.git/refs/heads/side', commit);
  expect(findCommit(join(directory.path, 'w'))).toBe(commit);
});

test('no checkout, or one that makes no sense', () => {
  write('.git/HEAD', 'ref: refs/heads/none\n');
  expect(findCommit(directory.path)).toBeNull();
  rmSync(join(directory.path, '.git'), { recursive: true });
  expect(findCommit(directory.path)).toBeNull();
});

test('the machine has cores and memory', () => {
  const machine = describeMachine();
  expect(machine.cores).toBeGreaterThan(0);
  expect(machine.memory_bytes).toBeGreaterThan(0);
  expect(machine.node).toBe(process.version);
});
