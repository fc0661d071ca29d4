import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { childFlags, confinedFlags, nodeFlags } from '../../../src/process/children.ts';

test('children get the flags of their parent and those of the program', () => {
  expect(childFlags({ execArgv: ['--cpu-prof'], env: {} })).toEqual(['--cpu-prof', ...nodeFlags]);
});

test('children get them once', () => {
  expect(childFlags({ execArgv: nodeFlags, env: {} })).toEqual(nodeFlags);
});

test('what the person has chosen holds', () => {
  expect(childFlags({ execArgv: ['--max_semi_space_size=32'], env: {} })).toEqual([
    '--max_semi_space_size=32',
  ]);
  expect(childFlags({ execArgv: [], env: { NODE_OPTIONS: '--max-semi-space-size=32' } })).toEqual([]);
});

test('a process that is shut in gets limits, and nothing that names files or opens a port', () => {
  const NODE_OPTIONS = '--require "/home/me/debug tools/boot.js" --inspect --max_old_space_size=900';
  const execArgv = ['--import', '/opt/tracer.js', '--max-semi-space-size=32', '--cpu-prof'];
  expect(confinedFlags({ execArgv, env: { NODE_OPTIONS } })).toEqual([
    ...nodeFlags,
    '--max_old_space_size=900',
    '--max-semi-space-size=32',
  ]);
});

test('this Node.js knows them', () => {
  expect(execFileSync(process.execPath, [...nodeFlags, '-p', '1'], { encoding: 'utf8' })).toBe('1\n');
});

test('the first line asks nothing that env of BusyBox cannot do', () => {
  const program = readFileSync(new URL('../../../src/main.ts', import.meta.url), 'utf8');
  expect(program.split('\n', 1)).toEqual(['#!/usr/bin/env node']);
});
