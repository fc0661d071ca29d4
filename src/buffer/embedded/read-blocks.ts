/** Reading stored blocks by offset: what the owner of a partition and the inspector share. */
import { assertInvariant } from '../../errors.ts';
import type { ReadResult } from '../buffer.ts';
import type { RecordBlock } from '../record-block.ts';
import { decodeBlock } from './block.ts';
import { decodeKey, keyFrom } from './block-key.ts';
import type { Environment } from './environment.ts';

/** One read copies and checks at most about this much: it runs on the event loop, a few milliseconds. */
const maxReadBytes = 4 * 1024 * 1024;

/** Where to read. */
export interface Position {
  readonly topic: string;
  readonly partition: number;
  /** Offset of a stored record. */
  readonly from: number;
}

/**
 * Reads whole blocks, the first from the middle if need be, up to about `maxBytes` of values. Synchronous, hence
 * within one snapshot.
 * @throws OperatorError when the log is damaged
 */
export function readBlocks(environment: Environment, position: Position, maxBytes: number): ReadResult {
  const { topic, partition, from } = position;
  const where = `${topic}/${partition}`;
  const blocks: RecordBlock[] = [];
  let bytes = 0;
  let next = from;
  const range = { start: findBlock(environment, partition, from), end: keyFrom(partition + 1, 0) };
  for (const { key, value } of environment.blocks.getRange(range)) {
    const { base, count } = decodeKey(key);
    const skip = Math.max(0, from - base);
    assertInvariant(base + skip === next && skip < count, `${where} has no record at offset ${next}`);
    const block = decodeBlock(value, { base, skip, where });
    blocks.push(block);
    next = base + count;
    bytes += (block.ends[block.count - 1] as number) - (block.starts[0] as number);
    if (bytes >= Math.min(maxBytes, maxReadBytes)) break;
  }
  return { blocks, next };
}

/** Key of the block that holds `offset`: the last one that starts at it or before. */
function findBlock({ blocks }: Environment, partition: number, offset: number): Uint8Array {
  const range = { start: keyFrom(partition, offset + 1), end: keyFrom(partition, 0) };
  for (const key of blocks.getKeys({ ...range, reverse: true, limit: 1 })) return key;
  return keyFrom(partition, offset);
}
