/** Keeps two processes from using one data directory. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  linkSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { prepareDataDirectory } from './data-directory.ts';

/** Who holds a lock. An earlier version wrote the first two only. */
interface Holder {
  readonly pid: number;
  /** Start of the process in clock ticks since boot, where the system tells; else empty: ids are used again. */
  readonly startedAt: string;
  /** Where `pid` means something: every container has a process 1. */
  readonly where?: string;
  /** Tells this holder from every other, ever. */
  readonly id?: string;
}

/** A holder touches its lock this often, for those who cannot see its process. Milliseconds. */
const touchMs = 1_000;
/** How long a holder that cannot be seen is watched for a touch before it counts as dead. Milliseconds. */
const watchMs = 5_000;

/** Locks that this process holds. */
const held = new Set<string>();

/**
 * Locks a data directory for this process, which {@link prepareDataDirectory} makes when needed. A lock whose holder is dead is taken over: at once
 * when its process could be seen from here, else, as with another container on the same volume, when it does not
 * touch the lock for five seconds, whatever the clocks say.
 *
 * What remains: a holder in another container or on another machine that is paused, or cut off from the volume,
 * for five seconds while somebody else starts loses its lock.
 * @returns what releases it
 * @throws OperatorError exit 69 when another process holds it or the directory cannot be written, 78 when it is not for
 * this user alone
 */
export async function lockDirectory(
  directory: string,
  { log }: { readonly log?: Pick<Logger, 'warn'> } = {},
): Promise<() => void> {
  prepareDataDirectory(directory, log);
  const path = join(directory, 'millrace.lock');
  const me: Required<Holder> = {
    pid: process.pid,
    startedAt: readProcess(process.pid).startedAt,
    where: namespace(),
    id: randomUUID(),
  };
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      writeFileSync(path, JSON.stringify(me), { flag: 'wx', mode: 0o600 });
      return hold(path, me);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST'))
        throw unusable(directory, error);
      const holder = readHolder(path);
      if (holder !== undefined && (await isAlive(holder, path))) throw inUse(directory, holder);
      removeLock(path, holder);
    }
  }
  throw inUse(directory, undefined);
}

/** Touches the lock until it is released. What somebody else has taken over is left alone. */
function hold(path: string, { id }: Required<Holder>): () => void {
  held.add(id);
  const timer = setInterval(() => {
    const now = new Date();
    try {
      if (readHolder(path)?.id === id) utimesSync(path, now, now);
    } catch {
      // Removed in this moment, or the volume is away: there is nothing to touch.
    }
  }, touchMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    held.delete(id);
    if (readHolder(path)?.id === id) rmSync(path, { force: true });
  };
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    // Cut off while it was written: its writer is dead, or will find ours.
    return undefined;
  }
}

/** Removes the lock of one holder, and not that of somebody who was faster. */
function removeLock(path: string, holder: Holder | undefined): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
    if (readHolder(aside)?.id !== holder?.id) linkSync(aside, path);
  } catch {
    // Gone already, or there is a new one by now: the next attempt finds out.
  }
  rmSync(aside, { force: true });
}

async function isAlive(holder: Holder, path: string): Promise<boolean> {
  const { pid, startedAt, where = namespace(), id = '' } = holder;
  if (where !== namespace()) return isTouched(path);
  if (pid === process.pid) return held.has(id);
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  const found = readProcess(pid);
  return found.startedAt === startedAt && !found.hasEnded;
}

async function isTouched(path: string): Promise<boolean> {
  const before = touchedAt(path);
  const deadline = performance.now() + watchMs;
  while (performance.now() < deadline) {
    await sleep(touchMs / 4);
    if (touchedAt(path) !== before) return true;
  }
  return false;
}

/** By a descriptor: opening a file makes a network file system ask for its times anew. */
function touchedAt(path: string): number {
  try {
    const file = openSync(path, 'r');
    try {
      return fstatSync(file).mtimeMs;
    } finally {
      closeSync(file);
    }
  } catch {
    return 0;
  }
}

/** The machine since its boot, and in it the space of process ids. */
function namespace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

/** What the system says about a process; nothing where it does not tell. */
function readProcess(pid: number): { readonly startedAt: string; readonly hasEnded: boolean } {
  try {
    // By proc(5); the name in field 2 may hold spaces and brackets, so count from behind it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state = '', threads = '', startedAt = ''] = [fields[0], fields[17], fields[19]];
    // A zombie keeps its id until its parent asks for it. One whose other threads still run has not ended.
    return { startedAt, hasEnded: ['Z', 'X', 'x'].includes(state) && Number(threads) <= 1 };
  } catch {
    return { startedAt: '', hasEnded: false };
  }
}

function inUse(directory: string, holder: Holder | undefined): OperatorError {
  const isElsewhere = holder?.where !== undefined && holder.where !== namespace();
  const where = isElsewhere ? ' in another container or on another machine' : '';
  const name = holder === undefined ? 'another process' : `process ${holder.pid}${where}`;
  return new OperatorError(
    `the data directory ${resolve(directory)} is in use by ${name}. Stop it, or choose another with --data-dir`,
    exitCodes.unavailable,
  );
}

function unusable(directory: string, error: unknown): OperatorError {
  const message = `the data directory ${resolve(directory)} cannot be used: ${messageOf(error)}. Choose another with --data-dir`;
  return new OperatorError(message, exitCodes.unavailable);
}
