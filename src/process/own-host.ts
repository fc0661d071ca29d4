/** Which names of hosts mean this machine, without asking anybody. */
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

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
