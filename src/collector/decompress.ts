/** Decompresses bodies off the event loop, a few at a time, each within a limit. */
import zlib from 'node:zlib';
import { messageOf } from '../errors.ts';
import { type Problem, tooLarge } from './problem.ts';

type Callback = (error: Error | null, result: Buffer) => void;
type Inflater = (data: Buffer, options: { maxOutputLength: number }, callback: Callback) => void;

// Node's thread pool has four threads; more at once would not be faster, only hold more memory.
const maxAtOnce = 4;

const inflaters = {
  gzip: zlib.gunzip as Inflater,
  deflate: zlib.inflate as Inflater,
  br: zlib.brotliDecompress as Inflater,
  ...('zstdDecompress' in zlib ? { zstd: zlib.zstdDecompress as Inflater } : {}),
};

/** A content coding that this process reads. */
export type Encoding = 'identity' | 'gzip' | 'deflate' | 'br' | 'zstd';

/** Content codings that this Node.js can read. */
export const supportedEncodings: readonly Encoding[] = [
  'identity',
  ...(Object.keys(inflaters) as Encoding[]),
];

const waiting: (() => void)[] = [];
let running = 0;

/** Decompresses `data` and calls `done` with the bytes, at most `maxBytes`, or with the problem. */
export function decompress(
  data: Buffer,
  encoding: Encoding,
  maxBytes: number,
  done: (result: Buffer | Problem) => void,
): void {
  const inflate = (inflaters as Partial<Record<Encoding, Inflater>>)[encoding];
  if (inflate === undefined) {
    done(data);
    return;
  }
  function start(): void {
    running++;
    inflate?.(data, { maxOutputLength: maxBytes }, (error, result) => {
      running--;
      waiting.shift()?.();
      done(error === null ? result : describe(error, encoding, maxBytes));
    });
  }
  if (running < maxAtOnce) start();
  else waiting.push(start);
}

function describe(error: Error, encoding: Encoding, maxBytes: number): Problem {
  if ('code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') return tooLarge(maxBytes);
  return { code: 'INVALID_ENCODING', detail: `the body is not ${encoding}: ${messageOf(error)}` };
}
