/** Reads a file and cuts it into batches to post. */
import { type Batch, BatchBuilder, type BatchLimits, createLineSplitter, type Line } from './batch.ts';
import { createEncoder, detectFormat, type EncodeLine, type Format } from './format.ts';
import type { Schedule } from './pacing.ts';

/** How a file becomes batches. */
export interface ReadOptions {
  readonly format: Format | 'auto';
  /** Lines to leave out at the start. */
  readonly skip: number;
  readonly limits: BatchLimits;
  readonly schedule: Schedule;
  /** Whether the schedule looks at the events' own times. */
  readonly needsTime: boolean;
  /** Ends the reading; the batch at hand is not given out. */
  readonly signal: AbortSignal;
}

/** The longest line taken: the most that a collector can be told to take for an event. */
const maxLineBytes = 16 * 1024 ** 2;
/** How long events wait for more when the file is a pipe that has none now. */
const lingerMs = 200;
const asciiSpace = 0x20;

/** Cuts the file into batches, reading no further than the last one asked for. */
export async function* readBatches(
  chunks: AsyncIterable<Buffer>,
  options: ReadOptions,
): AsyncGenerator<Batch> {
  const builder = new BatchBuilder(options.limits);
  const takeLine = createLineTaker(builder, options);
  const splitter = createLineSplitter(maxLineBytes);
  const iterator = chunks[Symbol.asyncIterator]();
  const readNext = () => {
    const chunk = iterator.next();
    // When the run stops nobody waits for it any more, and closing the file may then fail it.
    chunk.catch(() => {});
    return chunk;
  };
  let next = readNext();
  while (!options.signal.aborted) {
    const outcome = await settleWithin(next, builder.count > 0 ? lingerMs : undefined, options.signal);
    if (outcome === 'stopped') return;
    if (outcome === 'late') {
      yield builder.seal();
      continue;
    }
    for (const line of outcome.done ? splitter.finish() : splitter.push(outcome.value)) yield* takeLine(line);
    if (outcome.done) {
      if (builder.hasLines) yield builder.seal();
      return;
    }
    next = readNext();
  }
}

/** Makes the function that puts a line into the builder and gives the batches that this completes. */
function createLineTaker(builder: BatchBuilder, options: ReadOptions): (line: Line) => Iterable<Batch> {
  let encode: EncodeLine | undefined;
  return function* takeLine(line) {
    if (isBlank(line)) return builder.pass(line);
    // The format is a property of the file, so it shows in its first line even when that is skipped.
    encode ??= createEncoder(
      options.format === 'auto' ? detectFormat(line.bytes) : options.format,
      options.needsTime,
    );
    if (line.number <= options.skip) return builder.pass(line);
    if (line.isTooLong) return builder.addFault(line, `is longer than ${maxLineBytes} bytes`);
    const encoded = encode(line.bytes);
    if (!encoded.ok) return builder.addFault(line, encoded.reason);
    const dueMs = options.schedule(encoded.timeMs);
    if (!builder.fits(encoded.bytes.length, dueMs)) yield builder.seal();
    builder.add(line, encoded.bytes, dueMs);
    if (builder.isFull) yield builder.seal();
  };
}

function isBlank(line: Line): boolean {
  return !line.isTooLong && line.bytes.every((byte) => byte <= asciiSpace);
}

/** Waits for the promise, but no longer than `ms` and not beyond the stop. */
async function settleWithin<T>(
  promise: Promise<T>,
  ms: number | undefined,
  signal: AbortSignal,
): Promise<T | 'late' | 'stopped'> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const interruption = new Promise<'late' | 'stopped'>((resolve) => {
    onAbort = () => resolve('stopped');
    signal.addEventListener('abort', onAbort);
    if (ms !== undefined) timer = setTimeout(resolve, ms, 'late');
  });
  try {
    return await Promise.race([promise, interruption]);
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}
