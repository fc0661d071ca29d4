/** A small HTTP server that answers as a collector does, and can be told to misbehave. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Answers one request, or returns false to have it answered as usual. `n` counts requests from 1. */
export type Misbehave = (n: number, request: IncomingMessage, response: ServerResponse) => boolean;

/** A running server. */
export interface FakeCollector {
  readonly url: string;
  /** Events as they were posted, accepted ones only, in the order of their offsets. */
  readonly events: readonly string[];
  /** Number of events of each request that was accepted. */
  readonly requests: readonly number[];
  readonly contentTypes: ReadonlySet<string | undefined>;
  /** When each request that was accepted came, milliseconds. */
  readonly timesMs: readonly number[];
  close(): Promise<void>;
}

/** Starts one on a free port. It rejects events that are no JSON or that have no property `event`. */
export async function startFakeCollector(
  misbehave: Misbehave = () => false,
  options: { port?: number; delayMs?: number } = {},
): Promise<FakeCollector> {
  const events: string[] = [];
  const requests: number[] = [];
  const timesMs: number[] = [];
  const contentTypes = new Set<string | undefined>();
  let count = 0;

  function accept(request: IncomingMessage, body: string): { status: number; answer: unknown } {
    const type = request.headers['content-type'];
    contentTypes.add(type);
    const lines = type === 'application/json' ? [body] : body.split('\n');
    const faults = lines.map(findFault);
    const good = lines.filter((_, index) => faults[index] === undefined);
    const offset = events.length;
    events.push(...good);
    requests.push(lines.length);
    timesMs.push(performance.now());
    if (type === 'application/json') {
      if (faults[0] !== undefined)
        return { status: 422, answer: { code: faults[0], detail: 'no', retry: false } };
      return { status: 200, answer: { status: 'ok', partition: 0, offset } };
    }
    const rejected = faults.flatMap((code, index) => (code ? [{ index, code, detail: 'no' }] : []));
    const receipts = good.length === 0 ? [] : [{ partition: 0, offset, count: good.length }];
    const status = rejected.length === 0 ? 'ok' : 'partial';
    return { status: 200, answer: { status, accepted: good.length, rejected, receipts } };
  }

  const server = createServer(async (request, response) => {
    count += 1;
    if (misbehave(count, request, response)) return;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (options.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.delayMs));
    const { status, answer } =
      request.method === 'POST' && request.url === '/v1/events'
        ? accept(request, Buffer.concat(chunks).toString())
        : { status: 404, answer: { code: 'NOT_FOUND', detail: 'there is nothing here' } };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    events,
    requests,
    contentTypes,
    timesMs,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function findFault(line: string): string | undefined {
  try {
    const event: unknown = JSON.parse(line);
    return typeof event === 'object' && event !== null && 'event' in event ? undefined : 'INVALID_EVENT';
  } catch {
    return 'INVALID_JSON';
  }
}
