/**
 * Which names of hosts mean this machine, without asking anybody; and who may read its status pages.
 *
 * Those have no password, and a browser asks them for any page that tells it to. Pages of other sites are told by the
 * headers that browsers send; one whose name was made to point at this machine after it was loaded (DNS rebinding) by
 * `Host`, which then has that name. It is never an address: only names can be rebound.
 */
import { once } from 'node:events';
import { BlockList, createServer, isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { type Address, formatAddress } from '../config/types.ts';
import { exitCodes, OperatorError } from '../errors.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only programs of this machine can be at a host, given as in a URL: a name, IPv4, or IPv6 in brackets. */
export function isLoopback(host: string): boolean {
  const name = bare(host);
  return name === 'localhost' || isIn(loopback, name);
}

/**
 * Whether a host is this machine: loopback, an address of one of its interfaces, or the unspecified address, which
 * leads to loopback. Other names are not looked up: who answers for them is up to somebody else.
 */
export function isOwnHost(host: string): boolean {
  if (isLoopback(host)) return true;
  const own = new BlockList();
  own.addAddress('0.0.0.0', 'ipv4');
  own.addAddress('::', 'ipv6');
  for (const { address, family } of Object.values(networkInterfaces()).flatMap((list) => list ?? []))
    own.addAddress(address.replace(/%.*$/, ''), family === 'IPv6' ? 'ipv6' : 'ipv4');
  return isIn(own, bare(host));
}

/** The name or address in a header `Host`: without port and brackets, in lower case, without the dot of the root. Empty where there is none. */
export function hostOf(header: string): string {
  if (isIP(header) !== 0) return header.toLowerCase();
  const match = /^\[([^\]]*)\](?::\d*)?$/.exec(header) ?? /^([^:]*)(?::\d*)?$/.exec(header);
  return (match?.[1] ?? '').trim().toLowerCase().replace(/\.$/, '');
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, '').toLowerCase();
}

/** IPv4 within IPv6 (`::ffff:127.0.0.1`) counts as what it is. */
function isIn(list: BlockList, host: string): boolean {
  const version = isIP(host);
  return version !== 0 && list.check(host, version === 6 ? 'ipv6' : 'ipv4');
}

/** What of a request says where it comes from. */
interface StatusVisitor {
  /** `Host`, as sent. Empty when there is none: no browser leaves it out, health checks of balancers do. */
  readonly host: string;
  /** `Origin`; empty when there is none. */
  readonly origin: string;
  /** `Sec-Fetch-Site`; empty when there is none. */
  readonly site: string;
}

/** Why a status page is refused. */
interface StatusRefusal {
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
      return { code: 'ORIGIN_NOT_ALLOWED', detail: 'status pages are not served to pages of other sites' };
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

/**
 * Makes sure that nobody listens on an address, and gives the port: the asked one, or a free one for port 0.
 * Needed before listening on a shared port, which would silently join whoever listens there already.
 * @param option name of the option that chooses the address
 * @throws OperatorError exit 69 when it is in use or not this machine's
 */
export async function probePort(address: Address, option: string): Promise<number> {
  const server = createServer();
  try {
    server.listen({ host: address.host, port: address.port, exclusive: true });
    await once(server, 'listening');
  } catch {
    throw portInUse(address, option);
  }
  const bound = server.address();
  server.close();
  await once(server, 'close');
  return typeof bound === 'object' && bound !== null ? bound.port : address.port;
}

/** The error for an address that cannot be listened on. */
export function portInUse(address: Address, option: string): OperatorError {
  return new OperatorError(
    `cannot listen on ${formatAddress(address)}: the port is in use, or the address does not belong to this machine. ` +
      `Stop the program that uses it, or choose another with --${option}`,
    exitCodes.unavailable,
  );
}
