/** The routes of the HTTP interface. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Guard } from './auth.ts';
import { answerPreflight, checkDoor, type DoorOptions } from './door.ts';
import { EngineError, toEngineError } from './error.ts';
import { readParameters } from './parameters.ts';
import { type QueryContext, runQuery } from './query.ts';
import { Reply, type ServerFacts } from './response.ts';

/** What answering requests takes. */
export interface HandlerContext extends QueryContext {
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
