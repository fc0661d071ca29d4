/** A TCP proxy that understands just enough of Kafka's framing to lose things at the worst moment. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * What becomes of a request: `pass` it on; `lose-answer`: pass it on, and cut the connection when the broker
 * answers; `lose-request`: cut the connection instead of passing it on; `stall`: swallow it and everything
 * after it on this connection, which stays open; `forge`: answer with {@link TcpProxy.forged} in place of the broker;
 * `forge-answer`: pass it on, and give that answer in place of the broker's own.
 */
export type Fate = 'pass' | 'lose-answer' | 'lose-request' | 'stall' | 'forge' | 'forge-answer';

/** API keys of requests. */
export const apiKeys = { produce: 0, fetch: 1, offsetCommit: 8, joinGroup: 11, heartbeat: 12 } as const;

/** A running proxy. */
export interface TcpProxy {
  readonly port: number;
  /** Decides about each request; passes everything on at first. */
  decide: (request: { apiKey: number; clientId: string; bytes: Buffer }) => Fate;
  /** Makes what a forged answer is, its length in front included. */
  forged: (request: { correlationId: number }) => Buffer;
  /** How often each fate was met. */
  readonly counts: Record<Fate, number>;
  /** Where connections go. */
  target: { host: string; port: number };
  /** Cuts all connections. */
  cutAll(): void;
  close(): Promise<void>;
}

/** Starts a proxy on a free loopback port. `target` may be set later. */
export async function startTcpProxy(target = { host: '127.0.0.1', port: 0 }): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => relay(client));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const proxy: TcpProxy = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    decide: () => 'pass',
    forged: () => Buffer.alloc(0),
    counts: { pass: 0, 'lose-answer': 0, 'lose-request': 0, stall: 0, forge: 0, 'forge-answer': 0 },
    target,
    cutAll() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      proxy.cutAll();
      server.close();
      await once(server, 'close');
    },
  };

  function relay(client: Socket): void {
    const broker = connect(proxy.target.port, proxy.target.host);
    let isAnswerLost = false;
    let isStalled = false;
    let pending = Buffer.alloc(0);
    let answers = Buffer.alloc(0);
    /** Numbers of requests whose answers are not the broker's. */
    const forging = new Set<number>();
    for (const socket of [client, broker]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        broker.destroy();
      });
    }
    broker.on('data', (chunk) => {
      if (isAnswerLost) client.destroy();
      else if (!isStalled) answer(chunk);
    });
    /** Passes whole answers on: any of them may have to be another one. */
    function answer(chunk: Buffer): void {
      answers = Buffer.concat([answers, chunk]);
      while (answers.length >= 4 && answers.length >= 4 + answers.readInt32BE(0)) {
        const bytes = answers.subarray(0, 4 + answers.readInt32BE(0));
        answers = answers.subarray(bytes.length);
        const correlationId = bytes.readInt32BE(4);
        client.write(forging.delete(correlationId) ? proxy.forged({ correlationId }) : bytes);
      }
    }

    client.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
        const bytes = pending.subarray(0, 4 + pending.readInt32BE(0));
        pending = pending.subarray(bytes.length);
        if (isStalled) continue;
        const clientId = bytes.toString('utf8', 14, 14 + bytes.readInt16BE(12));
        const fate = proxy.decide({ apiKey: bytes.readInt16BE(4), clientId, bytes });
        proxy.counts[fate]++;
        if (fate === 'lose-request') {
          client.destroy();
          return;
        }
        if (fate === 'forge') {
          client.write(proxy.forged({ correlationId: bytes.readInt32BE(8) }));
          continue;
        }
        if (fate === 'forge-answer') forging.add(bytes.readInt32BE(8));
        if (fate === 'stall') isStalled = true;
        else broker.write(bytes);
        if (fate === 'lose-answer') isAnswerLost = true;
      }
    });
  }
  return proxy;
}
