/**
 * Loads uWebSockets.js. Its binaries are made for one Node.js major version each, and come as a package each: those for
 * Node 20 and 22 are of one release, and need glibc 2.27; those for 24 and 26 are of another, and need glibc 2.38.
 * `npm run check:uws` compares them with upstream's.
 */
import { createRequire } from 'node:module';
import { messageOf } from '../errors.ts';
import type { ConnectionLimit } from './connection-limit.ts';
import type { HttpApp, HttpImplementation } from './http-app.ts';

/** What is used of a binary; its app and its responses have more. */
interface Uws {
  App(): UwsApp;
  us_socket_local_port(socket: UwsListenSocket): number;
  us_listen_socket_close(socket: UwsListenSocket): void;
}

interface UwsApp extends HttpApp {
  /** Tells of each connection, with 1 when it opens and -1 when it closes. */
  filter(handler: (res: UwsConnection, change: number | boolean) => void): unknown;
  listen(host: string, port: number, done: (socket: UwsListenSocket | false) => void): unknown;
  /** Closes every connection. */
  close(): unknown;
}

interface UwsConnection {
  close(): unknown;
}

/** What it is, the binary alone knows. */
type UwsListenSocket = object;

/** uWebSockets.js, or why it cannot be loaded here. */
export function loadUws(connections: ConnectionLimit): HttpImplementation | { readonly reason: string } {
  const name = `@uwsjs/${process.platform}-${process.arch}-${process.versions.node.split('.', 1)[0]}`;
  try {
    return wrap(createRequire(import.meta.url)(name) as Uws, connections);
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

function wrap(uws: Uws, connections: ConnectionLimit): HttpImplementation {
  const app = uws.App();
  const follow = (res: UwsConnection, change: number): void => {
    if (change < 0) connections.closed();
    else if (!connections.tryOpen()) res.close();
  };
  app.filter((res, change) => follow(res, Number(change)));
  return {
    app,
    async listen(host, port) {
      const socket = await new Promise<UwsListenSocket | false>((resolve) => {
        app.listen(host, port, resolve);
      });
      if (socket === false) return undefined;
      return {
        port: uws.us_socket_local_port(socket),
        stopListening: () => uws.us_listen_socket_close(socket),
        close: () => app.close(),
      };
    },
  };
}

/** The system's reason, without the paths around it. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  const library = /version `GLIBC_[\d.]+' not found/.exec(message);
  if (library !== null) return library[0];
  if (message.includes('Cannot find module')) {
    const here = `Node.js ${process.versions.node} on ${process.platform}-${process.arch}`;
    return `no binary for ${here} is installed; run npm ci again after changing the version of Node.js`;
  }
  return message.split('\n', 1)[0] ?? message;
}
