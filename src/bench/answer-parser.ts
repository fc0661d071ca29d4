/**
 * Reads the answers of one HTTP/1.1 connection that has one request in flight at a time, from bytes cut anywhere.
 * Text is latin1 throughout: one character for each byte.
 */
import { AnswerFault, type AnswerHead, parseHead } from './answer-head.ts';

/** An answer as it came. */
export interface Answer {
  readonly status: number;
  /** The bytes of the body, as latin1. */
  readonly body: string;
  /** Whether the connection ends after this answer. */
  readonly isLast: boolean;
}

const maxHeadBytes = 64 * 1024;
const maxBodyBytes = 64 * 1024 * 1024;
const headEnd = '\r\n\r\n';
const chunkSize = /^([0-9a-fA-F]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

/** Where the parser is: in a head, in a body, or in chunks of one. */
type State = 'head' | 'body' | 'chunk size' | 'chunk' | 'trailers';

/** Collects bytes until they are an answer. */
export class AnswerParser {
  #state: State = 'head';
  /** What is not read yet. */
  #rest = '';
  /** The length from which on `rest` is worth another look. */
  #wanted = 0;
  #head: AnswerHead | undefined;
  #chunks: string[] = [];
  /** Length of the chunk that is being read. */
  #chunkBytes = 0;
  /** Length of all chunks so far. */
  #bodyBytes = 0;
  /** The last head of an answer that came in one piece: most answers of a connection have equal ones. */
  #knownHead = '';
  #known: AnswerHead | undefined;

  /** Whether part of an answer has come. */
  get isInside(): boolean {
    return this.#rest !== '' || this.#state !== 'head';
  }

  /**
   * Takes bytes, and gives the answer that they complete.
   * @throws AnswerFault when they are no answer, or go on behind one; the parser cannot be used any more
   */
  push(text: string): Answer | undefined {
    const known = this.#known;
    if (known !== undefined && this.#rest === '' && this.#state === 'head') {
      const headLength = this.#knownHead.length;
      if (text.length - headLength === known.bodyEnd && text.startsWith(this.#knownHead))
        return { status: known.status, body: text.slice(headLength), isLast: known.isLast };
    }
    this.#rest += text;
    if (this.#rest.length < this.#wanted) return undefined;
    const answer = this.#read();
    if (answer !== undefined && this.#rest !== '') throw new AnswerFault('bytes follow the answer');
    return answer;
  }

  /**
   * The other side has ended the connection: gives the answer that this completes.
   * @throws AnswerFault when it ends within an answer
   */
  end(): Answer | undefined {
    if (this.#state === 'body' && this.#head?.bodyEnd === 'close')
      return this.#complete(this.#take(this.#rest.length));
    if (this.isInside) throw new AnswerFault('the connection ended within the answer');
    return undefined;
  }

  #read(): Answer | undefined {
    for (;;) {
      const before = this.#state;
      const answer = this.#step();
      if (answer !== undefined) return answer;
      if (before === this.#state && this.#rest.length < this.#wanted) return undefined;
    }
  }

  /** Reads one part if it is there; otherwise says how much is wanted. */
  #step(): Answer | undefined {
    this.#wanted = this.#rest.length + 1;
    if (this.#state === 'head') return this.#readHead();
    if (this.#state === 'body') return this.#readBody();
    if (this.#state === 'chunk size') this.#readChunkSize();
    else if (this.#state === 'chunk') this.#readChunk();
    else return this.#readTrailers();
    return undefined;
  }

  #readHead(): Answer | undefined {
    const end = this.#rest.indexOf(headEnd);
    if (end === -1 ? this.#rest.length > maxHeadBytes : end > maxHeadBytes)
      throw new AnswerFault('its headers are too long');
    if (end === -1) return undefined;
    const text = this.#take(end + headEnd.length);
    const head = parseHead(text.slice(0, -headEnd.length));
    // 100 Continue and the like: the answer follows.
    if (head.status < 200) return undefined;
    if (typeof head.bodyEnd === 'number') {
      this.#knownHead = text;
      this.#known = head;
      if (head.bodyEnd > maxBodyBytes) throw tooLong();
    }
    this.#head = head;
    this.#state = head.bodyEnd === 'chunks' ? 'chunk size' : 'body';
    return undefined;
  }

  #readBody(): Answer | undefined {
    const bodyEnd = this.#head?.bodyEnd;
    if (typeof bodyEnd !== 'number') {
      if (this.#rest.length > maxBodyBytes) throw tooLong();
      return undefined;
    }
    this.#wanted = bodyEnd;
    return this.#rest.length < bodyEnd ? undefined : this.#complete(this.#take(bodyEnd));
  }

  #readChunkSize(): void {
    const line = this.#takeLine();
    if (line === undefined) return;
    const match = chunkSize.exec(line);
    if (match === null) throw new AnswerFault('the size of a chunk cannot be read');
    const size = Number.parseInt(match[1] as string, 16);
    this.#chunkBytes = size;
    this.#bodyBytes += size;
    if (this.#bodyBytes > maxBodyBytes) throw tooLong();
    this.#state = size === 0 ? 'trailers' : 'chunk';
  }

  #readChunk(): void {
    this.#wanted = this.#chunkBytes + 2;
    if (this.#rest.length < this.#wanted) return;
    const chunk = this.#take(this.#wanted);
    if (!chunk.endsWith('\r\n')) throw new AnswerFault('a chunk is longer than its size');
    this.#chunks.push(chunk.slice(0, -2));
    this.#state = 'chunk size';
  }

  #readTrailers(): Answer | undefined {
    const line = this.#takeLine();
    return line === '' ? this.#complete(this.#chunks.join('')) : undefined;
  }

  #takeLine(): string | undefined {
    const end = this.#rest.indexOf('\r\n');
    if (end === -1 && this.#rest.length > maxHeadBytes) throw new AnswerFault('a line is too long');
    return end === -1 ? undefined : this.#take(end + 2).slice(0, -2);
  }

  #take(bytes: number): string {
    const taken = this.#rest.slice(0, bytes);
    this.#rest = this.#rest.slice(bytes);
    this.#wanted = 0;
    return taken;
  }

  #complete(body: string): Answer {
    const { status, isLast } = this.#head as AnswerHead;
    this.#state = 'head';
    this.#head = undefined;
    this.#chunks = [];
    this.#bodyBytes = 0;
    this.#wanted = 0;
    return { status, body, isLast };
  }
}

function tooLong(): AnswerFault {
  return new AnswerFault('its body is too long');
}
