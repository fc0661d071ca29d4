/** Writes responses: headers as ClickHouse sends them, and compression. */
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

/** Figures of `X-ClickHouse-Summary`. */
export interface Summary {
  readonly readRows?: number;
  readonly readBytes?: number;
  readonly writtenRows?: number;
  readonly writtenBytes?: number;
  /** Seconds. */
  readonly elapsed: number;
}

const level = 3;
const brotli = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: level } };
const encoders = {
  br: { create: () => zlib.createBrotliCompress(brotli), whole: promisify(zlib.brotliCompress) },
  gzip: { create: () => zlib.createGzip({ level }), whole: promisify(zlib.gzip) },
  deflate: { create: () => zlib.createDeflate({ level }), whole: promisify(zlib.deflate) },
};

/** A content coding that responses can have. */
export type ContentCoding = keyof typeof encoders;

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

/** One response, for one query. */
export class Reply {
  readonly #response: ServerResponse;
  readonly #facts: ServerFacts;

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
   * still has its own status; after it, all that is left is to cut the connection.
   */
  async stream(chunks: AsyncGenerator<StreamChunk>, coding: ContentCoding | undefined): Promise<void> {
    try {
      const start = await readStart(chunks);
      if (start.isWhole) return await this.send(start.bytes, start.summary, coding);
      this.#response.setHeader('X-ClickHouse-Summary', summaryText(start.summary));
      if (coding !== undefined) this.#response.setHeader('Content-Encoding', coding);
      await this.#sendPieces(start.bytes, chunks, coding);
    } finally {
      // Ends the query, should the client not have wanted all of it.
      await chunks.return(undefined);
    }
  }

  async #sendPieces(
    start: Uint8Array,
    rest: AsyncIterable<StreamChunk>,
    coding: ContentCoding | undefined,
  ): Promise<void> {
    const encoder = coding === undefined ? undefined : encoders[coding].create();
    encoder?.on('error', () => this.#response.destroy()).pipe(this.#response);
    const out = encoder ?? this.#response;
    try {
      await this.#write(out, start);
      for await (const { bytes } of rest) await this.#write(out, bytes);
      out.end();
    } catch (thrown) {
      encoder?.destroy();
      throw thrown;
    }
  }

  /** Sends an exception, or cuts the connection when a part of the result is already on its way. */
  fail(error: EngineError): void {
    const response = this.#response;
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const body = Buffer.from(exceptionText(error, this.#facts.version));
    const status = httpStatusOf(error);
    response.removeHeader('X-ClickHouse-Format');
    response.removeHeader('Content-Encoding');
    response.setHeader('X-ClickHouse-Exception-Code', error.code);
    response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
    response.setHeader('Content-Length', body.length);
    if (status === 503 || status === 429) response.setHeader('Retry-After', 1);
    if (status === 401) response.setHeader('WWW-Authenticate', 'Basic realm="ClickHouse server HTTP API"');
    response.writeHead(status).end(body);
  }

  async #write(out: Transform | ServerResponse, chunk: Uint8Array): Promise<void> {
    if (this.#response.destroyed) throw new EngineError(210, 'NETWORK_ERROR', 'The client is gone');
    if (!out.write(chunk)) await drained(out, this.#response);
  }
}

/** Waits until `out` takes more, or the client is gone, or has not read for too long. */
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
    }, stalledReadMs);
    out.on('drain', settle);
    response.on('close', settle);
  });
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
  let readRows = 0;
  let isWhole = false;
  while (length < smallBytes && !isWhole) {
    const { done, value } = await chunks.next();
    isWhole = done === true;
    if (done === true) break;
    pieces.push(value.bytes);
    length += value.bytes.length;
    readRows += value.numRows;
  }
  const summary = { readRows, readBytes: length, elapsed: (performance.now() - started) / 1000 };
  return { bytes: Buffer.concat(pieces), summary, isWhole };
}

function summaryText(summary: Summary): string {
  const { readRows = 0, readBytes = 0, writtenRows = 0, writtenBytes = 0, elapsed } = summary;
  return JSON.stringify({
    read_rows: String(readRows),
    read_bytes: String(readBytes),
    written_rows: String(writtenRows),
    written_bytes: String(writtenBytes),
    total_rows_to_read: '0',
    result_rows: String(writtenRows || readRows),
    result_bytes: String(writtenBytes || readBytes),
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
