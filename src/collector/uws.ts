/**
 * Loads uWebSockets.js. Its binaries are made for one Node.js major version each; two releases together cover
 * Node 20, 22, 24 and 26.
 */
import { createRequire } from 'node:module';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** The module as its type declarations describe it. */
export type Uws = typeof import('uws-node20');
export type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from 'uws-node20';

const releases: Readonly<Record<string, string>> = { '115': 'uws-node20' };
const newestRelease = 'uws-node22';

/**
 * Loads the binary for this Node.js.
 * @throws OperatorError exit 69 when there is none: another Node.js version, or a system without glibc
 */
export function loadUws(): Uws {
  const name = releases[process.versions.modules] ?? newestRelease;
  try {
    return createRequire(import.meta.url)(name) as Uws;
  } catch (error) {
    throw new OperatorError(
      `uWebSockets.js cannot be loaded on Node.js ${process.versions.node}, ${process.platform} ${process.arch}: ` +
        `${messageOf(error).split('\n', 1)[0]} Its binary is chosen when packages are installed: after changing the ` +
        'version of Node.js run npm ci again. It needs Node.js 20, 22, 24 or 26, and glibc',
      exitCodes.unavailable,
    );
  }
}
