/** The streamer's own HTTP server: `/status`, `/livez`, `/readyz` and `/metrics`. */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address } from '../../config/types.ts';
import { createStatusGuard, portInUse } from '../../process/hosts.ts';

/** An answer of the status server. */
export interface StatusAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Paths and what they answer. */
type StatusRoutes = Readonly<Record<string, () => StatusAnswer | Promise<StatusAnswer>>>;

/** How to serve. */
interface StatusServerOptions {
  /** Name of the option that chooses the address. */
  readonly option: string;
  /** Host names under which the pages are given, beside the machine's own. */
  readonly statusHosts: readonly string[];
}

/** What balancers ask, under any name: whoever is no guest gets the status alone. */
const probes: ReadonlySet<string> = new Set(['/livez', '/readyz']);

/** A running status server. */
interface StatusServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Starts it.
 * @throws OperatorError exit 69 when the address cannot be listened on
 */
export async function startStatusServer(
  address: Address,
  routes: StatusRoutes,
  { option, statusHosts }: StatusServerOptions,
): Promise<StatusServer> {
  const known = new Map(Object.entries(routes));
  const guard = createStatusGuard(address, statusHosts);
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const route = known.get(path);
    const refusal = guard(visitorOf(request));
    const send = ({ status, type, body }: StatusAnswer) =>
      response
        .writeHead(status, {
          'content-type': type,
          'content-length': Buffer.byteLength(body),
          ...notForPages,
        })
        .end(body);
    request.resume();
    if (refusal !== undefined && !probes.has(path)) {
      send({ status: 403, type: 'text/plain', body: `${refusal.code}: ${refusal.detail}\n` });
    } else if (route === undefined)
      send({ status: 404, type: 'text/plain', body: `known paths: ${[...known.keys()].join(' ')}\n` });
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send({ status: 405, type: 'text/plain', body: 'only GET and HEAD\n' });
    } else {
      const sendRoute = (answer: StatusAnswer) =>
        send(refusal === undefined ? answer : { ...answer, body: '{}' });
      Promise.resolve(route()).then(sendRoute, (error: unknown) =>
        send({ status: 500, type: 'text/plain', body: `${error}\n` }),
      );
    }
  });
  try {
    server.listen({ host: address.host, port: address.port, exclusive: true });
    await once(server, 'listening');
  } catch {
    throw portInUse(address, option);
  }
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** As the collector's: no page may take an answer for a script or a style sheet. */
const notForPages = { 'x-content-type-options': 'nosniff', 'cross-origin-resource-policy': 'same-origin' };

/** Several hosts are none of ours: which of them is meant is not clear. */
function visitorOf({ headers, headersDistinct }: IncomingMessage) {
  const site = headers['sec-fetch-site'];
  return {
    host: headersDistinct.host?.join(', ') ?? '',
    origin: headers.origin ?? '',
    site: typeof site === 'string' ? site : '',
  };
}
