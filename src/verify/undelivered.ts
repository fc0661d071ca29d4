/** What is in the buffer and not delivered yet: finding it, and waiting for it. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BufferInspector,
  OffsetOutOfRangeError,
  type PartitionView,
  type TopicView,
} from '../buffer/buffer.ts';

import type { Range } from './ranges.ts';
import { progressOf } from './scope.ts';

const firstPollMs = 50;
const longestPollMs = 500;
const readBytes = 64 * 1024;

/**
 * Waits until everything that is in the buffer now is delivered, at most `waitMs`.
 * @returns whether it is
 */
export async function waitForDelivery(inspector: BufferInspector, waitMs: number): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  const atStart = await inspector.view();
  const targets = new Map(atStart.partitions.map(({ partition, end }) => [partition, end]));
  let view: TopicView = atStart;
  for (let pollMs = firstPollMs; ; pollMs = Math.min(longestPollMs, pollMs * 2)) {
    for (const partition of view.partitions) {
      const target = targets.get(partition.partition);
      if (target === undefined) continue;
      const { committed } = progressOf({ topic: inspector.topic, topicId: view.topicId }, partition);
      if (await isDelivered(inspector, partition, { committed, target })) targets.delete(partition.partition);
    }
    if (targets.size === 0) return true;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return false;
    await sleep(Math.min(pollMs, leftMs));
    view = await inspector.view();
  }
}

async function isDelivered(
  inspector: BufferInspector,
  view: PartitionView,
  { committed, target }: { committed: number; target: number },
): Promise<boolean> {
  if (committed >= target) return true;
  // Behind the last record of a transaction there is a marker, which nobody delivers and nobody commits.
  return (
    !inspector.isDense && (await findFirst(inspector, view, { start: committed, end: target })) === undefined
  );
}

/** The oldest record that is not delivered. */
export interface OldestRecord {
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
}

/** Finds the oldest record of a range that the buffer still holds; undefined when there is none. */
export async function findFirst(
  inspector: BufferInspector,
  view: PartitionView,
  { start, end }: Range,
): Promise<OldestRecord | undefined> {
  let position = Math.max(start, view.start);
  while (position < end) {
    try {
      const { blocks, next } = await inspector.read(view.partition, position, { maxBytes: readBytes });
      const [block] = blocks;
      if (block !== undefined) {
        const offset = block.offsets[0] as number;
        return offset < end ? { offset, receivedAt: block.receivedAt[0] as number } : undefined;
      }
      if (next === position) return undefined;
      position = next;
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError) || error.start <= position) throw error;
      position = error.start;
    }
  }
  return undefined;
}
