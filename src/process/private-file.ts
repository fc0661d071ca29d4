/** Files that only their owner may read, as those of passwords. No link and nobody else's file stands in for one. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { type ExitCode, exitCodes, messageOf, OperatorError } from '../errors.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/** Read, write or execute for the group or for others. */
const othersMask = 0o077;

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
    const advice = `run as that user (sudo -u '#${stats.uid}' …), or remove the file if nobody knows where it is from`;
    throw refusal(path, `belongs to user ${stats.uid}, and this process runs as user ${me}: ${advice}`);
  }
  if ((stats.mode & othersMask) !== 0) {
    const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
    throw refusal(
      path,
      `has mode ${mode}, so others may know what is in it: chmod 600 ${path}, or remove the file to have a new one made at the next start`,
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
