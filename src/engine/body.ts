/**
 * Reads request bodies: decompressed, within limits, in pieces.
 *
 * Files that hold the data of one INSERT each, for as long as it runs.
 */
import { open, readdir, realpath, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline, type Transform } from 'node:stream';
import zlib from 'node:zlib';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { EngineError } from './error.ts';

/** Zstandard came to Node in 22.15. */
const createZstdDecompress = (zlib as { createZstdDecompress?: () => Transform }).createZstdDecompress;

const decompressors: ReadonlyMap<string, () => Transform> = new Map([
  ['gzip', () => zlib.createGunzip()],
  ['x-gzip', () => zlib.createGunzip()],
  ['deflate', () => zlib.createInflate()],
  ['br', () => zlib.createBrotliDecompress()],
  ...(createZstdDecompress === undefined ? [] : ([['zstd', createZstdDecompress]] as const)),
]);

/** What a body may be. */
interface BodyLimits {
  /** Most bytes, as they are sent and decompressed each. */
  readonly maxBytes: number;
  /** Longest time without a byte, milliseconds. How long all of it takes does not matter. */
  readonly stalledMs: number;
}

/** The body of a request, read from front to back. */
export class Body {
  readonly #request: IncomingMessage;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #limits: BodyLimits;
  #pushedBack: Buffer | undefined;
  #received = 0;

  /** @throws EngineError for an unknown encoding, or a body that announces too much */
  constructor(request: IncomingMessage, limits: BodyLimits) {
    const { maxBytes } = limits;
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
    this.#request = request;
    this.#limits = limits;
    this.#chunks = decompressed(request)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /**
   * The next piece; undefined at the end.
   * @throws EngineError 209 when none came for too long, 229 when it is too large, 271 when it cannot be read
   */
  async next(): Promise<Buffer | undefined> {
    if (this.#pushedBack !== undefined) {
      const chunk = this.#pushedBack;
      this.#pushedBack = undefined;
      return chunk;
    }
    const next = this.#chunks.next().catch((thrown) => {
      throw new EngineError(271, 'CANNOT_DECOMPRESS', `Cannot read the body: ${messageOf(thrown)}`, 400);
    });
    const result = await this.#unlessStalled(next);
    if (result.done === true) return undefined;
    this.#received += result.value.length;
    if (this.#received > this.#limits.maxBytes) throw tooLarge(this.#limits.maxBytes);
    return result.value;
  }

  /** What counts is that bytes arrive: those of a compressed piece may come for long before it can be unpacked. */
  #unlessStalled<T>(next: Promise<T>): Promise<T> {
    const { stalledMs } = this.#limits;
    const { socket } = this.#request;
    return new Promise((resolve, reject) => {
      let before = socket.bytesRead;
      const timer = setInterval(() => {
        if (socket.bytesRead === before) reject(stalled(stalledMs));
        before = socket.bytesRead;
      }, stalledMs);
      next.finally(() => clearInterval(timer)).then(resolve, reject);
    });
  }

  /** Reads up to `bytes` or a little more, or to the end; `isWhole` tells which. */
  async read(bytes: number): Promise<{ readonly data: Buffer; readonly isWhole: boolean }> {
    const chunks: Buffer[] = [];
    let length = 0;
    while (length <= bytes) {
      const chunk = await this.next();
      if (chunk === undefined) return { data: Buffer.concat(chunks), isWhole: true };
      chunks.push(chunk);
      length += chunk.length;
    }
    return { data: Buffer.concat(chunks), isWhole: false };
  }

  /** Gives back what was read too much, for the next reader. */
  pushBack(data: Buffer): void {
    this.#pushedBack = data.length > 0 ? data : undefined;
  }
}

function decompressed(request: IncomingMessage): AsyncIterable<Buffer> {
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase();
  if (encoding === 'identity' || encoding === '') return request;
  const create = decompressors.get(encoding);
  if (create === undefined) {
    throw new EngineError(89, 'UNKNOWN_COMPRESSION_METHOD', `Unknown compression method ${encoding}`, 415);
  }
  // A failure reaches the reader through the iterator.
  return pipeline(request, create(), () => {});
}

function stalled(ms: number): EngineError {
  return new EngineError(209, 'SOCKET_TIMEOUT', `No part of the body arrived for ${ms} ms`, 408);
}

function tooLarge(maxBytes: number): EngineError {
  return new EngineError(229, 'QUERY_IS_TOO_LARGE', `The body is larger than ${maxBytes} bytes`, 413);
}

/** Bytes that are gathered before they are written. */
const writeBytes = 1024 ** 2;
/** Most bytes of all files at once: bodies unpack to far more than was sent. */
const maxSpoolBytes = 1024 ** 3;

/** A directory of such files. */
export class InsertFiles {
  readonly #directory: string;
  readonly #maxBytes: number;
  #count = 0;
  #bytes = 0;

  private constructor(directory: string, maxBytes: number) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
  }

  /**
   * Opens a directory that is there, and removes what a killed process left in it.
   * @param maxBytes of all files at once
   */
  static async open(directory: string, maxBytes = maxSpoolBytes): Promise<InsertFiles> {
    const path = await realpath(directory);
    for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
    if (/[*?{}]/.test(path)) {
      throw new OperatorError(
        `the data directory ${path} has one of the characters *?{} in its path, which ClickHouse reads as ` +
          'a pattern: set another --data-dir',
        exitCodes.configuration,
      );
    }
    return new InsertFiles(path, maxBytes);
  }

  /**
   * Writes the rest of a body to a file, and removes the file after `use`.
   * @throws EngineError 202 when the files of other inserts leave no room
   */
  async with<T>(body: Body, use: (path: string) => Promise<T>): Promise<T> {
    this.#count += 1;
    const path = join(this.#directory, String(this.#count));
    const own = { bytes: 0 };
    try {
      await this.#write(path, body, own);
      return await use(path);
    } finally {
      this.#bytes -= own.bytes;
      await rm(path, { force: true });
    }
  }

  async #write(path: string, body: Body, own: { bytes: number }): Promise<void> {
    const file = await open(path, 'wx', 0o600);
    try {
      let chunks: Buffer[] = [];
      let length = 0;
      for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
        own.bytes += chunk.length;
        this.#bytes += chunk.length;
        if (this.#bytes > this.#maxBytes) throw full(this.#maxBytes);
        chunks.push(chunk);
        length += chunk.length;
        if (length < writeBytes) continue;
        await file.writeFile(Buffer.concat(chunks));
        chunks = [];
        length = 0;
      }
      await file.writeFile(Buffer.concat(chunks));
    } finally {
      await file.close();
    }
  }
}

function full(maxBytes: number): EngineError {
  return new EngineError(
    202,
    'TOO_MANY_SIMULTANEOUS_QUERIES',
    `Too many simultaneous inserts: together they hold more than ${maxBytes} bytes. Try again later`,
    503,
  );
}
