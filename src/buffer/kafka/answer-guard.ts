/**
 * Stands between a broker's socket and the client, which believes whatever length an answer announces: it would keep
 * two gigabytes in memory, and end the process over a negative one.
 */
import type { Socket } from 'node:net';
import { messageOf } from '../../errors.ts';

/** Most bytes of an answer that carries no records. */
export const maxAnswerBytes = 16 * 1024 * 1024;
/**
 * Most bytes of an answer to a fetch. One batch comes whole, however few bytes were asked for, and Kafka takes none of
 * more than 100 MiB by default (`socket.request.max.bytes`).
 */
export const maxFetchAnswerBytes = 104 * 1024 * 1024;

/** The number of the request, which every answer begins with. */
const smallestAnswer = 4;

/** A broker answered what no broker answers. The connection is given up; trying again may find another broker. */
export class BrokerAnswerError extends Error {
  override readonly name = 'BrokerAnswerError';
}

/** Follows the lengths in front of the answers of one connection. */
export class AnswerLengths {
  readonly #maxBytes: number;
  readonly #head = Buffer.alloc(4);
  #headBytes = 0;
  /** Bytes of the current answer that are still to come. */
  #left = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes what comes next. @returns the first length that no answer may have, if there is one */
  findImpossible(chunk: Uint8Array): number | undefined {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const passed = Math.min(this.#left, chunk.length - at);
        this.#left -= passed;
        at += passed;
        continue;
      }
      this.#head[this.#headBytes++] = chunk[at++] as number;
      if (this.#headBytes < this.#head.length) continue;
      this.#headBytes = 0;
      const length = this.#head.readInt32BE(0);
      if (length < smallestAnswer || length > this.#maxBytes) return length;
      this.#left = length;
    }
    return undefined;
  }
}

/**
 * Puts itself in front of the listener that a connected socket has for its data. Of an answer with an impossible length
 * the listener sees nothing: the socket is destroyed, and `onFault` is told why. So it is when the listener throws.
 * @param broker its address, `host:port`
 */
export function guardAnswers(
  socket: Socket,
  {
    broker,
    maxBytes,
    onFault,
  }: { broker: string; maxBytes: number; onFault: (error: BrokerAnswerError) => void },
): void {
  const lengths = new AnswerLengths(maxBytes);
  const listeners = socket.listeners('data') as ((chunk: Buffer) => void)[];
  socket.removeAllListeners('data');
  const fail = (what: string): void => {
    onFault(new BrokerAnswerError(`broker ${broker} ${what}`));
    socket.destroy();
  };
  socket.on('data', (chunk: Buffer) => {
    const length = lengths.findImpossible(chunk);
    if (length !== undefined) {
      fail(`announced an answer of ${length} bytes, where ${smallestAnswer} to ${maxBytes} are possible`);
      return;
    }
    try {
      for (const listener of listeners) listener(chunk);
    } catch (error) {
      fail(`sent an answer that cannot be read: ${messageOf(error)}`);
    }
  });
}
