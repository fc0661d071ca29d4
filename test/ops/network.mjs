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
 * @param {object} [options]
 * @param {number} [options.seconds] how long, without the time that asking takes
 * @param {import('node:child_process').ChildProcess} [options.child] who is waited for: not when it has ended
 * @param {() => string} [options.said] what it said so far, for the message
 * @throws {CheckError}
 */
export async function until(what, isSo, { seconds = 30, child, said } = {}) {
  for (let tries = 0; tries < seconds * 10 && (child?.exitCode ?? null) === null; tries++) {
    if (
      await Promise.resolve()
        .then(isSo)
        .catch(() => false)
    )
      return;
    await setTimeout(100);
  }
  throw new CheckError(`waited in vain for ${what}${said === undefined ? '' : `:\n${said()}`}`);
}

/** The same for a URL that answers with a 2xx. */
export function untilOk(url, options) {
  return until(`${url} to say yes`, async () => (await fetch(url)).ok, options);
}
