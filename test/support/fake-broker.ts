/** A broker on a real socket that answers whatever a test wants: frames of Kafka's protocol, or what only looks like it. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** A request, as far as its head goes. */
export interface FakeRequest {
  /** Counts requests from 0. */
  readonly n: number;
  readonly apiKey: number;
  readonly correlationId: number;
  readonly socket: Socket;
}

/** A running broker. */
export interface FakeBroker {
  readonly host: string;
  readonly port: number;
  /** Requests that have come so far. */
  readonly requests: number;
  /** Connections that are open now. */
  readonly open: number;
  close(): Promise<void>;
}

/** Starts one on a free port of loopback. What `answer` returns is written as it is. */
export async function startFakeBroker(answer: (request: FakeRequest) => Buffer): Promise<FakeBroker> {
  const sockets = new Set<Socket>();
  let requests = 0;
  const server: Server = createServer((socket) => {
    let pending = Buffer.alloc(0);
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
        const request = {
          n: requests++,
          apiKey: pending.readInt16BE(4),
          correlationId: pending.readInt32BE(8),
        };
        pending = pending.subarray(4 + pending.readInt32BE(0));
        socket.write(answer({ ...request, socket }));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    host: '127.0.0.1',
    port: typeof address === 'object' && address !== null ? address.port : 0,
    get requests() {
      return requests;
    },
    get open() {
      return sockets.size;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** An answer: its length, which may lie, the number of its request, and the rest. */
export function frame(
  correlationId: number,
  body: Uint8Array = Buffer.alloc(0),
  length = 4 + body.length,
): Buffer {
  const head = Buffer.alloc(8);
  head.writeInt32BE(length, 0);
  head.writeInt32BE(correlationId, 4);
  return Buffer.concat([head, body]);
}
