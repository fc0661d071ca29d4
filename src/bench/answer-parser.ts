/**
 * Reads the answers of one HTTP/1.1 connection that has one request in flight at a time, from bytes cut anywhere.
 * Text is latin1 throughout: one character for each byte.
 */

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

/** An answer that is no HTTP/1.1 as we read it. The message is one of a few fixed texts. */
export class AnswerFault extends Error {
  override readonly name = 'AnswerFault';
}

/** How the end of a body is known: by its length in bytes, by its chunks, or by the end of the connection. */
type BodyEnd = number | 'chunks' | 'close';

/** What the head says. */
interface AnswerHead {
  readonly status: number;
  readonly bodyEnd: BodyEnd;
  /** Whether the connection ends after this answer. */
  readonly isLast: boolean;
}

const statusLine = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const headerLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;
const length = /^\d{1,12}$/;

/**
 * Reads a head: the status line and the headers, each without its line end, in latin1.
 * @throws AnswerFault
 */
function parseHead(text: string): AnswerHead {
  const [first = '', ...lines] = text.split('\r\n');
  const match = statusLine.exec(first);
  if (match === null) throw new AnswerFault('the status line is no HTTP/1.1');
  const status = Number(match[2]);
  if (status === 101) throw new AnswerFault('the protocol is switched');
  const { lengths, codings, connection } = readHeaders(lines);
  const isLast = match[1] === '0' ? !connection.includes('keep-alive') : connection.includes('close');
  const bodyEnd = findBodyEnd(status, lengths, codings);
  return { status, bodyEnd, isLast: isLast || bodyEnd === 'close' };
}

/** Headers that say where the answer ends. */
interface FramingHeaders {
  readonly lengths: readonly string[];
  readonly codings: readonly string[];
  readonly connection: readonly string[];
}

function readHeaders(lines: readonly string[]): FramingHeaders {
  const found = { lengths: [] as string[], codings: [] as string[], connection: [] as string[] };
  for (const line of lines) {
    const match = headerLine.exec(line);
    if (match === null) throw new AnswerFault('a header cannot be read');
    const name = (match[1] as string).toLowerCase();
    const values = () => (match[2] as string).split(',').map((value) => value.trim().toLowerCase());
    if (name === 'content-length') found.lengths.push(...values());
    else if (name === 'transfer-encoding') found.codings.push(...values());
    else if (name === 'connection') found.connection.push(...values());
  }
  return found;
}

function findBodyEnd(status: number, lengths: readonly string[], codings: readonly string[]): BodyEnd {
  if (lengths.length > 0 && codings.length > 0)
    throw new AnswerFault('it has both a length and a transfer encoding');
  if (!lengths.every((value) => length.test(value) && value === lengths[0]))
    throw new AnswerFault('its length cannot be read');
  if (status < 200 || status === 204 || status === 304) return 0;
  if (codings.length > 1 || (codings.length === 1 && codings[0] !== 'chunked'))
    throw new AnswerFault('its transfer encoding is unknown');
  if (codings.length === 1) return 'chunks';
  return lengths.length > 0 ? Number(lengths[0]) : 'close';
}
