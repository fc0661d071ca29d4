/** Looks at an embedded log: by snapshots of LMDB, which hold up neither readers nor writers. */
import {
  type BufferInspector,
  BufferUnavailableError,
  OffsetOutOfRangeError,
  type PartitionView,
  type ReadResult,
  type TopicView,
} from '../buffer.ts';
import { decodeBlock } from './block.ts';
import { decodeKey, keyFrom, readBlocks } from './log-blocks.ts';
import {
  type EmbeddedLogOptions,
  type OpenLog,
  openExistingLog,
  readCommit,
  readPartition,
} from './open-log.ts';

/** What an inspector is opened with. */
interface EmbeddedInspectorOptions extends Pick<EmbeddedLogOptions, 'dir' | 'topic' | 'maxBytes'> {
  /** Consumer group whose commits are looked at. */
  readonly group: string;
}

/**
 * Opens an inspector.
 * @throws OperatorError when there is no log, or it cannot be opened
 */
export async function openEmbeddedInspector(options: EmbeddedInspectorOptions): Promise<BufferInspector> {
  return new EmbeddedInspector(await openExistingLog(options), options);
}

class EmbeddedInspector implements BufferInspector {
  readonly topic: string;
  readonly isDense = true;
  readonly #open: OpenLog;
  readonly #group: string;
  #isClosed = false;

  constructor(open: OpenLog, { topic, group }: EmbeddedInspectorOptions) {
    this.topic = topic;
    this.#open = open;
    this.#group = group;
  }

  async view(): Promise<TopicView> {
    const { environment, identity } = this.#use();
    const partitions = Array.from({ length: identity.partitions }, (_, partition): PartitionView => {
      const commit = readCommit(environment, this.#group, partition);
      return { partition, ...readPartition(environment, partition), commit };
    });
    return { topicId: identity.topicId, partitions };
  }

  async read(partition: number, from: number, { maxBytes }: { maxBytes: number }): Promise<ReadResult> {
    const { environment } = this.#use();
    const { topic } = this;
    const { start, end } = readPartition(environment, partition);
    if (from < start || from > end) throw new OffsetOutOfRangeError(topic, partition, { from, start, end });
    if (from === end) return { blocks: [], next: from };
    return readBlocks(environment, { topic, partition, from }, maxBytes);
  }

  /** Walks the keys alone: each says how new the newest record of its block is. */
  async offsetAt(partition: number, timeMs: number): Promise<number> {
    const { environment } = this.#use();
    const { end } = readPartition(environment, partition);
    const range = { start: keyFrom(partition, 0), end: keyFrom(partition + 1, 0) };
    for (const key of environment.blocks.getKeys(range)) {
      const { base, newestMs } = decodeKey(key);
      if (newestMs < timeMs) continue;
      const value = environment.blocks.get(key);
      if (value === undefined) return base;
      const block = decodeBlock(value, { base, skip: 0, where: `${this.topic}/${partition}` });
      for (let i = 0; i < block.count; i++) {
        if ((block.receivedAt[i] as number) >= timeMs) return block.offsets[i] as number;
      }
    }
    return end;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#open.environment.release();
  }

  /** Makes what is read next current. */
  #use(): OpenLog {
    if (this.#isClosed) throw new BufferUnavailableError('The inspector of the embedded log is closed.');
    this.#open.environment.refresh();
    return this.#open;
  }
}
