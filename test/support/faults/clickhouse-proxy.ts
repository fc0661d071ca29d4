/** A proxy in front of ClickHouse that loses requests or answers, or holds them back, at the worst moment. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What becomes of a request. `pass`; `lose-answer`: ClickHouse does it, and the connection is cut instead of
 * answered; `lose-request`: the connection is cut after the body, and ClickHouse hears nothing; `cut-body`:
 * ClickHouse gets half of the body and then a broken connection, the client too; `hold`: as `pass`, but only
 * after `release`, even if the client is gone by then.
 */
export type RequestFate = 'pass' | 'lose-answer' | 'lose-request' | 'cut-body' | 'hold';

/** A running proxy. */
export interface ClickHouseProxy {
  readonly url: string;
  /** Decides about each insert into `table`; passes everything on at first. */
  decide: (table: string) => RequestFate;
  /** Requests held back now. */
  readonly held: number;
  /** How often each fate was met by an insert. */
  readonly counts: Record<RequestFate, number>;
  /** Lets go of everything that is held back. */
  release(): void;
  close(): Promise<void>;
}

/** Starts it on a free port. */
export async function startClickHouseProxy(target: string): Promise<ClickHouseProxy> {
  /** What lets go of the requests that are held back. */
  const held: (() => void)[] = [];
  const server = createServer((incoming, outgoing) => {
    void relay(incoming, outgoing).catch(() => outgoing.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  async function relay(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const fate = decideFor(incoming.url ?? '/');
    if (fate === 'lose-request') {
      outgoing.destroy();
      return;
    }
    if (fate === 'hold') await new Promise<void>((resolve) => held.push(resolve));
    const answer = await forward(incoming, body, fate === 'cut-body');
    if (fate === 'lose-answer') outgoing.destroy();
    else outgoing.writeHead(answer.status, answer.headers).end(answer.body);
  }

  function decideFor(url: string): RequestFate {
    const sql = new URL(url, target).searchParams.get('query') ?? '';
    const table = /^INSERT INTO \S*?(events|dead_letters|repeats)\b/.exec(sql.replaceAll('`', ''))?.[1];
    if (table === undefined) return 'pass';
    const fate = proxy.decide(table);
    proxy.counts[fate]++;
    return fate;
  }

  function forward(incoming: IncomingMessage, body: Buffer, isCut: boolean) {
    const { 'transfer-encoding': _, ...headers } = incoming.headers;
    const { method, url } = incoming;
    const sent = { method, headers: { ...headers, 'content-length': body.length }, agent: false };
    return new Promise<{ status: number; headers: Record<string, string>; body: Buffer }>(
      (resolve, reject) => {
        const upstream = request(new URL(url ?? '/', target), sent, async (response) => {
          try {
            const parts: Buffer[] = [];
            for await (const part of response) parts.push(part as Buffer);
            const { connection: _c, 'transfer-encoding': _t, 'keep-alive': _k, ...kept } = response.headers;
            resolve({
              status: response.statusCode ?? 502,
              headers: kept as Record<string, string>,
              body: Buffer.concat(parts),
            });
          } catch (error) {
            reject(error as Error);
          }
        });
        upstream.once('error', reject);
        if (!isCut) upstream.end(body);
        else upstream.write(body.subarray(0, body.length >> 1), () => upstream.destroy());
      },
    );
  }

  const proxy: ClickHouseProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    decide: () => 'pass',
    get held() {
      return held.length;
    },
    counts: { pass: 0, 'lose-answer': 0, 'lose-request': 0, 'cut-body': 0, hold: 0 },
    release() {
      for (const go of held.splice(0)) go();
    },
    async close() {
      proxy.release();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return proxy;
}
