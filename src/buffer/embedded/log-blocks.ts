/**
 * Keys of the blocks: `[partition, base offset | count, newest record, stored bytes]`, big-endian, so that
 * LMDB's byte order is the order of partitions and offsets.
 *
 * Only partition and base offset identify a block. What follows lets retention and the search for an offset
 * walk the keys alone: values live on pages of their own, and a walk over them would read the whole log from
 * disk.
 *
 * Reading stored blocks by offset: what the owner of a partition and the inspector share.
 */
import { assertInvariant } from '../../errors.ts';
import type { ReadResult } from '../buffer.ts';
import type { RecordBlock } from '../records.ts';
import { decodeBlock } from './block.ts';
import type { Environment } from './environment.ts';

/** What the key of a block says. */
export interface BlockKey {
  readonly partition: number;
  /** Offset of the first record. */
  readonly base: number;
  /** Number of records. */
  readonly count: number;
  /** Receive time of the newest record, milliseconds since the epoch. */
  readonly newestMs: number;
  /** Bytes of disk that the block counts for. */
  readonly storedBytes: number;
}

const keyBytes = 28;
const identityBytes = 12;
const wordRange = 2 ** 32;

const pageBytes = 4096;
const pageHeaderBytes = 16;
/** LMDB keeps a value within the tree while the entry takes at most half a page. */
const maxInlineBytes = 2000;
const nodeBytes = 10;

/**
 * Bytes of disk that a block counts for. A large one has whole pages of its own; small ones share pages,
 * which are full when blocks arrive in order and half empty at worst.
 */
export function storedBytesOf(valueBytes: number): number {
  if (valueBytes + keyBytes > maxInlineBytes) {
    return Math.ceil((valueBytes + pageHeaderBytes) / pageBytes) * pageBytes + keyBytes + nodeBytes;
  }
  return Math.ceil(1.5 * (valueBytes + keyBytes + nodeBytes));
}

/** Encodes a key. All numbers are integers >= 0, `count` and `storedBytes` below 2^32. */
export function encodeKey(block: BlockKey): Buffer {
  const key = Buffer.allocUnsafe(keyBytes);
  writeIdentity(key, block.partition, block.base);
  key.writeUInt32BE(block.count, 12);
  write64(key, Math.max(0, block.newestMs), 16);
  key.writeUInt32BE(block.storedBytes, 24);
  return key;
}

/** Reads a key that {@link encodeKey} wrote. */
export function decodeKey(key: Uint8Array): BlockKey {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return {
    partition: view.getUint32(0),
    base: read64(view, 4),
    count: view.getUint32(12),
    newestMs: read64(view, 16),
    storedBytes: view.getUint32(24),
  };
}

/** Lower bound of all blocks of the partition with a base offset >= `offset`. */
export function keyFrom(partition: number, offset: number): Buffer {
  const key = Buffer.allocUnsafe(identityBytes);
  writeIdentity(key, partition, offset);
  return key;
}

function writeIdentity(key: Buffer, partition: number, offset: number): void {
  key.writeUInt32BE(partition, 0);
  write64(key, offset, 4);
}

function write64(key: Buffer, value: number, at: number): void {
  key.writeUInt32BE(Math.floor(value / wordRange), at);
  key.writeUInt32BE(value % wordRange, at + 4);
}

function read64(view: DataView, at: number): number {
  return view.getUint32(at) * wordRange + view.getUint32(at + 4);
}

/** One read copies and checks at most about this much: it runs on the event loop, a few milliseconds. */
const maxReadBytes = 4 * 1024 * 1024;

/** Where to read. */
interface Position {
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
