/** What a check of the files for operation is, and what it runs tools with. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { toolEnvironment } from './tools.mjs';

/**
 * @typedef {object} Check
 * @property {string} name what is checked, in lower case, as `alert rules`
 * @property {string[]} tools programs that it runs; each has a source in tools.mjs
 * @property {boolean} [heavy] takes minutes or a large download: not with --light, unless named
 * @property {(site: Site) => Promise<string>} run gives a few words on what was checked, with counts;
 *   throws CheckError when something is wrong
 * @property {Mistake[]} mistakes each must make this check fail
 */

/**
 * @typedef {object} Mistake a fault planted in one file, to see that the check notices
 * @property {string} file path from the root of the project
 * @property {string} find text that is in the file, once or more; its first place is changed
 * @property {string} replace
 * @property {RegExp} says what the check must say
 */

/**
 * @typedef {object} Site
 * @property {string} root directory of the project, or of a copy with a mistake
 * @property {string} scratch empty directory that is deleted afterwards
 */

/** Something is wrong with the files; the message says what, in the tool's own words. */
export class CheckError extends Error {}

/**
 * Runs a tool.
 * @param {string[]} command program and arguments
 * @param {{cwd?: string, env?: Record<string, string>, timeoutMs?: number, input?: string}} [options]
 * @returns {Promise<string>} its standard output
 * @throws {CheckError} with all that it said when it fails
 */
export async function runTool([file, ...args], { cwd, env = {}, timeoutMs = 300_000, input } = {}) {
  const child = spawn(file, args, { cwd, env: { ...toolEnvironment, ...env } });
  let [stdout, all] = ['', ''];
  // A character may come in two pieces.
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8');
  child.stdout.on('data', (data) => {
    stdout += data;
    all += data;
  });
  child.stderr.on('data', (data) => (all += data));
  // A tool that does not read its input is no fault.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  // Not spawn's own: that one goes on when the tool cannot be run.
  const timer = setTimeout(() => {
    child.kill('SIGKILL');
    // What the tool has started may live on, and holds these open.
    for (const stream of [child.stdout, child.stderr]) stream.destroy();
  }, timeoutMs);
  const status = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new CheckError(`${file} cannot be run: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? signal));
  }).finally(() => clearTimeout(timer));
  if (child.killed)
    throw new CheckError(`${[file, ...args].join(' ')} took more than ${timeoutMs / 1_000} s`);
  if (status !== 0) throw new CheckError(`${[file, ...args].join(' ')} ended with ${status}:\n${all.trim()}`);
  return stdout;
}

/** Stops a program that a check has started; resolves when it has ended. */
export async function endProgram(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}
