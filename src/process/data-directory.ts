/**
 * Keeps what is stored to the user who stores it. All data is below one directory, which nobody else may enter; within
 * it no link leads elsewhere, so that nobody who could write there once gets another file written.
 */
import { chmodSync, lstatSync, mkdirSync, readdirSync, realpathSync, type Stats } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** Directories of Millrace in a data directory. Whatever else is there is somebody else's, and left alone. */
const subdirectories = ['log', 'spool', 'clickhouse', 'clickhouse.inserts', 'backups'] as const;
/** Those of them that hold a directory for each topic, and what that holds: src/buffer/embedded. */
const logs: readonly string[] = ['log', 'spool'];
const logFiles = ['data.mdb', 'lock.mdb'] as const;
/** Read, write or execute for the group or for others. */
const othersMask = 0o077;

/**
 * Makes the data directory, or sees that it is for this user alone: modes are set to 0700 and 0600, which is logged.
 * The path itself may be a link, nothing within it may. To be called before anything is made there.
 * @returns the path without links
 * @throws OperatorError exit 78 when the directory or something in it belongs to another user, is a link or of another
 * kind, or keeps no modes; 69 when it cannot be made or looked at
 */
export function prepareDataDirectory(path: string, log?: Pick<Logger, 'warn'>): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const root = realpathSync(path);
    const tightened = [
      tighten(root, 'directory'),
      ...subdirectories.flatMap((name) => tightenBelow(root, name)),
    ];
    const paths = tightened.filter((one) => one !== undefined);
    if (paths.length > 0)
      log?.warn(
        { paths },
        `others could read ${paths.length === 1 ? paths[0] : `${paths.length} files and directories in ${root}`}: the mode is now 0700, of files 0600`,
      );
    return root;
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    const message = `the data directory ${resolve(path)} cannot be used: ${messageOf(error)}. Choose another with --data-dir`;
    throw new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
}

function tightenBelow(root: string, name: string): (string | undefined)[] {
  const directory = join(root, name);
  const own = tighten(directory, 'directory');
  if (!logs.includes(name) || !exists(directory)) return [own];
  // What else is there, as the files of a Kafka, is not of an embedded log.
  const topics = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink() || (entry.isDirectory() && isLog(join(directory, entry.name))))
    .map(({ name: topic }) => join(directory, topic));
  return [
    own,
    ...topics.flatMap((topic) => [
      tighten(topic, 'directory'),
      ...logFiles.map((file) => tighten(join(topic, file), 'file')),
    ]),
  ];
}

function isLog(path: string): boolean {
  return logFiles.some((file) => exists(join(path, file)));
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** @returns the path when its mode was changed; nothing where there is nothing */
function tighten(path: string, kind: 'directory' | 'file'): string | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  check(path, stats, kind);
  if ((stats.mode & othersMask) === 0) return undefined;
  chmodSync(path, kind === 'directory' ? 0o700 : 0o600);
  if ((lstatSync(path).mode & othersMask) === 0) return path;
  throw refusal(
    path,
    'is on a file system that keeps no modes, so that others may read it: choose another place with --data-dir',
  );
}

function check(path: string, stats: Stats, kind: 'directory' | 'file'): void {
  if (stats.isSymbolicLink())
    throw refusal(
      path,
      'is a symbolic link, which would lead what is stored elsewhere: mount the other place there, or choose it with --data-dir',
    );
  if (kind === 'directory' ? !stats.isDirectory() : !stats.isFile())
    throw refusal(path, kind === 'directory' ? 'is not a directory' : 'is not a regular file');
  const me = process.geteuid?.();
  if (me !== undefined && stats.uid !== me) {
    const advice = `run as that user, give it to this one (chown -R ${me}), or choose another directory with --data-dir: within this one, Millrace would make its own`;
    throw refusal(path, `belongs to user ${stats.uid}, and this process runs as user ${me}: ${advice}`);
  }
}

function refusal(path: string, fault: string): OperatorError {
  return new OperatorError(`${path} ${fault}`, exitCodes.configuration);
}
