import type { DependencyState } from '../buffer/buffer.ts';
import type { EventBatch } from '../buffer/event-batch.ts';

/** Where events wait on this machine while the buffer is away. */
export interface Spool {
  /** Whether events go here now: the buffer is away, or earlier ones still wait here. Cheap: called per batch. */
  isOpen(): boolean;
  /** Stores the batch durably; the offset of its first record within the spool. @throws BufferUnavailableError when it is full or the disk is */
  append(batch: EventBatch): Promise<number>;
  /** Name of this spool, unique: receipts carry it. */
  readonly id: string;
  state(): DependencyState;
}
