import type { DependencyState } from '../buffer/buffer.ts';
import type { EventBatch } from '../buffer/event-batch.ts';

/** Where events wait on this machine while the buffer is away. */
export interface Spool {
  /** Name of this spool, unique among all that there are: receipts carry it. */
  readonly id: string;
  /**
   * Whether events go here now: the buffer is away, or earlier ones still wait here. Cheap: called for each
   * batch.
   */
  isOpen(): boolean;
  /**
   * For how many milliseconds new events should wait before they are appended here, because little is left and is
   * on its way to the buffer: once it has arrived, they go there, too. Zero at any other time. Cheap, as `isOpen`.
   */
  holdMs(): number;
  /**
   * Stores all events of the batch durably, consecutively and in order; gives the offset of the first within
   * the spool. One append is in flight at most. The batch must not be changed until the promise settles.
   * @throws BufferUnavailableError when it is full or the disk is; nothing was stored then
   */
  append(batch: EventBatch): Promise<number>;
  /** Whether an append would be tried now. Cheap: called for each request. */
  state(): DependencyState;
}
