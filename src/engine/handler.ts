/**
 * The routes of the HTTP interface.
 *
 * Who may come near: what a browser says about the page that makes it send a request. A page of another site must
 * not reach an engine on the machine of whoever reads it, not even to try a password.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Logger } from 'pino';
import { hostOf, isLoopback } from '../process/hosts.ts';
import type { Guard } from './auth.ts';
import { EngineError, toEngineError } from './error.ts';
import { readParameters } from './parameters.ts';
import { type QueryContext, runQuery } from './query.ts';
import { Reply, type ServerFacts } from './response.ts';

/** What answering requests takes. */
interface HandlerContext extends QueryContext {
  readonly facts: ServerFacts;
  readonly guard: Guard;
  readonly door: DoorOptions;
  readonly log: Logger;
}

/** Answers one request. Never throws. */
export async function handleRequest(
  context: HandlerContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // A client that leaves early makes writing fail; there is nobody left to tell.
  response.on('error', (err) => context.log.debug({ err }, 'response not sent'));
  // A result is data, and never a script or a page, whatever it holds.
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'; sandbox");
  const target = request.url ?? '/';
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const isGet = request.method === 'GET' || request.method === 'HEAD';
  const reply = new Reply(response, context.facts);
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  await failing(context, { request, reply }, async () => {
    checkDoor(request, response, context.door);
    if (request.method === 'OPTIONS' && response.hasHeader('Access-Control-Allow-Origin')) {
      answerPreflight(response);
    } else if (isGet && (target === '/' || path === '/ping' || path === '/replicas_status')) {
      sendText(request, response, 200, 'Ok.\n');
    } else if (path !== '/' && path !== '/query') {
      sendText(request, response, 404, 'There is no such handle. Use / or /ping for health checks.\n');
    } else if (!isGet && request.method !== 'POST' && request.method !== 'PUT') {
      sendText(request, response, 405, 'Use GET or POST.\n');
    } else {
      const url = new URLSearchParams(mark < 0 ? '' : target.slice(mark));
      const role = context.guard.admit(request, url);
      const parameters = readParameters({ url, request, role });
      reply.setQueryId(parameters.scope.queryId);
      await runQuery(context, { request, parameters, gone: gone.signal }, reply);
    }
  });
  // What the client still sends of a refused body would be taken for its next request.
  if (!request.complete) request.resume();
}

/** Turns what goes wrong into ClickHouse's answer to it. */
async function failing(
  { log }: HandlerContext,
  { request, reply }: { readonly request: IncomingMessage; readonly reply: Reply },
  answer: () => Promise<void>,
): Promise<void> {
  try {
    await answer();
  } catch (thrown) {
    const error = explained(toEngineError(thrown), request);
    // Messages of the engine quote data: the log has the code.
    if (thrown instanceof EngineError) log.debug({ code: error.code, type: error.type }, 'query refused');
    else log.error({ err: thrown }, 'query failed unexpectedly');
    if (!request.complete) reply.closeConnection();
    reply.fail(error);
  }
}

/** GET is read-only, which surprises people. */
function explained(error: EngineError, request: IncomingMessage): EngineError {
  if (error.code !== 164 || request.method === 'POST') return error;
  const hint =
    'For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries';
  return new EngineError(error.code, error.type, `${error.message.replace(/\.$/, '')}. ${hint}`);
}

function sendText(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  // Nobody reads the body of such a request, however long it goes on.
  const { headers } = request;
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0) {
    response.setHeader('Connection', 'close');
  }
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=UTF-8',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
}

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
      `Host ${shown(host)} is not a name of this embedded ClickHouse: use the address that it listens on, or allow this name with --clickhouse-hosts`,
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
function answerPreflight(response: ServerResponse): void {
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
