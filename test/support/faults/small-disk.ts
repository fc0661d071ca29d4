/** A disk that is soon full. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A small file system in memory. */
export interface SmallDisk {
  readonly path: string;
  /** Fills it up, but for this many bytes. */
  fill(leaveBytes: number): void;
  /** Takes away again what `fill` wrote. */
  free(): void;
  remove(): void;
}

/** Why there can be none here; undefined when there can. */
export function reasonAgainstSmallDisk(): string | undefined {
  try {
    createSmallDisk(1024 ** 2).remove();
    return undefined;
  } catch {
    return 'a tmpfs cannot be mounted here: that takes root on Linux';
  }
}

/** Mounts one. @throws Error without the right to do so */
export function createSmallDisk(bytes: number): SmallDisk {
  const path = mkdtempSync(join(tmpdir(), 'millrace-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], { stdio: 'pipe' });
  } catch (error) {
    rmSync(path, { recursive: true });
    throw error;
  }
  const ballast = join(path, 'ballast');
  return {
    path,
    fill(leaveBytes) {
      const { bavail, bsize } = statfsSync(path);
      writeFileSync(ballast, Buffer.alloc(Math.max(bavail * bsize - leaveBytes, 0)));
    },
    free: () => rmSync(ballast, { force: true }),
    remove() {
      // Lazily: a process that was just killed may still be closing its files.
      execFileSync('umount', ['-l', path], { stdio: 'pipe' });
      rmSync(path, { recursive: true });
    },
  };
}
