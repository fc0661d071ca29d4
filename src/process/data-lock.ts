/** Keeps two processes from using one data directory. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** Who holds a lock: a process id alone may have been given to another process since. */
interface Holder {
  readonly pid: number;
  /** Start of the process in clock ticks since boot, where the system tells; else empty. */
  readonly startedAt: string;
}

/**
 * Locks a directory for this process, creating it when needed. A lock whose holder is dead is taken over.
 * @param name file name of the lock
 * @returns what releases it
 * @throws OperatorError exit 69 when another process holds it or the directory cannot be written
 */
export function lockDirectory(directory: string, name = 'millrace.lock'): () => void {
  const path = join(directory, name);
  const me = JSON.stringify({ pid: process.pid, startedAt: startOf(process.pid) } satisfies Holder);
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      mkdirSync(directory, { recursive: true });
      writeFileSync(path, me, { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST'))
        throw unusable(directory, error);
      const holder = readHolder(path);
      if (holder !== undefined && isAlive(holder)) throw inUse(directory, holder.pid);
      rmSync(path, { force: true });
    }
  }
  throw inUse(directory, undefined);
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    // Cut off while it was written: its writer is dead, or will find ours.
    return undefined;
  }
}

function isAlive({ pid, startedAt }: Holder): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  return startOf(pid) === startedAt;
}

function startOf(pid: number): string {
  try {
    // Field 22 of proc(5); the name in field 2 may hold spaces and brackets, so count from behind it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function inUse(directory: string, pid: number | undefined): OperatorError {
  const holder = pid === undefined ? 'another process' : `process ${pid}`;
  return new OperatorError(
    `the data directory ${resolve(directory)} is in use by ${holder}. Stop it, or choose another with --data-dir`,
    exitCodes.unavailable,
  );
}

function unusable(directory: string, error: unknown): OperatorError {
  const message = `the data directory ${resolve(directory)} cannot be used: ${messageOf(error)}. Choose another with --data-dir`;
  return new OperatorError(message, exitCodes.unavailable);
}
