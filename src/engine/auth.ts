/** Checks the user and the password of a request. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { EngineError } from './error.ts';
import { headerOf } from './parameters.ts';

/** The one user of the embedded ClickHouse. */
export interface Credentials {
  readonly user: string;
  /** Empty: none is needed. */
  readonly password: string;
}

/**
 * Lets a request pass, or not.
 * @throws EngineError 516 when user or password are wrong, or a web page sent it and there is no password
 */
export function authenticate(request: IncomingMessage, url: URLSearchParams, expected: Credentials): void {
  const given = credentialsOf(request, url);
  // Both comparisons are made, so that the time tells nothing about which one failed.
  const isUser = isEqual(given.user, expected.user);
  const isPassword = isEqual(given.password, expected.password);
  if (!isUser || !isPassword) {
    throw new EngineError(
      516,
      'AUTHENTICATION_FAILED',
      `${given.user}: Authentication failed: password is incorrect, or there is no user with such name`,
    );
  }
  if (expected.password === '') refuseWebPages(request);
}

/** Any page that a browser on this machine shows may post to a loopback address; only a password stops it. */
function refuseWebPages({ headers }: IncomingMessage): void {
  const origin = headerOf(headers, 'origin');
  if (origin === undefined || origin === `http://${headers.host ?? ''}`) return;
  throw new EngineError(
    516,
    'AUTHENTICATION_FAILED',
    `Authentication failed: web pages of ${origin} may not query an embedded ClickHouse without a password`,
  );
}

function credentialsOf(request: IncomingMessage, url: URLSearchParams): Credentials {
  const { headers } = request;
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

function isEqual(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
}
