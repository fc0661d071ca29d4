/** Runs the program of a unit behind the walls that systemd would put up by seccomp, where systemd itself is not needed. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runTool } from './check.mjs';

const program = fileURLToPath(new URL('walls.py', import.meta.url));

/**
 * A command in front of a command: what the unit forbids by `SystemCallFilter=` and `RestrictAddressFamilies=` is
 * forbidden to it, and answered as systemd would answer.
 * @param {string} unit path
 * @returns {Promise<string[]>}
 */
export async function behindWallsOf(unit) {
  const text = readFileSync(unit, 'utf8');
  const valuesOf = (key) =>
    [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value.split(' '));
  const calls = new Set();
  for (const [first, ...rest] of valuesOf('SystemCallFilter')) {
    const isDenied = first.startsWith('~');
    for (const call of await expand([first.replace('~', ''), ...rest]))
      if (isDenied) calls.delete(call);
      else calls.add(call);
  }
  const families = valuesOf('RestrictAddressFamilies').flat();
  return ['pyseccomp', program, JSON.stringify({ calls: [...calls], families })];
}

/** The system calls of groups, which may be of groups. */
async function expand(names) {
  const groups = names.filter((name) => name.startsWith('@'));
  const calls = names.filter((name) => !name.startsWith('@'));
  for (const group of groups) {
    const said = await runTool(['systemd-analyze', 'syscall-filter', '--no-pager', group]);
    const inside = said
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
    calls.push(...(await expand(inside.filter((name) => name !== '' && !name.startsWith('#')))));
  }
  return calls;
}
