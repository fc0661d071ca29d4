import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Address, formatAddress } from '../config/types.ts';
import { exitCodes, OperatorError } from '../errors.ts';

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
    `cannot listen on ${formatAddress(address)}: the port is in use, or the address is not this machine's. ` +
      `Stop what uses it, or choose another with --${option}`,
    exitCodes.unavailable,
  );
}
