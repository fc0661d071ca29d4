/** Watches which files a process opens, and which sockets and programs: by strace, which sees what no answer shows. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';

/** What runs a program so that it is watched, and what it did that it must not. */
export interface FileWatch {
  readonly runner: readonly [string, ...string[]];
  /** System calls since the last call that are beyond `allowed`, as strace writes them. */
  strays(): string[];
}

/** Whether strace is here and may watch. */
export function canWatch(): boolean {
  try {
    execFileSync('strace', ['-f', '--seccomp-bpf', '-qq', '-e', 'trace=execve', '-o', '/dev/null', 'true'], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

const calls =
  'open,openat,openat2,creat,connect,execve,execveat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,symlink,symlinkat,link,linkat,mknod,mknodat,truncate,chmod,fchmodat,socket';

/**
 * Prepares a watch.
 * @param log file for strace's own output
 * @param allowed beginnings of paths
 */
export function createFileWatch(log: string, allowed: readonly string[]): FileWatch {
  closeSync(openSync(log, 'w'));
  const file = openSync(log, 'r');
  let rest = '';
  return {
    runner: [
      'strace',
      '-f',
      '--seccomp-bpf',
      '-y',
      '-qq',
      '-e',
      `trace=${calls}`,
      '-e',
      'signal=none',
      '-s',
      '300',
      '-o',
      log,
    ],
    strays() {
      const chunk = Buffer.alloc(1024 ** 2);
      let text = rest;
      for (let bytes = readSync(file, chunk); bytes > 0; bytes = readSync(file, chunk))
        text += chunk.toString('latin1', 0, bytes);
      const lines = text.split('\n');
      rest = lines.pop() ?? '';
      return lines.filter((line) => isStray(line, allowed));
    },
  };
}

/** A line with a path that is allowed, or a relative one of the engine's own directory, is none. */
function isStray(line: string, allowed: readonly string[]): boolean {
  const call = /^\d+\s+(\w+)\((.*)$/.exec(line);
  if (call === null) return false;
  const [, name, args = ''] = call;
  if (name === 'socket') return /AF_INET|AF_UNIX/.test(args);
  if (name === 'connect' || name === 'execve' || name === 'execveat') return true;
  // `-y` names the directory that a path is relative to: `openat(7</data/store>, "data.bin", …)`.
  const named = [...args.matchAll(/(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"/g)];
  const paths = named.map(([, directory, path = '']) => {
    return path.startsWith('/') || directory === undefined ? path : `${directory}/${path}`;
  });
  // The engine's own links from names of tables to their data.
  if (name === 'symlink' && /^(\.\.\/)+store\//.test(paths[0] ?? '')) paths.shift();
  return paths.some((path) => path.includes('/../') || !allowed.some((start) => path.startsWith(start)));
}
