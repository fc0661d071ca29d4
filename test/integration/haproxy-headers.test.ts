import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Haproxy, hasHaproxy, startHaproxy } from '../support/haproxy.ts';
import { temporaryDirectory } from '../support/program.ts';

const isInstalled = await hasHaproxy();
if (process.env.TEST_REQUIRE_HAPROXY === '1' && !isInstalled) throw new Error('haproxy is not installed');

const directory = temporaryDirectory();
const servers: Server[] = [];
let proxy: Haproxy;

/** A stand-in for a collector: answers with the headers that reach it. */
async function startEcho(): Promise<string> {
  const server = createServer((req, res) => res.end(JSON.stringify(req.headers)));
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Headers of a request as they come through the proxy. */
async function pass(path: string, headers: Record<string, string>): Promise<IncomingHttpHeaders> {
  // Its certificate is for tests.
  const sent = request(`${proxy.url}${path}`, { rejectUnauthorized: false, agent: false, headers });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return JSON.parse(await text(response)) as IncomingHttpHeaders;
}

describe.skipIf(!isInstalled)('through the HAProxy of docker/', () => {
  beforeAll(async () => {
    proxy = await startHaproxy([await startEcho(), await startEcho()], directory.path);
  });
  afterAll(async () => {
    await proxy?.stop();
    for (const server of servers) server.close();
    directory.remove();
  });

  test('no client says what its requests are called in logs, nor whether they are traced', async () => {
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const sent = { 'x-request-id': 'mine', traceparent: parent, tracestate: 'a=b', 'idempotency-key': 'k' };
    const [first, second] = [await pass('/v1/events', sent), await pass('/v1/events', sent)];
    expect(first['x-request-id']).toMatch(/^[\da-f-]{36}$/);
    expect(second['x-request-id']).not.toBe(first['x-request-id']);
    expect(first.traceparent).toBe(undefined);
    expect(first.tracestate).toBe(undefined);
    expect(first['idempotency-key']).toBe('k');
  });

  test('receipts are asked for under a name that collectors know, whatever clients call the proxy', async () => {
    const headers = {
      host: 'collector.example',
      'sec-fetch-site': 'cross-site',
      origin: 'https://evil.example',
    };
    const { host, ...others } = await pass('/v1/receipts/0/0', headers);
    expect(host).toBe('localhost');
    // By these the collector refuses pages of other sites.
    expect(others).toMatchObject({ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' });
    expect((await pass('/v1/events', headers)).host).toBe('collector.example');
  });
});
