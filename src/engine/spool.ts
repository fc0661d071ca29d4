/** Files that hold the data of one INSERT each, for as long as it runs. */
import { mkdir, open, realpath, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { exitCodes, OperatorError } from '../errors.ts';
import type { Body } from './body.ts';

/** Bytes that are gathered before they are written. */
const writeBytes = 1024 ** 2;

/** A directory of such files. */
export class Spool {
  readonly #directory: string;
  #count = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Opens the directory and removes what a killed process left in it. */
  static async open(dataDir: string): Promise<Spool> {
    const directory = join(resolve(dataDir), 'clickhouse.inserts');
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const path = await realpath(directory);
    if (/[*?{}]/.test(path)) {
      throw new OperatorError(
        `the data directory ${path} has one of the characters *?{} in its path, which ClickHouse reads as ` +
          'a pattern: set another --data-dir',
        exitCodes.configuration,
      );
    }
    return new Spool(path);
  }

  /** Writes the rest of a body to a file, and removes the file after `use`. */
  async with<T>(body: Body, use: (path: string) => Promise<T>): Promise<T> {
    this.#count += 1;
    const path = join(this.#directory, String(this.#count));
    try {
      await writeBody(path, body);
      return await use(path);
    } finally {
      await rm(path, { force: true });
    }
  }
}

async function writeBody(path: string, body: Body): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    let chunks: Buffer[] = [];
    let length = 0;
    for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
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
