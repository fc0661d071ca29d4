/** Ports and waiting, for checks that start the real thing. */
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { CheckError } from './check.mjs';

/** Starts a server on loopback; gives its port. */
export async function listen(server) {
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return server.address().port;
}

/** Ports of loopback that were free a moment ago, each another one. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(servers.map(listen));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** One such port. */
export async function freePort() {
  const [port] = await freePorts(1);
  return port;
}

/**
 * Asks until it is so; an error counts as no.
 * @param {string} what waited for, for the message
 * @param {() => boolean | Promise<boolean>} isSo
 * @throws {CheckError} after 30 s
 */
export async function until(what, isSo) {
  for (let tries = 0; tries < 300; tries++) {
    if (
      await Promise.resolve()
        .then(isSo)
        .catch(() => false)
    )
      return;
    await setTimeout(100);
  }
  throw new CheckError(`waited in vain for ${what}`);
}
