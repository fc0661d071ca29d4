/**
 * Who may read the status pages. They have no password, and a browser asks them for any page that tells it to. Pages of
 * other sites are told by the headers that browsers send; one whose name was made to point at this machine after it
 * was loaded (DNS rebinding) by `Host`, which then has that name. It is never an address: only names can be rebound.
 */
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Address } from '../config/types.ts';
import { hostOf } from './own-host.ts';

/** What of a request says where it comes from. */
export interface StatusVisitor {
  /** `Host`, as sent. Empty when there is none: no browser leaves it out, health checks of balancers do. */
  readonly host: string;
  /** `Origin`; empty when there is none. */
  readonly origin: string;
  /** `Sec-Fetch-Site`; empty when there is none. */
  readonly site: string;
}

/** Why a status page is refused. */
export interface StatusRefusal {
  readonly code: 'HOST_NOT_ALLOWED' | 'ORIGIN_NOT_ALLOWED';
  /** For a person. */
  readonly detail: string;
}

/** Judges one request for a status page; undefined when it is answered. */
export type StatusGuard = (visitor: StatusVisitor) => StatusRefusal | undefined;

/** Longest part of a refused host that is said again. */
const quotedHost = 100;

/**
 * Makes the guard of a server. Allowed are addresses, loopback names, the name that it listens on, the name of the machine,
 * and `names` (`--status-hosts`).
 */
export function createStatusGuard(listen: Address, names: readonly string[]): StatusGuard {
  const known = new Set(['localhost', ...[listen.host, hostname(), ...names].map(hostOf)]);
  return ({ host, origin, site }) => {
    if (site === 'cross-site' || (origin !== '' && !isOriginOf(origin, host))) {
      return { code: 'ORIGIN_NOT_ALLOWED', detail: 'status pages are not for pages of other sites' };
    }
    if (host === '') return undefined;
    const name = hostOf(host);
    const isOurs = name !== '' && (known.has(name) || name.endsWith('.localhost'));
    if (isIP(name) !== 0 || isOurs) return undefined;
    const detail = `'${host.slice(0, quotedHost)}' is not a name of this server; allow it with --status-hosts`;
    return { code: 'HOST_NOT_ALLOWED', detail };
  };
}

/** Whether a page of this origin is one of the same host and port. */
function isOriginOf(origin: string, host: string): boolean {
  return (
    host !== '' && /^https?:\/\//.test(origin) && origin.replace(/^https?:\/\//, '') === host.toLowerCase()
  );
}
