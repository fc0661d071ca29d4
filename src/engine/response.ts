/**
 * Writes responses, with headers as ClickHouse sends them.
 *
 * Content codings of responses.
 *
 * The body of a response that is sent in pieces.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { StreamChunk } from './binding.ts';
import { EngineError, exceptionText, httpStatusOf } from './error.ts';

/** What the engine says about itself in every response. */
export interface ServerFacts {
  readonly version: string;
  readonly timezone: string;
  readonly hostName: string;
}

/**
 * Figures of `X-ClickHouse-Summary`. chDB counts what a query returned and not what it read: of a read nothing is said
 * about that.
 */
interface Summary {
  readonly readRows?: number;
  readonly readBytes?: number;
  readonly writtenRows?: number;
  readonly writtenBytes?: number;
  readonly resultRows?: number;
  readonly resultBytes?: number;
  /** Seconds. */
  readonly elapsed: number;
}

/** One response, for one query. */
export class Reply {
  readonly #response: ServerResponse;
  readonly #facts: ServerFacts;
  #streamed: StreamedBody | undefined;

  constructor(response: ServerResponse, facts: ServerFacts) {
    this.#response = response;
    this.#facts = facts;
    response.setHeader('X-ClickHouse-Server-Display-Name', facts.hostName);
    response.setHeader('X-ClickHouse-Timezone', facts.timezone);
  }

  /** Names the query in the response. */
  setQueryId(id: string): void {
    this.#response.setHeader('X-ClickHouse-Query-Id', id);
  }

  /** Names the format of the result, and the type of content that goes with it: never one that a browser executes. */
  setFormat(format: string): void {
    this.#response.setHeader('X-ClickHouse-Format', format);
    this.#response.setHeader('Content-Type', contentType(format));
  }

  /** Ends the connection with this answer. */
  closeConnection(): void {
    if (!this.#response.headersSent) this.#response.setHeader('Connection', 'close');
  }

  /** Sends a whole result. */
  async send(body: Uint8Array, summary: Summary, coding: ContentCoding | undefined): Promise<void> {
    this.#response.setHeader('X-ClickHouse-Summary', summaryText(summary));
    let data = body;
    if (coding !== undefined && body.length > 0) {
      data = await encoders[coding].whole(body);
      this.#response.setHeader('Content-Encoding', coding);
    }
    this.#response.setHeader('Content-Length', data.length);
    this.#response.end(data);
  }

  /**
   * Sends a result in pieces. Headers go out when there are pieces enough, so that an error before that
   * still has its own status; after it, all that is left is to say it at the end of the body: {@link fail}.
   */
  async stream(chunks: AsyncGenerator<StreamChunk>, coding: ContentCoding | undefined): Promise<void> {
    try {
      const start = await readStart(chunks);
      if (start.isWhole) return await this.send(start.bytes, start.summary, coding);
      const tag = randomBytes(8).toString('hex');
      this.#response.setHeader('X-ClickHouse-Summary', summaryText({ elapsed: start.summary.elapsed }));
      this.#response.setHeader('X-ClickHouse-Exception-Tag', tag);
      if (coding !== undefined) this.#response.setHeader('Content-Encoding', coding);
      const out = new StreamedBody(this.#response, tag, coding);
      this.#streamed = out;
      await out.write(start.bytes);
      for await (const { bytes } of chunks) await out.write(bytes);
      out.end();
    } finally {
      // Ends the query, should the client not have wanted all of it.
      await chunks.return(undefined);
    }
  }

  /** Sends an exception; behind what is already on its way, if a part of the result is. */
  fail(error: EngineError): void {
    const response = this.#response;
    const text = exceptionText(error, this.#facts.version);
    if (response.headersSent) {
      if (this.#streamed === undefined || response.destroyed) response.destroy();
      else this.#streamed.fail(text);
      return;
    }
    const body = Buffer.from(text);
    const status = httpStatusOf(error);
    response.removeHeader('X-ClickHouse-Format');
    response.removeHeader('X-ClickHouse-Exception-Tag');
    response.removeHeader('Content-Encoding');
    response.setHeader('X-ClickHouse-Exception-Code', error.code);
    response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
    response.setHeader('Content-Length', body.length);
    if (status === 503 || status === 429) response.setHeader('Retry-After', 1);
    if (status === 401) response.setHeader('WWW-Authenticate', 'Basic realm="ClickHouse server HTTP API"');
    response.writeHead(status).end(body);
  }
}

/** Below this size it is worth to see whether the result is at its end. */
const smallBytes = 64 * 1024;

/** The first pieces of a result; all of them, if they are few. */
async function readStart(
  chunks: AsyncGenerator<StreamChunk>,
): Promise<{ readonly bytes: Uint8Array; readonly summary: Summary; readonly isWhole: boolean }> {
  const started = performance.now();
  const pieces: Uint8Array[] = [];
  let length = 0;
  let resultRows = 0;
  let isWhole = false;
  while (length < smallBytes && !isWhole) {
    const { done, value } = await chunks.next();
    isWhole = done === true;
    if (done === true) break;
    pieces.push(value.bytes);
    length += value.bytes.length;
    resultRows += value.numRows;
  }
  const summary = { resultRows, resultBytes: length, elapsed: (performance.now() - started) / 1000 };
  return { bytes: Buffer.concat(pieces), summary, isWhole };
}

function summaryText(summary: Summary): string {
  const {
    readRows,
    readBytes,
    writtenRows = 0,
    writtenBytes = 0,
    resultRows,
    resultBytes,
    elapsed,
  } = summary;
  const text = (figure: number | undefined) => (figure === undefined ? undefined : String(figure));
  return JSON.stringify({
    read_rows: text(readRows),
    read_bytes: text(readBytes),
    written_rows: String(writtenRows),
    written_bytes: String(writtenBytes),
    total_rows_to_read: '0',
    result_rows: text(resultRows),
    result_bytes: text(resultBytes),
    elapsed_ns: String(Math.round(elapsed * 1e9)),
  });
}

const contentTypes: ReadonlyArray<readonly [pattern: RegExp, type: string]> = [
  [/^(NDJSON|JSONLines|JSON\w*EachRow\w*)$/i, 'application/x-ndjson; charset=UTF-8'],
  [/^JSON/i, 'application/json; charset=UTF-8'],
  [/^CSVWithNames/i, 'text/csv; charset=UTF-8; header=present'],
  [/^CSV/i, 'text/csv; charset=UTF-8; header=absent'],
  [/^(TSV|TabSeparated|TSKV)/i, 'text/tab-separated-values; charset=UTF-8'],
  [/^XML$/i, 'application/xml; charset=UTF-8'],
  [
    /^(Native|RowBinary|Parquet|ORC|Avro|Arrow|MsgPack|Protobuf|CapnProto|BSON|Npy)/i,
    'application/octet-stream',
  ],
];

function contentType(format: string): string {
  return contentTypes.find(([pattern]) => pattern.test(format))?.[1] ?? 'text/plain; charset=UTF-8';
}

const level = 3;
const brotli = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: level } };
/** How each coding is made: of pieces, and of a whole. */
const encoders = {
  br: { create: () => zlib.createBrotliCompress(brotli), whole: promisify(zlib.brotliCompress) },
  gzip: { create: () => zlib.createGzip({ level }), whole: promisify(zlib.gzip) },
  deflate: { create: () => zlib.createDeflate({ level }), whole: promisify(zlib.deflate) },
};

/** A content coding that responses can have. */
type ContentCoding = keyof typeof encoders;

/** Picks the coding for a response from `Accept-Encoding`: gzip first, the cheapest of them. */
export function chooseCoding(request: IncomingMessage): ContentCoding | undefined {
  const header = request.headers['accept-encoding'];
  const accepted = String(header ?? '').toLowerCase();
  const isAccepted = (coding: string) =>
    accepted.split(',').some((part) => {
      const [name, ...parameters] = part.split(';').map((text) => text.trim());
      return name === coding && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
    });
  return (['gzip', 'deflate', 'br'] as const).find(isAccepted);
}

/** How long a client may take to read a piece of a response. */
const stalledReadMs = 60_000;

class StreamedBody {
  readonly #response: ServerResponse;
  readonly #tag: string;
  readonly #encoder: Transform | undefined;

  /** @param tag by which a client tells an exception in the body from data */
  constructor(response: ServerResponse, tag: string, coding: ContentCoding | undefined) {
    this.#response = response;
    this.#tag = tag;
    if (coding === undefined) return;
    this.#encoder = encoders[coding].create();
    this.#encoder.on('error', () => response.destroy()).pipe(response, { end: false });
  }

  /**
   * Writes a piece, and waits until there is room for the next one.
   * @throws EngineError 210 when the client is gone
   */
  async write(piece: Uint8Array): Promise<void> {
    const out = this.#encoder ?? this.#response;
    if (this.#response.destroyed) throw new EngineError(210, 'NETWORK_ERROR', 'The client is gone');
    if (!out.write(piece)) await drained(out, this.#response);
  }

  /** Ends the body. */
  end(): void {
    const response = this.#response;
    if (this.#encoder === undefined) response.end();
    else this.#encoder.once('end', () => response.end()).end();
  }

  /**
   * Ends the body with an exception, and the connection without the last chunk of HTTP, so that no client takes the
   * result for whole. Source: the HTTP interface of ClickHouse, 25.11 and later; a client that knows
   * `X-ClickHouse-Exception-Tag` shows the text.
   */
  fail(exception: string): void {
    const response = this.#response;
    const length = Buffer.byteLength(exception);
    const block = `\r\n__exception__\r\n${this.#tag}\r\n${exception}${length} ${this.#tag}\r\n__exception__\r\n`;
    const cut = () => response.socket?.destroySoon();
    // Of a client that does not read it.
    const timer = setTimeout(() => response.destroy(), stalledReadMs);
    response.once('close', () => clearTimeout(timer));
    if (this.#encoder === undefined) {
      response.write(block);
      cut();
    } else {
      this.#encoder.once('end', cut).end(block);
    }
  }
}

/** Waits until `out` takes more, or the client is gone, or has not read for too long: then it is cut off. */
function drained(out: Transform | ServerResponse, response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      out.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    const timer = setTimeout(() => {
      reject(new EngineError(209, 'SOCKET_TIMEOUT', 'The client does not read'));
      settle();
      response.destroy();
    }, stalledReadMs);
    out.on('drain', settle);
    response.on('close', settle);
  });
}
