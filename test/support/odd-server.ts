/** A server on real sockets that answers posts as it is told, or not at all. */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';

/** A post that has come completely. */
export interface Post {
  /** Counts posts from 0. */
  readonly n: number;
  readonly head: string;
  readonly body: string;
  readonly socket: Socket;
}

/** A running server. */
export interface OddServer {
  readonly url: URL;
  /** Posts that have come so far. */
  readonly posts: number;
  /** Connections that were made so far. */
  readonly connections: number;
  /** Stops listening and breaks every connection. */
  close(): Promise<void>;
}

/** Starts one on a free port of loopback; with `tls` it speaks https. */
export async function startOddServer(answer: (post: Post) => void, tls?: TlsOptions): Promise<OddServer> {
  const sockets = new Set<Socket>();
  let posts = 0;
  let connections = 0;

  function serve(socket: Socket): void {
    let text = '';
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (;;) {
        const headEnd = text.indexOf('\r\n\r\n') + 4;
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
        if (headEnd === 3 || text.length < headEnd + length) return;
        const post = { head: text.slice(0, headEnd), body: text.slice(headEnd, headEnd + length) };
        text = text.slice(headEnd + length);
        answer({ n: posts++, ...post, socket });
      }
    });
  }

  const server: Server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: new URL(`${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`),
    get posts() {
      return posts;
    },
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** An answer as bytes. */
export function formatAnswer(status: number, body: unknown, headers = ''): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return `HTTP/1.1 ${status} X\r\nContent-Length: ${Buffer.byteLength(text)}\r\n${headers}\r\n${text}`;
}

/** The answer of a collector to a single event. */
export function formatReceipt(offset: number): string {
  return formatAnswer(200, { status: 'ok', partition: 0, offset });
}
