/** What every figure depends on: this machine, and the program that measured. */
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The machine that the load came from. Names are those of the JSON. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly platform: string;
  readonly node: string;
}

/** Describes this machine. */
export function describeMachine(): Machine {
  const list = cpus();
  return {
    cpu: list[0]?.model.trim() ?? 'unknown',
    cores: list.length,
    memory_bytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

const packageDirectory = fileURLToPath(new URL('../..', import.meta.url));

/** The commit that is checked out where a program lies; null when that is no git checkout. */
export function findCommit(directory = packageDirectory): string | null {
  try {
    const git = gitDirectory(directory);
    const head = readFileSync(join(git, 'HEAD'), 'utf8').trim();
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    return ref === undefined ? asCommit(head) : readRef(commonDirectory(git), ref);
  } catch {
    return null;
  }
}

/** In a work tree of its own, `.git` is a file that names the directory. */
function gitDirectory(directory: string): string {
  const path = join(directory, '.git');
  try {
    const named = /^gitdir: (.+)$/m.exec(readFileSync(path, 'utf8'))?.[1];
    return named === undefined ? path : resolve(directory, named.trim());
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EISDIR') return path;
    throw error;
  }
}

/** Branches of a work tree are kept with the main one. */
function commonDirectory(git: string): string {
  try {
    return resolve(git, readFileSync(join(git, 'commondir'), 'utf8').trim());
  } catch {
    return git;
  }
}

function readRef(git: string, ref: string): string | null {
  try {
    return asCommit(readFileSync(join(git, ref), 'utf8').trim());
  } catch {
    const packed = readFileSync(join(git, 'packed-refs'), 'utf8');
    const line = packed.split('\n').find((one) => one.endsWith(` ${ref}`));
    return asCommit(line?.split(' ')[0] ?? '');
  }
}

function asCommit(text: string): string | null {
  return /^[0-9a-f]{40,64}$/.test(text) ? text : null;
}
