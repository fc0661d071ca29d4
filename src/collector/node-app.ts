/** The HTTP server of Node.js in the shape of uWebSockets.js, for systems where that cannot be loaded. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer } from 'node:net';
import type { ConnectionLimit } from './connection-limit.ts';
import type {
  Handler,
  HttpApp,
  HttpImplementation,
  HttpRequest,
  HttpResponse,
  HttpServer,
} from './http-app.ts';

/** As uWebSockets.js: a connection on which nothing happens for this long is closed. */
const idleTimeoutMs = 10_000;
const bodyTimeoutMs = 60_000;

/** Makes the implementation on node:http. */
export function createNodeApp(connections: ConnectionLimit): HttpImplementation {
  const routes = new Map<string, Handler>();
  const patterns: string[] = [];
  const add = (method: string) => (path: string, handler: Handler) => {
    if (path.includes(':') && !patterns.includes(path)) patterns.push(path);
    return routes.set(`${method} ${path}`, handler);
  };
  const app: HttpApp = {
    get: add('GET'),
    head: add('HEAD'),
    post: add('POST'),
    options: add('OPTIONS'),
    any: add('ANY'),
  };

  const server = createServer(
    { keepAliveTimeout: idleTimeoutMs, headersTimeout: idleTimeoutMs, requestTimeout: bodyTimeoutMs },
    (message, response) => {
      // As uWebSockets.js: which of two is meant, a proxy before this server may see otherwise.
      if (countHosts(message) > 1) {
        response.writeHead(400, { Connection: 'close' }).end();
        return;
      }
      const path = (message.url ?? '/').split('?', 1)[0] ?? '/';
      const { route, parameters } = matchPattern(path, patterns);
      const keys = [`${message.method} ${route}`, `${message.method} /*`, `ANY ${route}`, 'ANY /*'];
      const key = keys.find((candidate) => routes.has(candidate));
      const request: HttpRequest = {
        getUrl: () => path,
        getHeader: (name) => headerOf(message, name),
        isBlank: (name) => message.headers[name] === '',
        forEach: (visit) => visitHeaders(message, visit),
        getParameter: (index) => parameters[index],
      };
      routes.get(key ?? '')?.(new NodeResponse(message, response), request);
    },
  );
  server.on('connection', (socket) => {
    socket.once('close', () => connections.closed());
    if (!connections.tryOpen()) socket.destroy();
  });
  return { app, listen: (host, port) => listen(server, host, port) };
}

/** The pattern that a path matches, segment by segment, and what stands for its parameters; else the path itself. */
function matchPattern(path: string, patterns: readonly string[]): { route: string; parameters: string[] } {
  const segments = path.split('/');
  for (const route of patterns) {
    const wanted = route.split('/');
    const isMatch =
      wanted.length === segments.length &&
      wanted.every((part, i) => part === segments[i] || (part.startsWith(':') && segments[i] !== ''));
    if (isMatch) return { route, parameters: segments.filter((_, i) => wanted[i]?.startsWith(':')) };
  }
  return { route: path, parameters: [] };
}

function listen(server: Server, host: string, port: number): Promise<HttpServer | undefined> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    // `reusePort` lets workers share the port; a Node.js that does not know it ignores it.
    const options = { host, port, reusePort: process.env.MILLRACE_WORKER !== undefined };
    server.listen(options, () => {
      resolve({
        port: (server.address() as AddressInfo).port,
        // Not http.Server's own close: it also cuts connections that are idle now, and with them the requests
        // that are on their way.
        stopListening: () => void NetServer.prototype.close.call(server),
        close: () => server.closeAllConnections(),
      });
    });
  });
}

function visitHeaders({ rawHeaders }: IncomingMessage, visit: (name: string, value: string) => void): void {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    visit((rawHeaders[i] as string).toLowerCase(), rawHeaders[i + 1] as string);
  }
}

function countHosts({ rawHeaders }: IncomingMessage): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') count++;
  }
  return count;
}

function headerOf(message: IncomingMessage, name: string): string {
  const value = message.headers[name];
  return Array.isArray(value) ? value.join(', ') : (value ?? '');
}

class NodeResponse implements HttpResponse {
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(message: IncomingMessage, response: ServerResponse) {
    this.#message = message;
    this.#response = response;
  }

  onData(handler: (piece: ArrayBuffer, isLast: boolean) => void): void {
    this.#message.on('data', (piece: Buffer) => {
      handler(new Uint8Array(piece).buffer, false);
    });
    this.#message.once('end', () => handler(new ArrayBuffer(0), true));
    this.#message.once('error', () => {});
  }

  onAborted(handler: () => void): void {
    this.#response.once('close', () => {
      if (!this.#response.writableFinished) handler();
    });
  }

  cork(write: () => void): void {
    write();
  }

  writeStatus(head: string): void {
    const [status = '', ...headers] = head.split('\r\n');
    const space = status.indexOf(' ');
    this.#response.statusCode = Number(status.slice(0, space));
    this.#response.statusMessage = status.slice(space + 1);
    for (const header of headers) {
      const colon = header.indexOf(': ');
      this.writeHeader(header.slice(0, colon), header.slice(colon + 2));
    }
  }

  writeHeader(name: string, value: string): void {
    this.#response.setHeader(name, value);
  }

  end(body: string, closeConnection: boolean): void {
    if (closeConnection) this.#response.setHeader('Connection', 'close');
    this.#response.end(body);
    this.#dropRest();
  }

  endWithoutBody(): void {
    this.#response.end();
    this.#dropRest();
  }

  /** The rest of a body that is not wanted is read and dropped, or the client would never read the answer. */
  #dropRest(): void {
    this.#message.resume();
  }
}
