import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** The bytes of a file or of standard input, unpacked. */
export interface Source {
  /** For messages: the path, or `standard input`. */
  readonly name: string;
  /** Bytes of the file on disk; undefined when that is not known, as with a pipe. */
  readonly size: number | undefined;
  /** About where in the file on disk the content up to `position` is; the same unless it is packed. */
  bytesOnDisk(position: number): number;
  /** Content, unpacked. To be read once. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Lets go of the file, also in the middle of a read. */
  close(): void;
}

/**
 * Opens a file; `-` is standard input. Content that starts with gzip's mark is unpacked, whatever the name.
 * @throws OperatorError exit 2 when the file cannot be read
 */
export async function openSource(file: string): Promise<Source> {
  if (file === '-') return readSource('standard input', process.stdin, undefined);
  try {
    const stats = await stat(file);
    if (stats.isDirectory()) throw new Error('it is a directory');
    const stream = createReadStream(file);
    await new Promise((resolve, reject) => stream.once('open', resolve).once('error', reject));
    return readSource(file, stream, stats.isFile() ? stats.size : undefined);
  } catch (error) {
    throw new OperatorError(`cannot read ${file}: ${messageOf(error)}`, exitCodes.usage, { cause: error });
  }
}

function readSource(name: string, stream: Readable, size: number | undefined): Source {
  let bytesRead = 0;
  let bytesUnpacked = 0;
  async function* readRaw(): AsyncGenerator<Buffer> {
    for await (const chunk of stream) {
      bytesRead += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  }
  async function* readContent(): AsyncGenerator<Buffer> {
    for await (const chunk of unpack(readRaw())) {
      bytesUnpacked += chunk.length;
      yield chunk;
    }
  }
  return {
    name,
    size,
    bytesOnDisk: (position) => (bytesUnpacked === 0 ? 0 : (bytesRead * position) / bytesUnpacked),
    chunks: readContent(),
    close: () => void stream.destroy(),
  };
}

async function* unpack(raw: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const head = await readHead(raw);
  const whole = joinHead(head, raw);
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    yield* whole;
    return;
  }
  // An error of either end reaches the reader through the iterator; the callback has nothing to add.
  const gunzip = pipeline(Readable.from(whole), createGunzip(), () => {});
  for await (const chunk of gunzip) yield chunk as Buffer;
}

/** The first bytes: two of them, unless there are fewer. A pipe may give one at a time. */
async function readHead(raw: AsyncGenerator<Buffer>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  while (head.length < 2) {
    const next = await raw.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

async function* joinHead(head: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* rest;
}
