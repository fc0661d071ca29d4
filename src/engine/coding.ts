/** Content codings of responses. */
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import zlib from 'node:zlib';

const level = 3;
const brotli = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: level } };
/** How each coding is made: of pieces, and of a whole. */
export const encoders = {
  br: { create: () => zlib.createBrotliCompress(brotli), whole: promisify(zlib.brotliCompress) },
  gzip: { create: () => zlib.createGzip({ level }), whole: promisify(zlib.gzip) },
  deflate: { create: () => zlib.createDeflate({ level }), whole: promisify(zlib.deflate) },
};

/** A content coding that responses can have. */
export type ContentCoding = keyof typeof encoders;

/** Picks the coding for a response from `Accept-Encoding`: gzip first, the cheapest of them. */
export function chooseCoding(request: IncomingMessage): ContentCoding | undefined {
  const header = request.headers['accept-encoding'];
  const accepted = String(header ?? '').toLowerCase();
  const isAccepted = (coding: string) =>
    accepted.split(',').some((part) => {
      const [name, ...parameters] = part.split(';').map((text) => text.trim());
      return name === coding && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
    });
  return (['gzip', 'deflate', 'br'] as const).find(isAccepted);
}
