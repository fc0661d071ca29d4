/** What the thread of a load run is told, and what it answers: values that can be sent between threads. */

import type { ExitCode } from '../errors.ts';
import { RangeSet } from '../verify/ranges.ts';
import type { LoadOptions, LoadResult, LoadSecond } from './load.ts';

/** One run. */
export interface LoadTask
  extends Pick<LoadOptions, 'connections' | 'connectionUse' | 'checksCertificate' | 'answerTimeoutMs'> {
  readonly url: string;
  /** As `parseProfile` reads it. */
  readonly profile: string;
  readonly eventsPerPost: number;
  readonly longestWaitMs: number;
  /** All requests, one after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Length of each request, bytes. */
  readonly lengths: readonly number[];
}

/** What the thread sends. The parent sends any message to stop it. */
export type FromLoadThread =
  | { readonly type: 'second'; readonly second: LoadSecond }
  | { readonly type: 'stopping'; readonly requests: number }
  | { readonly type: 'end'; readonly result: PackedResult }
  | { readonly type: 'failed'; readonly message: string; readonly exitCode: ExitCode };

/** A result whose receipts are bounds of ranges, by partition and by spool. */
export interface PackedResult extends Omit<LoadResult, 'receipts'> {
  readonly partitions: ReadonlyMap<number, Float64Array>;
  readonly spools: ReadonlyMap<string, Float64Array>;
}

const defaultLongestWaitMs = 30_000;

/** Makes the task: all requests are written out, so that the thread has nothing to do for a request but to send it. */
export function createTask(options: LoadOptions): LoadTask {
  const { url, payload, profile, connections, connectionUse, checksCertificate, answerTimeoutMs } = options;
  const requests = payload.bodies.map((body) => Buffer.concat([createHead(options, body.length), body]));
  return {
    ...{ connections, connectionUse, checksCertificate, answerTimeoutMs },
    url: url.href,
    profile: profile.text,
    eventsPerPost: payload.eventsPerPost,
    longestWaitMs: options.longestWaitMs ?? defaultLongestWaitMs,
    bytes: new Uint8Array(Buffer.concat(requests)),
    lengths: requests.map(({ length }) => length),
  };
}

function createHead({ url, path, payload, connectionUse }: LoadOptions, bodyBytes: number): Buffer {
  const { pathname, search } = new URL(path, url);
  const lines = [
    `POST ${pathname}${search} HTTP/1.1`,
    `Host: ${url.host}`,
    'User-Agent: millrace-bench',
    `Content-Type: ${payload.contentType}`,
    `Content-Length: ${bodyBytes}`,
    ...(connectionUse === 'fresh' ? ['Connection: close'] : []),
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** The requests of a task, without copying them. */
export function unpackRequests({ bytes, lengths }: LoadTask): Buffer[] {
  let start = 0;
  return lengths.map((length) => {
    start += length;
    return Buffer.from(bytes.buffer, bytes.byteOffset + start - length, length);
  });
}

/** Makes a result that can be sent. */
export function packResult({ receipts, ...rest }: LoadResult): PackedResult {
  return { ...rest, partitions: pack(receipts.partitions), spools: pack(receipts.spools) };
}

/** The result as it was. */
export function unpackResult({ partitions, spools, ...rest }: PackedResult): LoadResult {
  return { ...rest, receipts: { partitions: unpack(partitions), spools: unpack(spools) } };
}

function pack<K>(sets: ReadonlyMap<K, RangeSet>): Map<K, Float64Array> {
  return new Map(Array.from(sets, ([key, set]) => [key, set.toBounds()]));
}

function unpack<K>(sets: ReadonlyMap<K, Float64Array>): Map<K, RangeSet> {
  return new Map(Array.from(sets, ([key, bounds]) => [key, RangeSet.fromBounds(bounds)]));
}
