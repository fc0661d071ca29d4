/** Reads small texts over HTTP: status pages and metrics. */
import { Agent, request } from 'undici';
import { messageOf } from '../errors.ts';
import { isCertificateProblem } from './endpoint.ts';

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
    ? ' (its certificate is not trusted here: --no-tls-verify takes any)'
    : '';
  return `${messageOf(error)}${hint}`;
}
