/** Decompresses bodies off the event loop, a few at a time, each within a limit. */
import zlib from 'node:zlib';
import { messageOf } from '../errors.ts';
import type { Problem } from './problem.ts';

type Callback = (error: Error | null, result: Buffer) => void;
type Inflater = (data: Buffer, options: { maxOutputLength: number }, callback: Callback) => void;

// Node's thread pool has four threads; more at once would not be faster, only hold more memory.
const maxAtOnce = 4;

const inflaters: ReadonlyMap<Encoding, Inflater> = new Map<Encoding, Inflater>([
  ['gzip', zlib.gunzip as Inflater],
  ['deflate', zlib.inflate as Inflater],
  ['br', zlib.brotliDecompress as Inflater],
  ...('zstdDecompress' in zlib ? [['zstd', zlib.zstdDecompress as Inflater] as const] : []),
]);

/** A content coding that this process reads. */
export type Encoding = 'identity' | 'gzip' | 'deflate' | 'br' | 'zstd';

/** Content codings that this Node.js can read. */
export const supportedEncodings: readonly Encoding[] = ['identity', ...inflaters.keys()];

const waiting: (() => void)[] = [];
let running = 0;

/** Most bytes, and the problem of having more. */
export interface SizeLimit {
  readonly maxBytes: number;
  readonly problem: Problem;
}

/** Decompresses `data` and calls `done` with the bytes, within the limit, or with the problem. */
export function decompress(
  data: Buffer,
  encoding: Encoding,
  limit: SizeLimit,
  done: (result: Buffer | Problem) => void,
): void {
  const inflate = inflaters.get(encoding);
  if (inflate === undefined) {
    done(data);
    return;
  }
  function start(): void {
    running++;
    inflate?.(data, { maxOutputLength: limit.maxBytes }, (error, result) => {
      running--;
      waiting.shift()?.();
      done(error === null ? result : describe(error, encoding, limit));
    });
  }
  if (running < maxAtOnce) start();
  else waiting.push(start);
}

function describe(error: Error, encoding: Encoding, { problem }: SizeLimit): Problem {
  if ('code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') return problem;
  return { code: 'INVALID_ENCODING', detail: `the body is not ${encoding}: ${messageOf(error)}` };
}
