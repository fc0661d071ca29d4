/**
 * What a load run is asked for, and what it found.
 *
 * What the thread of a load run is told, and what it answers: values that can be sent between threads.
 *
 * Runs a load in a thread of its own, so that nothing that the command does meanwhile delays a request.
 */
import { createHistogram, type Histogram } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { type ExitCode, exitCodes, OperatorError } from '../errors.ts';
import { RangeSet } from '../verify/ranges.ts';
import { createReceipts, type Receipts } from '../verify/receipts.ts';
import type { Payload } from './payload.ts';
import type { Profile } from './profile.ts';

/** One run against one collector. */
export interface LoadOptions {
  /** Where to post: the origin of the collector, http or https. */
  readonly url: URL;
  /** Path of the posts. */
  readonly path: string;
  /** Requests per second over time. */
  readonly profile: Profile;
  readonly payload: Payload;
  /** Most requests in flight; each is on a connection of its own. */
  readonly connections: number;
  /** `fresh`: a new connection for each request. */
  readonly connectionUse: 'kept' | 'fresh';
  /** Whether the certificate of an https collector is checked. */
  readonly checksCertificate: boolean;
  /** How long an answer may take from when the request was written, milliseconds. */
  readonly answerTimeoutMs: number;
  /** A request that found no free connection for so long is given up. Default 30,000. */
  readonly longestWaitMs?: number;
  /** Ends the run early: nothing new is sent, what is in flight is waited for. */
  readonly stop: AbortSignal;
  /** Told when it was stopped and so many answers are still waited for. */
  readonly onStopping?: (requests: number) => void;
  /** Called about once a second while it runs. */
  readonly onSecond?: (second: LoadSecond) => void;
}

/** What happened within about one second, by when the answers came. */
export interface LoadSecond {
  /** Seconds from the start of the run. */
  readonly at: number;
  /** Requests that the profile planned for this second. */
  readonly planned: number;
  /** Requests that were written. */
  readonly sent: number;
  /** Requests answered with 2xx and receipts that fit them. */
  readonly acknowledged: number;
  /** Requests answered otherwise, or not at all. */
  readonly failed: number;
  /** Milliseconds from the planned send time to the answer, as {@link LoadResult.latency}; null: nothing ended. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Requests planned before now that are not written yet. */
  readonly waiting: number;
}

/** Why requests failed, and how many did. */
export interface LoadFailure {
  /** `503 OVERLOADED`, `timeout`, `ECONNRESET`, ... */
  readonly reason: string;
  readonly requests: number;
}

/** What a run found that did not begin. */
export function emptyLoad(): LoadResult {
  return {
    ...{ seconds: 0, planned: 0, sent: 0, waitingAtEnd: 0, answers: 0, acknowledged: 0, failures: [] },
    ...{ eventsSent: 0, eventsAcknowledged: 0, eventsRejected: 0, eventsUnknown: 0 },
    ...{
      receipts: createReceipts(),
      acknowledgedBodies: [],
      latency: createHistogram(),
      lateness: createHistogram(),
    },
    ...{ generatorBusy: 0, series: [] },
  };
}

/** What one run found. Counts are of requests unless they say events. */
export interface LoadResult {
  /** Seconds from the first planned send time to the last one; to the stop, of a run that was stopped. */
  readonly seconds: number;
  /** Requests that were due: all of the profile, or those before the stop. All are acknowledged or failed. */
  readonly planned: number;
  /** Requests that were written. */
  readonly sent: number;
  /** Requests that were due but not sent when the last one became due: what had piled up. */
  readonly waitingAtEnd: number;
  /** Requests with any answer, refusals too. */
  readonly answers: number;
  /** Requests answered with 2xx and receipts that fit them. */
  readonly acknowledged: number;
  /** The most frequent one first. */
  readonly failures: readonly LoadFailure[];
  /** Events of requests that were sent: the sum of the next three. */
  readonly eventsSent: number;
  /** Events that answers acknowledged. */
  readonly eventsAcknowledged: number;
  /** Events that answers rejected, one by one or with their request. */
  readonly eventsRejected: number;
  /** Events of requests without an answer, or with one that says that the outcome is unknown: stored or not. */
  readonly eventsUnknown: number;
  /** Every receipt. `eventsAcknowledged` differs from their distinct offsets when two answers named the same one. */
  readonly receipts: Receipts;
  /** By body of the payload, how many posts had every event acknowledged; empty for a run that did not begin. */
  readonly acknowledgedBodies: ArrayLike<number>;
  /**
   * Microseconds from the planned send time to the answer, of all planned requests. One without an answer counts with
   * the time until it was given up, and with no less than the answer timeout.
   */
  readonly latency: Histogram;
  /**
   * Microseconds from the planned send time to when the generator came to it: to the write, or to when it found that
   * no connection was free. What the generator itself added.
   */
  readonly lateness: Histogram;
  /** Share of the run that the generator's thread was busy, 0 to 1. */
  readonly generatorBusy: number;
  /** By second of the run. */
  readonly series: readonly LoadSecond[];
}

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
interface PackedResult extends Omit<LoadResult, 'receipts'> {
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

/** As it is called once it is built. */
const thread = new URL('./load-worker.js', import.meta.url);

/**
 * Posts a payload as the profile says, and resolves when the last answer is there or was waited for.
 * @throws OperatorError exit 69 when the collector cannot be connected to at the start
 */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { stop, onSecond, onStopping } = options;
  const task = createTask(options);
  const worker = new Worker(thread, {
    name: 'millrace-load',
    workerData: task,
    transferList: [task.bytes.buffer],
  });
  const stopNow = () => worker.postMessage('stop');
  if (stop.aborted) stopNow();
  stop.addEventListener('abort', stopNow);
  try {
    return await new Promise<LoadResult>((resolve, reject) => {
      worker.on('message', (message: FromLoadThread) => {
        if (message.type === 'second') onSecond?.(message.second);
        else if (message.type === 'stopping') onStopping?.(message.requests);
        else if (message.type === 'end') resolve(unpackResult(message.result));
        else reject(new OperatorError(message.message, message.exitCode));
      });
      worker.once('error', reject);
      worker.once('exit', (code) =>
        reject(new OperatorError(`the thread of the load ended (${code})`, exitCodes.failure)),
      );
    });
  } finally {
    stop.removeEventListener('abort', stopNow);
    await worker.terminate();
  }
}
