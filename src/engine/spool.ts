/** Files that hold the data of one INSERT each, for as long as it runs. */
import { open, readdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exitCodes, OperatorError } from '../errors.ts';
import type { Body } from './body.ts';
import { EngineError } from './error.ts';

/** Bytes that are gathered before they are written. */
const writeBytes = 1024 ** 2;
/** Most bytes of all files at once: bodies unpack to far more than was sent. */
const maxSpoolBytes = 1024 ** 3;

/** A directory of such files. */
export class Spool {
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
  static async open(directory: string, maxBytes = maxSpoolBytes): Promise<Spool> {
    const path = await realpath(directory);
    for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
    if (/[*?{}]/.test(path)) {
      throw new OperatorError(
        `the data directory ${path} has one of the characters *?{} in its path, which ClickHouse reads as ` +
          'a pattern: set another --data-dir',
        exitCodes.configuration,
      );
    }
    return new Spool(path, maxBytes);
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
    `Too many simultaneous inserts: their data is more than ${maxBytes} bytes. Try again later`,
    503,
  );
}
