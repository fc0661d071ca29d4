import { Pool } from 'undici';
import { messageOf } from '../errors.ts';
import { type Outcome, readAnswer } from './answer.ts';
import type { Batch } from './batch.ts';

/** Posts batches to a collector. */
export interface Poster {
  /** Sends it once and tells how that went; never throws. */
  post(batch: Batch, signal: AbortSignal): Promise<Outcome>;
  close(): Promise<void>;
}

/** What a poster sends to. */
export interface PosterOptions {
  readonly url: URL;
  readonly connections: number;
  /** One JSON event as the body instead of NDJSON; for batches of one event. */
  readonly isSingle: boolean;
}

/** Longer than any collector takes: to give up early would only make repeats. */
const answerTimeoutMs = 60_000;

/** Failures that happen before the request left, so that nothing can have been stored. */
const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Makes a poster; it connects with the first batch. */
export function createPoster({ url, connections, isSingle }: PosterOptions): Poster {
  const pool = new Pool(url.origin, {
    connections,
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  });
  const headers = {
    'content-type': isSingle ? 'application/json' : 'application/x-ndjson',
    'user-agent': 'millrace-replay',
  };
  return {
    async post({ body, lines }, signal) {
      try {
        const response = await pool.request({ method: 'POST', path: '/v1/events', headers, body, signal });
        const retryAfter = response.headers['retry-after'];
        return readAnswer(
          {
            status: response.statusCode,
            retryAfter: Array.isArray(retryAfter) ? retryAfter[0] : retryAfter,
            body: await response.body.text(),
          },
          lines.length,
        );
      } catch (error) {
        return { kind: 'retry', reason: messageOf(error), isLost: !notSent.has(codeOf(error)) };
      }
    },
    close: () => pool.destroy(),
  };
}

/** Connecting to a name with several addresses fails with an error of errors. */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
