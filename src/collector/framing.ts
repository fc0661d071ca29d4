/**
 * Whether it is clear where the body of a request ends. Where a proxy and a server disagree about that, a client can put a
 * request of its own between those of others (RFC 9112, sections 6.1 and 11.2). uWebSockets.js takes any
 * Transfer-Encoding for chunked; one beside a Content-Length it refuses itself.
 */
import type { HttpRequest } from './http-app.ts';
import type { Problem } from './problem.ts';

const header = 'transfer-encoding';

/** What is wrong with the framing of a request; of one with a Content-Length nothing is that the servers let pass. */
export function checkFraming(req: Pick<HttpRequest, 'getHeader' | 'forEach'>): Problem | undefined {
  const coding = req.getHeader(header);
  if (coding === '') return undefined;
  let times = 0;
  req.forEach((name) => {
    if (name === header) times++;
  });
  if (times === 1 && coding.trim().toLowerCase() === 'chunked') return undefined;
  const detail = "the only Transfer-Encoding is chunked, sent once; or send the body's Content-Length";
  return { code: 'INVALID_TRANSFER_ENCODING', detail };
}
