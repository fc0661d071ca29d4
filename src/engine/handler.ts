/** The routes of the HTTP interface. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { authenticate, type Credentials } from './auth.ts';
import { EngineError, toEngineError } from './error.ts';
import { readParameters } from './parameters.ts';
import { type QueryContext, runQuery } from './query.ts';
import { Reply, type ServerFacts } from './response.ts';

/** What answering requests takes. */
export interface HandlerContext extends QueryContext {
  readonly facts: ServerFacts;
  readonly credentials: Credentials;
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
  const target = request.url ?? '/';
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const isGet = request.method === 'GET' || request.method === 'HEAD';
  if (isGet && (target === '/' || path === '/ping' || path === '/replicas_status')) {
    sendText(response, 200, 'Ok.\n');
  } else if (path !== '/' && path !== '/query') {
    sendText(response, 404, `There is no handle ${target}\nUse / or /ping for health checks.\n`);
  } else if (!isGet && request.method !== 'POST' && request.method !== 'PUT') {
    sendText(response, 405, 'Use GET or POST.\n');
  } else {
    const url = new URLSearchParams(mark < 0 ? '' : target.slice(mark));
    await answerQuery(context, request, { response, url });
  }
  // What the client still sends of a refused body would be taken for its next request.
  if (!request.complete) request.resume();
}

async function answerQuery(
  context: HandlerContext,
  request: IncomingMessage,
  { response, url }: { readonly response: ServerResponse; readonly url: URLSearchParams },
): Promise<void> {
  const reply = new Reply(response, context.facts);
  try {
    authenticate(request, url, context.credentials);
    const parameters = readParameters(url, request.headers, request.method);
    reply.setQueryId(parameters.queryId);
    await runQuery(context, request, parameters, reply);
  } catch (thrown) {
    const error = explained(toEngineError(thrown), request);
    if (!(thrown instanceof EngineError)) context.log.error({ err: thrown }, 'query failed unexpectedly');
    else context.log.debug({ code: error.code, type: error.type }, error.message);
    if (!request.complete) response.setHeader('Connection', 'close');
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

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=UTF-8',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
}
