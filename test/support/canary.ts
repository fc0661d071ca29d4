/** Things that an attack must not reach, and what tells that it did. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file with a secret, a directory that stays empty, and a port that nobody calls. */
export interface Canary {
  readonly file: string;
  readonly secret: string;
  /** A path in the empty directory. */
  readonly out: string;
  readonly url: string;
  /** What was reached since the last call. */
  harm(): string[];
  close(): void;
}

/** Sets them up. */
export async function createCanary(): Promise<Canary> {
  const directory = mkdtempSync(join(tmpdir(), 'canary-'));
  const outside = mkdtempSync(join(tmpdir(), 'canary-out-'));
  const file = join(directory, 'secret.txt');
  const secret = `canary${randomBytes(8).toString('hex')}`;
  writeFileSync(file, `${secret}\n`);
  let calls = 0;
  const server: Server = createServer((socket) => {
    calls += 1;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as { port: number };
  return {
    file,
    secret,
    out: join(outside, 'out'),
    url: `http://127.0.0.1:${port}`,
    harm() {
      const written = readdirSync(outside).map((name) => `wrote ${name}`);
      for (const name of readdirSync(outside)) rmSync(join(outside, name), { recursive: true });
      const called = calls > 0 ? [`${calls} connections`] : [];
      calls = 0;
      return [...written, ...called];
    },
    close() {
      server.close();
      for (const path of [directory, outside]) rmSync(path, { recursive: true, force: true });
    },
  };
}
