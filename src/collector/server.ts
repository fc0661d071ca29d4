/** The HTTP server of the collector: routes, and nothing else. */
import type { Address } from '../config/types.ts';
import { portInUse } from '../process/probe-port.ts';
import { handlePost, type PostContext } from './handle-post.ts';
import { type Answer, problemAnswer, reply } from './reply.ts';
import { type HttpRequest, type HttpResponse, loadUws, type us_listen_socket } from './uws.ts';

/** What the routes answer with. */
export interface Routes {
  readonly posts: PostContext;
  readonly status: () => Answer;
  readonly livez: () => Answer;
  readonly readyz: () => Answer;
  readonly metrics: () => Promise<Answer>;
}

/** A listening server. */
export interface Server {
  /** Port listened on. */
  readonly port: number;
  /** Takes no new connections. */
  stopListening(): void;
  /** Closes every connection. */
  close(): void;
}

const preflight = {
  'Access-Control-Allow-Methods': 'GET, POST, OPTIONS',
  'Access-Control-Allow-Headers':
    'content-type, content-encoding, authorization, idempotency-key, traceparent, tracestate, baggage',
  'Access-Control-Max-Age': '86400',
} as const;

/**
 * Listens. Several processes may listen on one port, even strangers to each other: the kernel spreads
 * connections over them. Whoever wants the port for itself probes it before.
 * @throws OperatorError exit 69 when the address cannot be listened on
 */
export async function listen(address: Address, routes: Routes): Promise<Server> {
  const uws = loadUws();
  const app = uws.App();
  const post = (name: 'offset' | 'Offset') => (res: HttpResponse, req: HttpRequest) =>
    handlePost(res, req, routes.posts, name);
  const get = (answer: () => Answer) => (res: HttpResponse) => reply(res, answer());

  app.post('/v1/events', post('offset')).post('/post', post('Offset'));
  app.get('/status', get(routes.status)).get('/livez', get(routes.livez)).get('/readyz', get(routes.readyz));
  app.get('/metrics', (res) => {
    let isAborted = false;
    res.onAborted(() => {
      isAborted = true;
    });
    void routes.metrics().then((answer) => {
      if (!isAborted) reply(res, answer);
    });
  });
  app.options('/*', (res) => reply(res, { status: 204, headers: preflight, body: '' }));
  for (const path of ['/v1/events', '/post']) app.any(path, refuseMethod('POST, OPTIONS'));
  for (const path of ['/status', '/livez', '/readyz', '/metrics'])
    app.any(path, refuseMethod('GET, OPTIONS'));
  app.any('/*', (res, req) => {
    const detail = `${req.getUrl()} is unknown; events go to POST /v1/events`;
    reply(res, problemAnswer({ code: 'NOT_FOUND', detail }));
  });

  const socket = await new Promise<us_listen_socket | false>((resolve) => {
    app.listen(address.host, address.port, resolve);
  });
  if (socket === false) throw portInUse(address, 'listen');
  return {
    port: uws.us_socket_local_port(socket as unknown as Parameters<typeof uws.us_socket_local_port>[0]),
    stopListening: () => uws.us_listen_socket_close(socket),
    close: () => app.close(),
  };
}

function refuseMethod(allow: string) {
  return (res: HttpResponse, req: HttpRequest): void => {
    const detail = `${req.getUrl()} takes ${allow}`;
    reply(res, problemAnswer({ code: 'METHOD_NOT_ALLOWED', detail }, { headers: { Allow: allow } }));
  };
}
