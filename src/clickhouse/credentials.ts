/**
 * As whom ClickHouse is asked. The embedded one has two users: its owner (`--clickhouse-user`), who may create, insert
 * and drop, and `reader`, who may SELECT. Their passwords are random unless they are given, and are in files of the
 * data directory, so that whoever may read that directory needs no configuration.
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Config, options, variableName } from '../config/options.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { createPrivateFile, prepareDataDirectory, readPrivateFile } from '../process/data-directory.ts';
import { isOwnHost } from '../process/hosts.ts';
import { rememberSecret } from '../redact.ts';

/** What somebody may do in the embedded ClickHouse. */
export type Role = 'owner' | 'reader';

/** Name of the user who may only read. */
export const readerUser = 'reader';

/** A password of the embedded ClickHouse. */
export interface Password {
  /** Empty: it was given as empty, and none is asked for. */
  readonly text: string;
  /** Whether it is in a file of the data directory, made there by this start or an earlier one; else it was given. */
  readonly isGenerated: boolean;
}

/** The passwords of the embedded ClickHouse. */
type Passwords = Readonly<Record<Role, Password>>;

/** How a client of ClickHouse says who it is. */
export interface Credentials {
  readonly user: string;
  /** Empty: none is sent. */
  readonly password: string;
  /** For a person, when ClickHouse does not take them: where the password came from, and what to do. No secret. */
  readonly loginHint: string;
}

/** The options that {@link credentialsFor} and {@link ensurePasswords} look at. */
type CredentialsConfig = Pick<
  Config,
  | 'clickhouseUrl'
  | 'clickhouseUser'
  | 'clickhousePassword'
  | 'clickhouseReaderPassword'
  | 'clickhouseAuth'
  | 'dataDir'
>;

const passwordKeys = { owner: 'clickhousePassword', reader: 'clickhouseReaderPassword' } as const;
const fileNames = { owner: 'clickhouse-password', reader: 'clickhouse-reader-password' } as const;

/** Bytes. */
const randomLength = 32;
/** Below that a password can be guessed, and is more likely a file that was cut off. Characters. */
const minLength = 16;
const maxFileBytes = 1024;
/** What can stand in a header as it is. */
const printable = /^[!-~]+$/;

/** File of a role's password. */
export function passwordFile(dataDir: string, role: Role): string {
  return join(resolve(dataDir), fileNames[role]);
}

/**
 * The passwords for the process that starts the embedded ClickHouse: those that are given, else those in the files of
 * the data directory, which are made when they are not there. Processes that start at once agree on one. Not for
 * `--no-clickhouse-auth`, where nobody needs one.
 * @throws OperatorError exit 78 for an owner who is called `reader`, or who is not `default` and has no password; for a
 * data directory that is not for this user alone; for a file that is a link, not a regular file, of another user, open
 * to group or others, or without a password of 16 characters or more; 69 when it cannot be read or made
 */
export function ensurePasswords(config: CredentialsConfig): Passwords {
  const { clickhouseUser: user, clickhousePassword } = config;
  if (user === readerUser) {
    const message = `--clickhouse-user ${readerUser} is the read-only user of the embedded ClickHouse: choose another name for its owner`;
    throw new OperatorError(message, exitCodes.configuration);
  }
  if (user !== ownerUser && clickhousePassword === undefined) {
    const message = `the embedded ClickHouse generates a password for user ${ownerUser} only: with --clickhouse-user ${user} set ${givenBy('owner')} for it and its clients`;
    throw new OperatorError(message, exitCodes.configuration);
  }
  prepareDataDirectory(config.dataDir);
  return { owner: ensurePassword(config, 'owner'), reader: ensurePassword(config, 'reader') };
}

function ensurePassword(config: CredentialsConfig, role: Role): Password {
  const configured = config[passwordKeys[role]];
  if (configured !== undefined) return { text: configured, isGenerated: false };
  return {
    text: readPassword(config.dataDir, role) ?? makePassword(config.dataDir, role),
    isGenerated: true,
  };
}

function makePassword(dataDir: string, role: Role): string {
  const path = passwordFile(dataDir, role);
  createPrivateFile(path, `${randomBytes(randomLength).toString('base64url')}\n`);
  // Another process may have been faster.
  const made = readPassword(dataDir, role);
  if (made !== undefined) return made;
  throw new OperatorError(
    `${path} was removed while it was being created: start again`,
    exitCodes.unavailable,
  );
}

function readPassword(dataDir: string, role: Role): string | undefined {
  const path = passwordFile(dataDir, role);
  const text = readPrivateFile(path, maxFileBytes)?.trim();
  if (text === undefined) return undefined;
  if (text.length < minLength || !printable.test(text)) {
    throw new OperatorError(
      `${path} does not hold a password of at least ${minLength} printable characters: remove it to have a new one generated at the next start, or set ${variableName(passwordKeys[role])}_FILE`,
      exitCodes.configuration,
    );
  }
  rememberSecret(text);
  return text;
}

/**
 * As whom a client asks ClickHouse. A password that is given comes first. Without one the files of the data directory
 * are looked at, but only when the URL is this machine and the user one of the embedded ClickHouse: what is in them is
 * sent to nobody else. A reader without a password anywhere asks as the owner: a server of one's own need not have
 * such a user.
 * @throws OperatorError exit 78 or 69 for a file that is there and cannot be used, as {@link ensurePasswords}
 */
export function credentialsFor(config: CredentialsConfig, role: Role): Credentials {
  const { clickhouseUser: user, clickhousePassword, clickhouseReaderPassword, dataDir } = config;
  const isDefault = user === ownerUser;
  const isReader = user === readerUser || (isDefault && role === 'reader');
  if (isReader && clickhouseReaderPassword !== undefined)
    return given(readerUser, clickhouseReaderPassword, 'reader');
  if (clickhousePassword !== undefined) return given(user, clickhousePassword, 'owner');
  if (config.clickhouseAuth && isOwnHost(config.clickhouseUrl.hostname)) {
    if (isReader) {
      const password = readPasswordAsClient(dataDir, 'reader');
      if (password !== undefined) return fromFile(readerUser, password, dataDir, 'reader');
    }
    if (isDefault) {
      const password = readPasswordAsClient(dataDir, 'owner');
      if (password !== undefined) return fromFile(user, password, dataDir, 'owner');
    }
  }
  const loginHint =
    `User ${user} was sent without a password: set ${givenBy('owner')}. Those of the embedded ClickHouse are read ` +
    `from files in --data-dir (${resolve(dataDir)}), for the users ${ownerUser} and ${readerUser} and a ` +
    '--clickhouse-url of this machine only';
  return { user, password: '', loginHint };
}

/** The user whose password may be in a file: anybody else is one of a server of one's own. */
const ownerUser = options.clickhouseUser.default;

function given(user: string, password: string, role: Role): Credentials {
  const subject = password === '' ? 'an empty password, from' : 'the password of';
  const loginHint = `User ${user} was sent with ${subject} ${givenBy(role)}: check it and --clickhouse-user`;
  return { user, password, loginHint };
}

function fromFile(user: string, password: string, dataDir: string, role: Role): Credentials {
  const loginHint =
    `User ${user} was sent with the password in ${passwordFile(dataDir, role)}, which belongs to the embedded ClickHouse ` +
    'in that directory: point --data-dir at the directory in use. For another server, or an embedded one that was ' +
    `started with a password of its own, set ${givenBy('owner')}`;
  return { user, password, loginHint };
}

function givenBy(role: Role): string {
  const name = variableName(passwordKeys[role]);
  return `${name} or ${name}_FILE`;
}

/** Says whom to ask, when the file is there for somebody else. */
function readPasswordAsClient(dataDir: string, role: Role): string | undefined {
  try {
    return readPassword(dataDir, role);
  } catch (error) {
    const cause = error instanceof OperatorError ? error.cause : undefined;
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EACCES')) throw error;
    const owner = ownerOf(resolve(dataDir));
    const whom = owner === undefined ? 'the user who owns it' : `user ${owner} (sudo -u '#${owner}' …)`;
    throw new OperatorError(
      `${passwordFile(dataDir, role)} cannot be read by user ${process.geteuid?.()}. Run this as ${whom}, or set ` +
        `${variableName(passwordKeys[role])}_FILE to a file with the password that you may read. ` +
        `${variableName('clickhousePassword')}= (empty) connects without one`,
      exitCodes.configuration,
      { cause: error },
    );
  }
}

function ownerOf(directory: string): number | undefined {
  try {
    return statSync(directory).uid;
  } catch {
    // It is within a directory that is not for us either.
    return undefined;
  }
}
