import { request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSite, type Program, type Site, startProgram, temporaryDirectory } from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
let program: Program;

interface Got {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** As a client with headers that fetch would not let pass. */
function ask(url: string, options: { method?: string; headers?: Record<string, string> } = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
    });
    sent.once('error', reject);
    sent.end(options.method === 'POST' ? '{"event":"view"}' : undefined);
  });
}

/** The first line of the answer to this text. */
function askRaw(url: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
    let got = '';
    socket.on('data', (data) => {
      got += data.toString('latin1');
      if (got.includes('\r\n\r\n')) socket.destroy();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(got.split('\r\n', 1)[0] ?? ''));
  });
}

const pages = ['/status', '/metrics'];
const receipt = '/v1/receipts/0/0';
const cors = 'access-control-allow-origin';

describe.each(['uws', 'node'])('the status pages, by the server %s', (server) => {
  beforeAll(async () => {
    directory = temporaryDirectory();
    site = await createSite(directory.path);
    const names = ['--status-hosts', 'collector-1,status.example.com'];
    program = await startProgram(['start', ...site.flags, '--http-server', server, ...names]);
  });
  afterAll(async () => {
    await program?.kill();
    directory.remove();
  });

  const all = () => [
    ...[...pages, receipt].map((path) => `${site.collector}${path}`),
    ...pages.map((path) => `${site.streamer}${path}`),
  ];

  test('are given under names of this machine and of --status-hosts, and under no other', async () => {
    for (const url of all()) {
      const { port } = new URL(url);
      for (const host of [
        `localhost:${port}`,
        `[::1]:${port}`,
        '10.1.2.3',
        'collector-1:8080',
        'status.example.com',
      ]) {
        expect([url, host, (await ask(url, { headers: { host } })).status]).not.toContain(403);
      }
      for (const host of [`evil.example:${port}`, 'localhost.evil.example', 'collector-2']) {
        const { status, body } = await ask(url, { headers: { host } });
        expect([url, host, status]).toEqual([url, host, 403]);
        expect(body).toContain('HOST_NOT_ALLOWED');
        expect(body).toContain('--status-hosts');
      }
      expect((await ask(url, { method: 'HEAD', headers: { host: 'evil.example' } })).status).toBe(403);
    }
  });

  test('tell pages of other sites nothing, and are readable by none', async () => {
    for (const url of all()) {
      for (const headers of [
        { origin: 'http://evil.example' },
        { origin: 'null' },
        { 'sec-fetch-site': 'cross-site' },
      ]) {
        const { status, body } = await ask(url, { headers });
        expect([url, status]).toEqual([url, 403]);
        expect(body).toContain('ORIGIN_NOT_ALLOWED');
      }
      const own = await ask(url, {
        headers: { origin: new URL(url).origin, 'sec-fetch-site': 'same-origin' },
      });
      expect(own.status).not.toBe(403);
      expect(own.headers['x-content-type-options']).toBe('nosniff');
      for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'DELETE']) {
        expect([url, method, (await ask(url, { method })).headers[cors]]).toEqual([url, method, undefined]);
      }
    }
    for (const path of ['/livez', '/readyz', '/nowhere']) {
      expect((await ask(`${site.collector}${path}`)).headers[cors]).toBe(undefined);
      expect((await ask(`${site.collector}${path}`, { method: 'OPTIONS' })).headers[cors]).toBe(undefined);
    }
  });

  test('that balancers ask give their status to everybody, and details to nobody else', async () => {
    for (const url of [site.collector, site.streamer]) {
      for (const path of ['/livez', '/readyz']) {
        const own = await ask(`${url}${path}`);
        const foreign = await ask(`${url}${path}`, { headers: { host: 'balancer.example' } });
        expect(foreign).toMatchObject({ status: own.status, body: '{}' });
        expect(own.body).toContain('"status"');
      }
      for (const path of [...pages, '/livez']) {
        const line = await askRaw(url, `GET ${path} HTTP/1.1\r\nHost: \r\n\r\n`);
        expect([path, line]).not.toContainEqual(expect.stringContaining('403'));
      }
    }
    expect(await askRaw(site.streamer, 'GET /metrics HTTP/1.0\r\n\r\n')).toContain('200');
  });

  test('are no matter to posts: any page may send events under any name', async () => {
    const headers = {
      ...{ host: 'collector.example', origin: 'https://shop.example', 'sec-fetch-site': 'cross-site' },
      'content-type': 'application/json',
    };
    for (const path of ['/v1/events', '/post']) {
      const url = `${site.collector}${path}`;
      const stored = await ask(url, { method: 'POST', headers });
      expect([stored.status, stored.headers[cors]]).toEqual([200, '*']);
      const asked = await ask(url, { method: 'OPTIONS', headers });
      expect([asked.status, asked.headers[cors]]).toEqual([204, '*']);
      const wrong = await ask(url, { method: 'POST', headers: { ...headers, 'content-type': 'image/png' } });
      expect([wrong.status, wrong.headers[cors]]).toEqual([415, '*']);
      expect(await ask(url, { headers })).toMatchObject({ status: 405, headers: { [cors]: '*' } });
    }
  });
});
