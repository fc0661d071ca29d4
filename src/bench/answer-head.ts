/** The head of an HTTP/1.1 answer. */

/** An answer that is no HTTP/1.1 as we read it. The message is one of a few fixed texts. */
export class AnswerFault extends Error {
  override readonly name = 'AnswerFault';
}

/** How the end of a body is known: by its length in bytes, by its chunks, or by the end of the connection. */
export type BodyEnd = number | 'chunks' | 'close';

/** What the head says. */
export interface AnswerHead {
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
export function parseHead(text: string): AnswerHead {
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
