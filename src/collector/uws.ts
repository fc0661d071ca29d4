/**
 * Loads uWebSockets.js. Its binaries are made for one Node.js major version each: one release covers Node 20
 * and 22, and needs glibc 2.27; the other covers 24 and 26, and needs glibc 2.38.
 */
import { createRequire } from 'node:module';
import type { HttpResponse as UwsResponse, us_listen_socket } from 'uws-node20';
import { messageOf } from '../errors.ts';
import type { ConnectionLimit } from './connection-limit.ts';
import type { HttpImplementation } from './http-app.ts';

type Uws = typeof import('uws-node20');

/** Ends of the support of the older release: NODE_MODULE_VERSION of Node 22. */
const newestOfOldRelease = 127;

/** uWebSockets.js, or why it cannot be loaded here. */
export function loadUws(connections: ConnectionLimit): HttpImplementation | { readonly reason: string } {
  const name = Number(process.versions.modules) <= newestOfOldRelease ? 'uws-node20' : 'uws-node24';
  try {
    return wrap(createRequire(import.meta.url)(name) as Uws, connections);
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

function wrap(uws: Uws, connections: ConnectionLimit): HttpImplementation {
  const app = uws.App();
  const follow = (res: UwsResponse, change: number): void => {
    if (change < 0) connections.closed();
    else if (!connections.tryOpen()) res.close();
  };
  app.filter((res, change) => follow(res, Number(change)));
  return {
    app,
    async listen(host, port) {
      const socket = await new Promise<us_listen_socket | false>((resolve) => {
        app.listen(host, port, resolve);
      });
      if (socket === false) return undefined;
      return {
        // The declarations ask for another kind of socket than `listen` gives; the function takes both.
        port: uws.us_socket_local_port(socket as unknown as Parameters<Uws['us_socket_local_port']>[0]),
        stopListening: () => uws.us_listen_socket_close(socket),
        close: () => app.close(),
      };
    },
  };
}

/** uWebSockets.js hides the system's reason behind its own: look for it. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  const library = /version `GLIBC_[\d.]+' not found/.exec(message);
  if (library !== null) return library[0];
  if (message.includes('Cannot find module')) {
    return `no binary for Node.js ${process.versions.node} is installed; after changing the version of Node.js run npm ci again`;
  }
  return message.split('\n', 1)[0] ?? message;
}
