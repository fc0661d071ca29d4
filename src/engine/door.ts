/**
 * Who may come near: what a browser says about the page that makes it send a request. A page of another site must
 * not reach an engine on the machine of whoever reads it, not even to try a password.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { hostOf, isLoopback } from '../process/own-host.ts';
import { EngineError } from './error.ts';

/** Names by which the interface may be called, and pages that may call it. */
export interface DoorOptions {
  /** Where it listens. */
  readonly host: string;
  /** More names by which it is called, without port: `clickhouse.internal`. */
  readonly hosts: readonly string[];
  /** Pages that may use it: `https://console.example`. */
  readonly origins: readonly string[];
}

/**
 * Lets a request come in, or not. Two things are looked at:
 *
 * `Host` must be a name of ours. With DNS rebinding a page of `evil.example` makes that name mean 127.0.0.1, and its
 * requests then are of the same origin for the browser; the name in `Host` is what is left to tell. An address in it
 * cannot be rebound, so any address will do where the interface listens on all of them.
 *
 * `Sec-Fetch-Site` and `Origin` must not be those of another site, whatever the method: a page may send a GET to
 * any address without asking, as an image or a script.
 * Source: https://www.w3.org/TR/fetch-metadata/
 * @throws EngineError 497 when it may not
 */
export function checkDoor(request: IncomingMessage, response: ServerResponse, door: DoorOptions): void {
  const { headers, rawHeaders } = request;
  const count = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length;
  const host = headers.host;
  if (count > 1 || (host !== undefined && !isOurs(host, door))) {
    throw denied(
      `Host ${shown(host)} is no name of this embedded ClickHouse: use the address that it listens on, or allow it with --clickhouse-hosts`,
    );
  }
  const { origin } = headers;
  if (origin !== undefined && door.origins.includes(origin)) {
    allowPage(response, origin);
    return;
  }
  if (origin !== undefined && origin !== `http://${host ?? ''}`) {
    throw denied(
      `Pages of ${shown(origin)} may not use this embedded ClickHouse: allow them with --clickhouse-origins`,
    );
  }
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw denied('Pages of other sites may not use this embedded ClickHouse');
  }
}

const wildcards = new Set(['0.0.0.0', '::']);

function isOurs(header: string, { host, hosts }: DoorOptions): boolean {
  const name = hostOf(header);
  if (name === '') return false;
  if ([host, ...hosts].some((known) => hostOf(known) === name)) return true;
  if (isLoopback(name) || name.endsWith('.localhost')) return true;
  return isIP(name) !== 0 && wildcards.has(host);
}

/** What a browser needs to let a page of another origin read the answer. */
function allowPage(response: ServerResponse, origin: string): void {
  response.setHeader('Access-Control-Allow-Origin', origin);
  response.setHeader('Vary', 'Origin');
  response.setHeader(
    'Access-Control-Expose-Headers',
    'X-ClickHouse-Summary, X-ClickHouse-Exception-Code, X-ClickHouse-Exception-Tag, X-ClickHouse-Format, X-ClickHouse-Query-Id',
  );
}

/** Answers the question that a browser asks before it sends a page's request. Call it behind {@link checkDoor}. */
export function answerPreflight(response: ServerResponse): void {
  response.writeHead(204, {
    'Access-Control-Allow-Methods': 'GET, POST, OPTIONS',
    'Access-Control-Allow-Headers':
      'Authorization, Content-Type, X-ClickHouse-User, X-ClickHouse-Key, X-ClickHouse-Format, X-ClickHouse-Database',
    'Access-Control-Max-Age': '600',
  });
  response.end();
}

function shown(text: string | undefined): string {
  return (text ?? '').slice(0, 100).replace(/[^\x20-\x7e]/g, '?');
}

function denied(message: string): EngineError {
  return new EngineError(497, 'ACCESS_DENIED', message);
}
