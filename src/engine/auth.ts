/** Checks the user and the password of a request. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { EngineError } from './error.ts';
import { headerOf } from './parameters.ts';
import type { Role } from './policy.ts';

/** One user of the embedded ClickHouse. */
export interface Account {
  readonly role: Role;
  readonly user: string;
  /**
   * SHA-256 of the password, in hex: the process that runs queries does not hold the password itself. Undefined: nobody
   * needs one.
   */
  readonly passwordHash: string | undefined;
  /** Whether the password is 32 random bytes: no number of guesses finds it. */
  readonly isGenerated: boolean;
}

/** Wrong passwords that an address may give at once, and how long it takes until it may give one more. */
const freeGuesses = 10;
const guessMs = 1_000;
/** Addresses that are remembered; the oldest is forgotten for one more. */
const maxAddresses = 10_000;

/** Lets requests pass, or not. */
export class Guard {
  readonly #accounts: readonly Account[];
  readonly #guesses = new Map<string, { count: number; at: number }>();
  /** Connections on which the right password came: guesses of others do not lock them out. */
  readonly #trusted = new WeakSet<Socket>();
  readonly #now: () => number;

  constructor(accounts: readonly Account[], now: () => number = () => performance.now()) {
    this.#accounts = accounts;
    this.#now = now;
  }

  /**
   * Whose request it is.
   * @throws EngineError 194 without credentials, 516 with wrong ones, 201 after too many wrong ones
   */
  admit(request: IncomingMessage, url: URLSearchParams): Role {
    const credentials = credentialsOf(request, url);
    const open = this.#accounts.find(
      ({ user, passwordHash }) => user === credentials.user && passwordHash === undefined,
    );
    if (open !== undefined) return open.role;
    if (credentials.password === '') {
      throw new EngineError(
        194,
        'REQUIRED_PASSWORD',
        'default: Authentication failed: password is required. To find it, see the banner of millrace start or docs/security.md',
      );
    }
    const address = networkOf(request.socket.remoteAddress ?? '');
    const isLocked = this.#isLocked(address) && !this.#trusted.has(request.socket);
    const role = this.#find(credentials, isLocked);
    if (role !== undefined) {
      this.#trusted.add(request.socket);
      return role;
    }
    if (isLocked) {
      const message = 'Too many wrong passwords came from this address. Try again in a second';
      throw new EngineError(201, 'QUOTA_EXCEEDED', message, 429);
    }
    this.#count(address);
    throw new EngineError(
      516,
      'AUTHENTICATION_FAILED',
      `${printable(credentials.user)}: Authentication failed: password is incorrect, or there is no user with such name`,
    );
  }

  /** All comparisons are made, so that the time tells nothing about which one failed. */
  #find(credentials: Credentials, isLocked: boolean): Role | undefined {
    const hash = sha256(credentials.password);
    let role: Role | undefined;
    for (const account of this.#accounts) {
      const isUser = timingSafeEqual(sha256(credentials.user), sha256(account.user));
      const isPassword = timingSafeEqual(hash, Buffer.from(account.passwordHash ?? noHash, 'hex'));
      // A chosen password could be guessed in the end, a generated one cannot: only the first is worth a lock.
      if (isUser && isPassword && (account.isGenerated || !isLocked)) role = account.role;
    }
    return role;
  }

  #isLocked(address: string): boolean {
    const guesses = this.#guesses.get(address);
    if (guesses === undefined) return false;
    const left = guesses.count - (this.#now() - guesses.at) / guessMs;
    if (left <= 0) this.#guesses.delete(address);
    return left > freeGuesses - 1;
  }

  #count(address: string): void {
    const now = this.#now();
    const before = this.#guesses.get(address);
    const left = before === undefined ? 0 : Math.max(0, before.count - (now - before.at) / guessMs);
    this.#guesses.delete(address);
    if (this.#guesses.size >= maxAddresses) {
      const [oldest = ''] = this.#guesses.keys();
      this.#guesses.delete(oldest);
    }
    this.#guesses.set(address, { count: left + 1, at: now });
  }
}

/** Of no password. */
const noHash = '0'.repeat(64);

interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** Without a user that of ClickHouse's default, without a password an empty one: that of a request which asks for one. */
function credentialsOf({ headers }: IncomingMessage, url: URLSearchParams): Credentials {
  const user = headerOf(headers, 'x-clickhouse-user');
  const key = headerOf(headers, 'x-clickhouse-key');
  if (user !== undefined || key !== undefined) return { user: user || 'default', password: key ?? '' };
  const basic = /^Basic +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (basic !== undefined) {
    const text = Buffer.from(basic, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon >= 0) return { user: text.slice(0, colon) || 'default', password: text.slice(colon + 1) };
  }
  return { user: url.get('user') || 'default', password: url.get('password') ?? '' };
}

/** Whoever has one address of a network of IPv6 has them all. */
function networkOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  return address.split(':').slice(0, 4).join(':');
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function printable(text: string): string {
  return text.slice(0, 100).replace(/[^\x20-\x7e]/g, '?');
}
