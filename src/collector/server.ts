/** The HTTP server of the collector: routes, and nothing else. */
import type { Logger } from 'pino';
import type { Address } from '../config/types.ts';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { portInUse, type StatusGuard } from '../process/hosts.ts';
import type { ConnectionLimit } from './connection-limit.ts';
import { readRequestId } from './failure-log.ts';
import { handlePost, type PostContext } from './handle-post.ts';
import {
  checkFraming,
  forHead,
  type Handler,
  type HttpImplementation,
  type HttpRequest,
  type HttpResponse,
  type HttpServer,
} from './http-app.ts';
import { createNodeApp } from './node-app.ts';
import type { ReceiptRequest } from './receipts.ts';
import { type Answer, problemAnswer, reply, replyToPost } from './reply.ts';
import { loadUws } from './uws.ts';

/** What the routes answer with. */
export interface Routes {
  readonly posts: PostContext;
  readonly status: () => Answer;
  readonly livez: () => Answer;
  readonly readyz: () => Answer;
  readonly metrics: () => Promise<Answer>;
  /** Answers for a receipt, named by the segments of the path as they were sent. */
  readonly receipt: (request: ReceiptRequest) => Promise<Answer>;
}

const receiptPath = '/v1/receipts/:place/:offset';

/** Which HTTP server to use; `auto` is uWebSockets.js where it can be loaded, else that of Node.js. */
export type HttpServerKind = 'auto' | 'uws' | 'node';

/** How to serve. */
interface ServerOptions {
  readonly kind: HttpServerKind;
  readonly connections: ConnectionLimit;
  /** Says who gets anything but answers to posts. */
  readonly guard: StatusGuard;
  readonly log: Logger;
}

const preflight = {
  'Access-Control-Allow-Methods': 'POST, OPTIONS',
  'Access-Control-Allow-Headers':
    'content-type, content-encoding, authorization, idempotency-key, x-request-id, traceparent, tracestate, baggage',
  'Access-Control-Max-Age': '86400',
} as const;

/**
 * Listens. Several processes may listen on one port, even strangers to each other: the kernel spreads
 * connections over them. Whoever wants the port for itself probes it before.
 * @throws OperatorError exit 69 when the address cannot be listened on
 */
export async function listen(address: Address, routes: Routes, options: ServerOptions): Promise<HttpServer> {
  const { app, listen: listenOn } = chooseImplementation(options);
  const post = (name: 'offset' | 'Offset') => (res: HttpResponse, req: HttpRequest) =>
    handlePost(res, req, routes.posts, name);

  app.post('/v1/events', post('offset'));
  app.post('/post', post('Offset'));
  for (const path of ['/v1/events', '/post']) {
    const refuse = refuseMethod('POST, OPTIONS', replyToPost);
    app.options(
      path,
      framed((res) => replyToPost(res, { status: 204, headers: preflight, body: '' })),
    );
    app.any(path, framed(refuse));
    app.head(path, forHead(framed(refuse)));
  }
  for (const [path, handler] of Object.entries(statusHandlers(routes, options.guard))) {
    app.get(path, framed(handler));
    app.head(path, forHead(framed(handler)));
    app.any(path, framed(refuseMethod('GET, HEAD', reply)));
  }
  app.any('/*', framed(refusePath));
  app.head('/*', forHead(framed(refusePath)));

  const server = await listenOn(address.host, address.port);
  if (server === undefined) throw portInUse(address, 'listen');
  return server;
}

/** A handler of requests whose end is clear; a post looks at that itself. */
function framed(handler: Handler): Handler {
  return (res, req) => {
    const problem = checkFraming(req);
    if (problem === undefined) handler(res, req);
    else reply(res, { ...problemAnswer(problem), isLast: true });
  };
}

/** What GET and HEAD are for. */
function statusHandlers(routes: Routes, guard: StatusGuard): Readonly<Record<string, Handler>> {
  const judge = (req: HttpRequest) =>
    guard({
      host: req.getHeader('host'),
      origin: req.getHeader('origin'),
      site: req.getHeader('sec-fetch-site'),
    });
  /** Balancers ask under any name, and need no more than the status. */
  const probe = (answer: () => Answer) => (res: HttpResponse, req: HttpRequest) =>
    reply(res, judge(req) === undefined ? answer() : { ...answer(), body: '{}' });
  const page = (handler: Handler) => (res: HttpResponse, req: HttpRequest) => {
    const refusal = judge(req);
    if (refusal === undefined) handler(res, req);
    else reply(res, problemAnswer(refusal));
  };
  return {
    '/livez': probe(routes.livez),
    '/readyz': probe(routes.readyz),
    '/status': page((res) => reply(res, routes.status())),
    '/metrics': page((res) => replyLater(res, routes.metrics())),
    [receiptPath]: page((res, req) =>
      replyLater(
        res,
        routes.receipt({
          place: req.getParameter(0) ?? '',
          offset: req.getParameter(1) ?? '',
          requestId: readRequestId(req),
        }),
      ),
    ),
  };
}

function replyLater(res: HttpResponse, answer: Promise<Answer>): void {
  let isAborted = false;
  res.onAborted(() => {
    isAborted = true;
  });
  const send = (found: Answer): void => {
    if (!isAborted) reply(res, found);
  };
  answer.then(send, (error: unknown) => {
    send({
      status: 503,
      type: 'text/plain; charset=utf-8',
      body: `this cannot be answered now: ${messageOf(error)}\n`,
    });
  });
}

function chooseImplementation({ kind, connections, log }: ServerOptions): HttpImplementation {
  if (kind === 'node') return createNodeApp(connections);
  const uws = loadUws(connections);
  if ('app' in uws) return uws;
  if (kind === 'uws') {
    throw new OperatorError(
      `uWebSockets.js cannot be loaded: ${uws.reason}. Use --http-server node`,
      exitCodes.unavailable,
    );
  }
  log.warn(`uWebSockets.js cannot be loaded: ${uws.reason}. Serving by the slower server of Node.js instead`);
  return createNodeApp(connections);
}

function refuseMethod(allow: string, send: typeof reply) {
  return (res: HttpResponse, req: HttpRequest): void => {
    const detail = `${req.getUrl()} supports only ${allow}`;
    send(res, problemAnswer({ code: 'METHOD_NOT_ALLOWED', detail }, { headers: { Allow: allow } }));
  };
}

function refusePath(res: HttpResponse, req: HttpRequest): void {
  const detail = `${req.getUrl()} is not a known path; send events to POST /v1/events`;
  reply(res, problemAnswer({ code: 'NOT_FOUND', detail }));
}
