/** A real browser: the system's Chromium, and pages of sites that do not exist. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

/** Any name of this zone is this machine, for the browser. */
const zone = 'example';

/** Where Chromium is; undefined when it is not installed. */
export function findChromium(): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  return names
    .flatMap((name) => directories.map((directory) => join(directory, name)))
    .find((path) => existsSync(path));
}

/** Starts it with a profile of its own, which is gone afterwards. */
export function startBrowser(executablePath: string): Promise<Browser> {
  return chromium.launch({
    executablePath,
    headless: true,
    // The proxy of whoever runs the tests is not asked for names that do not exist.
    args: [
      `--host-resolver-rules=MAP *.${zone} 127.0.0.1`,
      ...['--no-proxy-server', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
}

const script = readFileSync(new URL('./hostile-page.js', import.meta.url), 'utf8');

/** A page that has all the ways of hostile-page.js, as `ways`, and nothing else. */
export const hostilePage = `<!doctype html><meta charset="utf-8"><title>page</title><body><script>{${script}}</script>`;

/** Serves that page under any name of the zone and any path. */
export async function servePage(): Promise<{ port: number; close(): void }> {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(hostilePage);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as { port: number };
  return {
    port,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/**
 * Serves that page as /page, and passes every other connection on to `target`: what a browser meets when the name of
 * a page leads to a server of ours since the page was loaded.
 */
export async function serveReboundPage(target: string): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const page = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(hostilePage)}\r\nConnection: close\r\n\r\n${hostilePage}`;
  const server = createTcpServer((client) => {
    client.on('error', () => {});
    client.once('close', () => sockets.delete(client));
    sockets.add(client);
    client.once('data', (first) => {
      if (first.toString('latin1').startsWith('GET /page ')) {
        client.end(page);
        return;
      }
      const { hostname, port } = new URL(target);
      const upstream = connect(Number(port), hostname).on('error', () => client.destroy());
      upstream.write(first);
      client.pipe(upstream).pipe(client);
    });
  });
  server.listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as { port: number };
  return {
    port,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
