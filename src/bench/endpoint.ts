/**
 * Where a load run connects to.
 *
 * Reads small texts over HTTP: status pages and metrics.
 */
import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { Agent, request } from 'undici';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** A place to connect to; can be sent to another thread. */
export interface Endpoint {
  /** An address, so that no connection waits for the name to be looked up. */
  readonly address: string;
  readonly port: number;
  /** Undefined for plain http. */
  readonly tls?: TlsSettings;
}

/** What a TLS connection needs to know. */
interface TlsSettings {
  readonly hostname: string;
  readonly checksCertificate: boolean;
}

/**
 * Looks the host up and connects to it once.
 * @throws OperatorError exit 69 when that fails or takes longer
 */
export async function findEndpoint(
  url: URL,
  options: { checksCertificate: boolean; timeoutMs: number },
): Promise<Endpoint> {
  const hostname = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const { checksCertificate } = options;
  const tls = url.protocol === 'https:' ? { hostname, checksCertificate } : undefined;
  const port = Number(url.port || (tls === undefined ? 80 : 443));
  const target = { address: hostname, port, ...(tls && { tls }) };
  const socket = openSocket(target);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(openEvent(target), resolve).once('error', reject);
      socket.setTimeout(options.timeoutMs, () =>
        reject(new Error(`no answer within ${options.timeoutMs} ms`)),
      );
    });
    return { ...target, address: socket.remoteAddress ?? hostname };
  } catch (error) {
    throw unreachable(url, error);
  } finally {
    socket.destroy();
  }
}

/** Whether a connection failed because of the certificate of the other side. */
function isCertificateProblem(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /CERT|SELF_SIGNED|ALTNAME|ISSUER|SIGNATURE/.test(code);
}

function unreachable(url: URL, error: unknown): OperatorError {
  const hint = isCertificateProblem(error)
    ? 'its certificate is not trusted here: --no-tls-verify accepts any'
    : 'is the collector running, and is this its address?';
  return new OperatorError(
    `cannot connect to ${url.origin}: ${messageOf(error)}; ${hint}`,
    exitCodes.unavailable,
    {
      cause: error,
    },
  );
}

/** Begins to connect. With `onread`, what comes is given to its callback alone. */
export function openSocket({ address, port, tls }: Endpoint, onread?: OnReadOpts): Socket {
  const tcp = { host: address, port, noDelay: true, ...(onread && { onread }) };
  if (tls === undefined) return connectTcp(tcp);
  // The declarations do not know that TLS takes `onread` too.
  const options: ConnectionOptions & typeof tcp = {
    ...tcp,
    ...(isIP(tls.hostname) === 0 && { servername: tls.hostname }),
    rejectUnauthorized: tls.checksCertificate,
    ALPNProtocols: ['http/1.1'],
  };
  return connectTls(options);
}

/** The event of a socket by which it is ready to be written to. */
export function openEvent({ tls }: Endpoint): 'connect' | 'secureConnect' {
  return tls === undefined ? 'connect' : 'secureConnect';
}

/** An answer, or why there was none. */
export type Fetched =
  | { readonly status: number; readonly body: string }
  | { readonly status: undefined; readonly reason: string };

/** Reads from any server; never rejects. */
export interface HttpGetter {
  get(url: URL): Promise<Fetched>;
  close(): Promise<void>;
}

/** Makes one. An answer may take `timeoutMs`. */
export function createHttpGetter(options: {
  readonly checksCertificate: boolean;
  readonly timeoutMs: number;
}): HttpGetter {
  const { checksCertificate, timeoutMs } = options;
  const dispatcher = new Agent({
    connections: 2,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect: { rejectUnauthorized: checksCertificate, timeout: timeoutMs },
  });
  return {
    async get(url) {
      try {
        const answer = await request(url, { dispatcher });
        return { status: answer.statusCode, body: await answer.body.text() };
      } catch (error) {
        return { status: undefined, reason: explain(error) };
      }
    },
    close: () => dispatcher.destroy(),
  };
}

function explain(error: unknown): string {
  const hint = isCertificateProblem(error)
    ? ' (its certificate is not trusted here: --no-tls-verify accepts any)'
    : '';
  return `${messageOf(error)}${hint}`;
}
