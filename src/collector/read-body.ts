/**
 * Reads the body of a post: within its limits, counted against the budget, decompressed.
 *
 * Decompresses bodies off the event loop, a few at a time, each within a limit.
 */
import zlib from 'node:zlib';
import { messageOf } from '../errors.ts';
import type { HttpResponse } from './http-app.ts';
import { overloaded, type Problem, tooLarge } from './problem.ts';

const firstGatheredBytes = 16 * 1024;
/** Small bodies may become so large, however well they were packed. */
const leastInflatedBytes = 64 * 1024;

/** What bounds a body. */
export interface BodyLimits {
  /** Largest body before decompression, and after it. */
  readonly maxBodyBytes: number;
  /** How many times as large as it came a body may become. */
  readonly maxCompressionRatio: number;
  readonly budget: ByteBudget;
}

/** Who gets the body: one of the two is called once, unless the client goes away first. */
export interface BodyReceiver {
  /**
   * The whole body. The bytes are valid only during this call. `held` bytes were taken from the budget for
   * it, and the receiver gives them back.
   */
  received(body: Buffer, held: number): void;
  refused(problem: Problem): void;
}

/** Reads one body and hands it over. A body that comes in one piece is not copied. */
export class BodyReader {
  readonly #limits: BodyLimits;
  readonly #encoding: Encoding;
  readonly #receiver: BodyReceiver;
  /** Bodies in several pieces are gathered here: one object, however small the pieces are. */
  #gathered: Buffer | undefined;
  #length = 0;
  /** Bytes taken from the budget. */
  #held = 0;
  /** Whether no piece is wanted any more. */
  #isOver = false;
  #isAbandoned = false;

  constructor(limits: BodyLimits, encoding: Encoding, receiver: BodyReceiver) {
    this.#limits = limits;
    this.#encoding = encoding;
    this.#receiver = receiver;
  }

  /** Begins. Whoever calls this calls `abandon` when the client goes away. */
  start(res: HttpResponse): void {
    res.onData((piece, isLast) => {
      if (!this.#isOver) this.#add(piece, isLast);
    });
  }

  /** The client is gone: nothing is handed over any more. */
  abandon(): void {
    this.#isAbandoned = true;
    // While it is decompressed, the body still takes the memory that it is counted for.
    if (!this.#isOver) this.#end();
  }

  #add(piece: ArrayBuffer, isLast: boolean): void {
    const { budget, maxBodyBytes } = this.#limits;
    const { byteLength } = piece;
    if (this.#length + byteLength > maxBodyBytes) this.#refuse(tooLarge(maxBodyBytes));
    else if (isLast && this.#gathered === undefined) {
      if (!budget.tryTake(byteLength)) this.#refuse(overloaded(budget.max));
      else {
        this.#held = byteLength;
        this.#complete(Buffer.from(piece));
      }
    } else if (!this.#reserve(byteLength)) this.#refuse(overloaded(budget.max));
    else {
      this.#gathered?.set(new Uint8Array(piece), this.#length);
      this.#length += byteLength;
      if (isLast && this.#gathered !== undefined) this.#complete(this.#gathered.subarray(0, this.#length));
    }
  }

  /** Makes room for `bytes` more, counting the room and not the bytes; false when the budget has none. */
  #reserve(bytes: number): boolean {
    const { budget, maxBodyBytes } = this.#limits;
    const capacity = this.#gathered?.length ?? 0;
    if (this.#length + bytes <= capacity) return true;
    const wanted = Math.min(Math.max(2 * capacity, this.#length + bytes, firstGatheredBytes), maxBodyBytes);
    if (!budget.tryTake(wanted - this.#held)) return false;
    this.#held = wanted;
    const grown = Buffer.allocUnsafeSlow(wanted);
    if (this.#gathered !== undefined) grown.set(this.#gathered.subarray(0, this.#length));
    this.#gathered = grown;
    return true;
  }

  #complete(body: Buffer): void {
    this.#isOver = true;
    this.#gathered = undefined;
    if (this.#encoding === 'identity') this.#handOver(body);
    else this.#inflate(body);
  }

  #inflate(compressed: Buffer): void {
    const { budget } = this.#limits;
    // The piece from uWebSockets.js is gone once this call returns, but decompressing goes on.
    decompress(Buffer.from(compressed), this.#encoding, this.#inflatedLimit(compressed), (result) => {
      this.#end();
      if (this.#isAbandoned) return;
      if ('code' in result) this.#receiver.refused(result);
      else if (!budget.tryTake(result.length)) this.#receiver.refused(overloaded(budget.max));
      else {
        this.#held = result.length;
        this.#handOver(result);
      }
    });
  }

  #inflatedLimit({ length }: Buffer): SizeLimit {
    const { maxBodyBytes, maxCompressionRatio } = this.#limits;
    const maxBytes = Math.max(leastInflatedBytes, length * maxCompressionRatio);
    if (maxBytes >= maxBodyBytes) return { maxBytes: maxBodyBytes, problem: tooLarge(maxBodyBytes) };
    const detail = `the body is larger than ${maxBytes} bytes once decompressed; the limit is ${maxCompressionRatio} times its compressed length`;
    return { maxBytes, problem: { code: 'BODY_TOO_LARGE', detail } };
  }

  #handOver(body: Buffer): void {
    const held = this.#held;
    this.#held = 0;
    this.#receiver.received(body, held);
  }

  #refuse(problem: Problem): void {
    this.#end();
    this.#receiver.refused(problem);
  }

  /** Takes no more pieces, and gives back what this reader has taken from the budget. */
  #end(): void {
    this.#isOver = true;
    this.#gathered = undefined;
    this.#limits.budget.give(this.#held);
    this.#held = 0;
  }
}

/**
 * Counts the bytes that requests make this process hold, and refuses more than the cap: memory is bounded by
 * what clients may occupy, not by how fast the buffer happens to be.
 */
export class ByteBudget {
  readonly max: number;
  #used = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Bytes held now. */
  get used(): number {
    return this.#used;
  }

  /** Takes `bytes`; false when that would pass the cap, and then takes nothing. */
  tryTake(bytes: number): boolean {
    if (this.#used + bytes > this.max) return false;
    this.#used += bytes;
    return true;
  }

  /** Gives back bytes taken before. */
  give(bytes: number): void {
    this.#used -= bytes;
  }
}

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
interface SizeLimit {
  readonly maxBytes: number;
  readonly problem: Problem;
}

/** Decompresses `data` and calls `done` with the bytes, within the limit, or with the problem. */
function decompress(
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
