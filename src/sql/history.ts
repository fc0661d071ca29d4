/** What was typed at the prompt before: a file of its user, a line each. Without one the prompt works as well. */
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { readPrivateFile, replacePrivateFile } from '../process/private-file.ts';

/** Lines that are kept. */
export const historyLines = 1_000;
const maxBytes = 1024 ** 2;
/** Lines that may hold a secret are not kept; nor are those that begin with a space, as in a shell. */
const unkept = /^\s|identified|passw|secret|token|key\b/i;

/** `$XDG_STATE_HOME/millrace/sql-history`, else below `~/.local/state`. Source: XDG Base Directory Specification. */
export function historyFile(env: NodeJS.ProcessEnv): string {
  const state = env.XDG_STATE_HOME ?? '';
  return join(isAbsolute(state) ? state : join(homedir(), '.local', 'state'), 'millrace', 'sql-history');
}

/**
 * The lines of the file, newest first.
 * @throws OperatorError when there is a file that others may read, or that cannot be read
 */
export function readHistory(path: string): string[] {
  const text = readPrivateFile(path, maxBytes) ?? '';
  return text.split('\n').filter(Boolean).reverse();
}

/**
 * Replaces the file by these lines, newest first.
 * @throws Error when it cannot be written
 */
export function writeHistory(path: string, lines: readonly string[]): void {
  const kept = lines.filter((line) => !unkept.test(line)).slice(0, historyLines);
  while (Buffer.byteLength(kept.join('\n')) >= maxBytes) kept.pop();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  replacePrivateFile(
    path,
    kept
      .reverse()
      .map((line) => `${line}\n`)
      .join(''),
  );
}
