/**
 * Writes answers. Those to posts carry the CORS header: without it a browser shows an error as a network failure. No other
 * does: status pages are not served to pages of other sites.
 *
 * How an answer tells which events of a batch were refused.
 */
import type { HttpResponse } from './http-app.ts';
import { formatProblem, type Problem, problems, type Rejection } from './problem.ts';

/** Durable events of one request: `count` of them from `offset` on, in a partition or in a spool. */
export type Receipt = {
  readonly offset: number;
  readonly count: number;
} & ({ readonly partition: number } | { readonly spool: string });

/** The name of the offset in the answer to a single event: clients of the first collector read `Offset`. */
export type OffsetName = 'offset' | 'Offset';

const reasons: Readonly<Record<number, string>> = {
  200: '200 OK',
  202: '202 Accepted',
  204: '204 No Content',
  400: '400 Bad Request',
  403: '403 Forbidden',
  404: '404 Not Found',
  405: '405 Method Not Allowed',
  413: '413 Content Too Large',
  415: '415 Unsupported Media Type',
  422: '422 Unprocessable Content',
  429: '429 Too Many Requests',
  503: '503 Service Unavailable',
};

/** Content type of an answer. */
type AnswerType = 'application/json' | 'application/problem+json' | 'text/plain; charset=utf-8';

/** What is written. */
export interface Answer {
  /** Default 200. */
  readonly status?: number;
  /** Default application/json. */
  readonly type?: AnswerType;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
  /** Close the connection after the answer. */
  readonly isLast?: boolean;
}

/** Sends an answer to a post, which any page may read. The response must not be aborted. */
export function replyToPost(res: HttpResponse, answer: Answer): void {
  const { status = 200, type = 'application/json' } = answer;
  const isCommon = status === 200 && type === 'application/json';
  write(res, isCommon ? commonHead : formatHead(status, type) + readableByPages, answer);
}

/** Sends any other answer. The response must not be aborted. */
export function reply(res: HttpResponse, answer: Answer): void {
  const { status = 200, type = 'application/json' } = answer;
  write(res, formatHead(status, type) + notForPages, answer);
}

function write(res: HttpResponse, head: string, { headers, body, isLast = false }: Answer): void {
  res.cork(() => {
    res.writeStatus(head);
    for (const name in headers) res.writeHeader(name, headers[name] ?? '');
    res.end(body, isLast);
  });
}

/** What every answer begins with, as one text: a call into the server for each header would cost more. */
function formatHead(status: number, type: AnswerType): string {
  return `${reasons[status] ?? String(status)}\r\nContent-Type: ${type}`;
}

const readableByPages = '\r\nAccess-Control-Allow-Origin: *';
/** No page may take the answer for a script or a style sheet, nor ask for its status in its own process. */
const notForPages = '\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin';
const commonHead = formatHead(200, 'application/json') + readableByPages;

/** The answer for a problem; `retryAfterSeconds` only where trying again can help. */
export function problemAnswer(
  problem: Problem,
  options: {
    retryAfterSeconds?: number | undefined;
    headers?: Readonly<Record<string, string>>;
    rejected?: readonly Rejection[];
    /** Id of the request in the log. */
    requestId?: string | undefined;
  } = {},
): Answer {
  const { status, retry } = problems[problem.code];
  const retryAfter = retry ? { 'Retry-After': String(options.retryAfterSeconds ?? 1) } : undefined;
  const extra = {
    ...(options.requestId !== undefined && { instance: `urn:millrace:request:${options.requestId}` }),
    ...(options.rejected !== undefined && { accepted: 0, ...tellRejections(options.rejected) }),
  };
  return {
    status,
    type: 'application/problem+json',
    headers: {
      ...options.headers,
      ...retryAfter,
      ...(retryAfter === undefined ? {} : { 'Access-Control-Expose-Headers': 'Retry-After' }),
    },
    body: formatProblem(problem, extra),
  };
}

/** The body for a single event, with the offset under this name. */
export function formatSingleResult(receipt: Receipt, offsetName: OffsetName): string {
  const place =
    'spool' in receipt ? `"spool":${JSON.stringify(receipt.spool)}` : `"partition":${receipt.partition}`;
  return `{"status":"ok",${place},"${offsetName}":${receipt.offset}}`;
}

/** The body for a batch: what was stored where, and what was refused. */
export function formatBatchResult(
  accepted: number,
  rejected: readonly Rejection[],
  receipts: readonly Receipt[],
): string {
  const status = rejected.length === 0 ? 'ok' : 'partial';
  const plain = receipts.map((receipt) => {
    const { offset, count } = receipt;
    return 'spool' in receipt
      ? { spool: receipt.spool, offset, count }
      : { partition: receipt.partition, offset, count };
  });
  return JSON.stringify({ status, accepted, ...tellRejections(rejected), receipts: plain });
}

/** So many are told in full. A body of many small mistakes must not be answered with many times its size. */
const mostListed = 500;

/** Positions of events that follow each other: the first and the last. */
type IndexRange = readonly [first: number, last: number];

/** Refused events as an answer has them. */
interface ToldRejections {
  /** The first ones. */
  readonly rejected: readonly Rejection[];
  /** Where the others are, so that nothing that was stored is sent again, nor forgotten what was not. */
  readonly rejected_more?: {
    readonly count: number;
    /** Sending these again cannot help. */
    readonly permanent: readonly IndexRange[];
    /** Sending these again can. */
    readonly retriable: readonly IndexRange[];
  };
}

/** Tells refused events, given by ascending index. */
export function tellRejections(rejections: readonly Rejection[]): ToldRejections {
  if (rejections.length <= mostListed) return { rejected: rejections };
  const others = rejections.slice(mostListed);
  const rangesOf = (retry: boolean) =>
    joinIndexes(others.filter(({ code }) => problems[code].retry === retry));
  return {
    rejected: rejections.slice(0, mostListed),
    rejected_more: { count: others.length, permanent: rangesOf(false), retriable: rangesOf(true) },
  };
}

function joinIndexes(rejections: readonly Rejection[]): IndexRange[] {
  const ranges: [number, number][] = [];
  for (const { index } of rejections) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else ranges.push([index, index]);
  }
  return ranges;
}
