/**
 * Keeps what is stored to the user who stores it. All data is below one directory, which nobody else may enter; within
 * it no link leads elsewhere, so that nobody who could write there once gets another file written.
 *
 * Files that only their owner may read, as those of passwords. No link and nobody else's file stands in for one.
 */
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { type ExitCode, exitCodes, messageOf, OperatorError } from '../errors.ts';

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
  return explained(path, () => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const root = realpathSync(path);
    const paths: string[] = [];
    // One by one, and the directory itself first: behind it, nobody changes what is looked at next.
    for (const entry of entriesOf(root)) {
      if (!isOpen(entry)) continue;
      chmodSync(entry.path, entry.isDirectory ? 0o700 : 0o600);
      if (isOpen(entry)) throw refusal(entry.path, keepsNoModes);
      paths.push(entry.path);
    }
    const subject = paths.length === 1 ? paths[0] : `${paths.length} files and directories in ${root}`;
    if (paths.length > 0)
      log?.warn(
        { paths },
        `others could read ${subject}: the mode is now 0700 for directories and 0600 for files`,
      );
    return root;
  });
}

/**
 * What {@link prepareDataDirectory} would tighten, changing nothing.
 * @throws OperatorError as it would
 */
export function findOpenEntries(path: string): string[] {
  return explained(path, () => {
    const root = realpathSync(path);
    return [...entriesOf(root)].filter(isOpen).map((entry) => entry.path);
  });
}

/** Something in a data directory that is for nobody else. */
interface Entry {
  readonly path: string;
  readonly isDirectory: boolean;
}

/** What there may be, from the outside in; whether it is there shows when it is looked at. */
function* entriesOf(root: string): Generator<Entry, void, undefined> {
  yield { path: root, isDirectory: true };
  for (const name of subdirectories) {
    const path = join(root, name);
    yield { path, isDirectory: true };
    if (!logs.includes(name) || !exists(path)) continue;
    for (const topic of readdirSync(path, { withFileTypes: true })) {
      const log = join(path, topic.name);
      // What else is there, as the files of a Kafka, is not of an embedded log.
      if (!topic.isSymbolicLink() && !(topic.isDirectory() && isLog(log))) continue;
      yield { path: log, isDirectory: true };
      for (const file of logFiles) yield { path: join(log, file), isDirectory: false };
    }
  }
}

function isLog(path: string): boolean {
  return logFiles.some((file) => exists(join(path, file)));
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Whether others have a right to it. Nothing has none. */
function isOpen({ path, isDirectory }: Entry): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return false;
  if (stats.isSymbolicLink()) throw refusal(path, leadsElsewhere);
  if (isDirectory && !stats.isDirectory()) throw refusal(path, 'is not a directory');
  if (!isDirectory && !stats.isFile()) throw refusal(path, 'is not a regular file');
  const me = process.geteuid?.();
  if (me !== undefined && stats.uid !== me) {
    const advice = `run as that user, give it to this one (chown -R ${me}), or choose another directory with --data-dir: Millrace would create its own inside this one`;
    throw refusal(path, `belongs to user ${stats.uid}, and this process runs as user ${me}: ${advice}`);
  }
  return (stats.mode & othersMask) !== 0;
}

const leadsElsewhere =
  'is a symbolic link, which would store the data elsewhere: mount the other place there, or choose it with --data-dir';
const keepsNoModes =
  'is on a file system without permissions, so that others may read it: choose another place with --data-dir';

function explained<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    const message = `the data directory ${resolve(path)} cannot be used: ${messageOf(error)}. Choose another with --data-dir`;
    throw new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/**
 * Reads a file of at most `maxBytes` that belongs to the user of this process and to nobody else.
 * @returns its text, or undefined when there is no file
 * @throws OperatorError exit 78 for a symbolic link, anything that is not a regular file, a file of another user, one
 * that group or others have any right to, or one that is larger; exit 69 when it cannot be read. EACCES is its cause.
 */
export function readPrivateFile(path: string, maxBytes: number): string | undefined {
  let file: number;
  try {
    // Without O_NONBLOCK opening a named pipe would wait for its writer.
    file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    if (hasCode(error, 'ELOOP')) throw refusal(path, 'is a symbolic link: put the file itself there');
    throw unusable(path, 'read', error);
  }
  try {
    checkPrivate(path, fstatSync(file));
    const buffer = Buffer.alloc(maxBytes + 1);
    const length = readSync(file, buffer);
    if (length > maxBytes) throw refusal(path, `holds more than ${maxBytes} bytes`);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}

/**
 * Makes a file of mode 0600 that is there with all its content or not at all, and that stays after a power failure.
 * @returns false when something of that name was there already; that stays as it is
 * @throws OperatorError exit 69 when it cannot be written
 */
export function createPrivateFile(path: string, content: string): boolean {
  try {
    // Unlike a rename, a link takes nobody's place.
    withDraft(path, content, (draft) => linkSync(draft, path));
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw unusable(path, 'written', error);
  }
}

/**
 * The same, but in the place of what is there: a link is replaced, and what it leads to stays as it is.
 * @throws OperatorError exit 69 when it cannot be written
 */
export function replacePrivateFile(path: string, content: string): void {
  try {
    withDraft(path, content, (draft) => renameSync(draft, path));
  } catch (error) {
    throw unusable(path, 'written', error);
  }
}

function withDraft(path: string, content: string, publish: (draft: string) => void): void {
  const draft = `${path}.${randomUUID()}`;
  try {
    const file = openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      // The umask may have taken away a right of ours.
      fchmodSync(file, 0o600);
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    publish(draft);
    syncDirectory(dirname(path));
  } finally {
    rmSync(draft, { force: true });
  }
}

function checkPrivate(path: string, stats: Stats): void {
  if (!stats.isFile()) throw refusal(path, 'is not a regular file');
  const me = process.geteuid?.();
  if (me !== undefined && stats.uid !== me) {
    const advice = `run as that user (sudo -u '#${stats.uid}' …), or remove the file if nobody knows where it comes from`;
    throw refusal(path, `belongs to user ${stats.uid}, and this process runs as user ${me}: ${advice}`);
  }
  if ((stats.mode & othersMask) !== 0) {
    const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
    throw refusal(
      path,
      `has mode ${mode}, so others may know its content: chmod 600 ${path}, or remove the file to have a new one generated at the next start`,
    );
  }
}

/** Flushing a file does not flush its name. */
function syncDirectory(path: string): void {
  const directory = openSync(path, O_RDONLY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function refusal(path: string, fault: string): OperatorError {
  return failure(path, fault, exitCodes.configuration);
}

function unusable(path: string, verb: string, cause: unknown): OperatorError {
  return failure(path, `cannot be ${verb}: ${messageOf(cause)}`, exitCodes.unavailable, cause);
}

function failure(path: string, fault: string, exitCode: ExitCode, cause?: unknown): OperatorError {
  return new OperatorError(`${path} ${fault}`, exitCode, { cause });
}
