/** Appends blocks within a write transaction: where offsets are assigned and the size limit is kept. */
import { BufferFullError } from '../buffer.ts';
import type { EncodedBlock } from './block.ts';
import { encodeKey, storedBytesOf } from './block-key.ts';
import type { Environment } from './environment.ts';
import { readPartition, readTotals, writePartition, writeTotals } from './log-state.ts';
import { removeDelivered } from './retention.ts';

/** Blocks that go into one partition, consecutively. */
export interface AppendRequest {
  readonly partition: number;
  readonly blocks: readonly EncodedBlock[];
  /** Bytes of disk that the blocks count for. */
  readonly storedBytes: number;
}

/** The log appended to, and its limit. */
export interface AppendTarget {
  readonly environment: Environment;
  readonly partitions: number;
  readonly maxBytes: number;
}

/**
 * Appends all requests in order, within a transaction. A request that does not fit is left out as a whole,
 * after delivered blocks were removed in its favour.
 * @returns for each request the offset of its first record, or why it was left out
 */
export function appendAll(
  target: AppendTarget,
  requests: readonly AppendRequest[],
): (number | BufferFullError)[] {
  let isFull = false;
  return requests.map((request) => {
    // Once full, stay full for the rest of the transaction: making room again and again is for nothing.
    if (isFull || !hasRoom(target, request)) {
      isFull = true;
      return new BufferFullError(fullMessage(target));
    }
    return append(target.environment, request);
  });
}

function hasRoom(target: AppendTarget, request: AppendRequest): boolean {
  const { environment, partitions, maxBytes } = target;
  const targetBytes = maxBytes - request.storedBytes;
  if (readTotals(environment).usedBytes <= targetBytes) return true;
  removeDelivered(environment, partitions, { olderThanMs: 0, targetBytes });
  return readTotals(environment).usedBytes <= targetBytes;
}

function append(environment: Environment, request: AppendRequest): number {
  const { partition, blocks } = request;
  const { start, end: base } = readPartition(environment, partition);
  const { usedBytes, appended } = readTotals(environment);
  let end = base;
  for (const { value, count, newestMs } of blocks) {
    const storedBytes = storedBytesOf(value.length);
    environment.blocks.putSync(encodeKey({ partition, base: end, count, newestMs, storedBytes }), value);
    end += count;
  }
  writePartition(environment, partition, { start, end });
  writeTotals(environment, {
    usedBytes: usedBytes + request.storedBytes,
    appended: appended + end - base,
  });
  return base;
}

function fullMessage({ environment, maxBytes }: AppendTarget): string {
  return `The embedded log in ${environment.path} is full: ${readTotals(environment).usedBytes} of ${maxBytes} bytes hold records that are not delivered yet. Check that the streamer runs and reaches ClickHouse, or raise --log-max-bytes.`;
}
