/** The streamer's own HTTP server: `/status`, `/livez`, `/readyz` and `/metrics`. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address } from '../config/types.ts';
import { portInUse } from '../process/probe-port.ts';

/** An answer of the status server. */
export interface StatusAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Paths and what they answer. */
export type StatusRoutes = Readonly<Record<string, () => StatusAnswer | Promise<StatusAnswer>>>;

/** A running status server. */
export interface StatusServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Starts it.
 * @param option name of the option that chooses the address
 * @throws OperatorError exit 69 when the address cannot be listened on
 */
export async function startStatusServer(
  address: Address,
  routes: StatusRoutes,
  option: string,
): Promise<StatusServer> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const route = routes[path];
    const send = ({ status, type, body }: StatusAnswer) =>
      response
        .writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
        .end(body);
    request.resume();
    if (route === undefined)
      send({ status: 404, type: 'text/plain', body: `known paths: ${Object.keys(routes).join(' ')}\n` });
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send({ status: 405, type: 'text/plain', body: 'only GET and HEAD\n' });
    } else {
      Promise.resolve(route()).then(send, (error: unknown) =>
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
