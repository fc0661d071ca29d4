/** Batches that wait to be sent, and which of them is next. */
import { type BatchLimits, OpenBatch } from './open-batch.ts';

const keptBatches = 8;

/** A batch and where it goes. */
export interface RoutedBatch {
  readonly partition: number;
  readonly batch: OpenBatch;
}

/**
 * Queues of batches, in each the oldest first; the last one grows. Events without an id share one queue for all
 * partitions, and those with an id have one for each partition.
 */
export class BatchQueues {
  readonly #limits: BatchLimits;
  readonly #plain: OpenBatch[] = [];
  /** By partition. */
  readonly #keyed: OpenBatch[][] = [];
  /** Batches in `#keyed`. */
  #keyedCount = 0;
  /** Events with an id that came while the number of partitions was not known. */
  readonly #unplaced: OpenBatch[] = [];
  /** Batches begun so far. */
  #opened = 0;
  /** Batches taken so far. */
  #taken = 0;
  #nextPartition = 0;
  /** Batches with an append in flight, by partition: some writers leave them open for a while. */
  readonly #inFlight: (OpenBatch | undefined)[] = [];
  #lastTaken = 0;
  /** Partitions whose last batch was one of `#keyed`. */
  readonly #lastWasKeyed = new Set<number>();
  /** Batches to use again. */
  readonly #spare: OpenBatch[] = [];

  constructor(limits: BatchLimits) {
    this.#limits = limits;
  }

  /** Batches that wait. */
  get length(): number {
    return this.#opened - this.#taken;
  }

  /** Events that wait, but not for a partition that is busy. */
  countSendable(busy: ReadonlySet<number>): number {
    let events = countEvents(this.#plain);
    if (this.#keyedCount === 0) return events;
    this.#keyed.forEach((queue, partition) => {
      if (!busy.has(partition)) events += countEvents(queue);
    });
    return events;
  }

  /** Whether a batch that nothing can join waits, but not for a partition that is busy. */
  hasFull(busy: ReadonlySet<number>): boolean {
    // Only the last of a queue grows.
    if (this.#plain.length > 1) return true;
    if (this.#keyedCount <= 1) return false;
    return this.#keyed.some((queue, partition) => queue.length > 1 && !busy.has(partition));
  }

  /** The growing batch for any partition, with room for this many bytes. */
  growing(bytes: number): OpenBatch {
    return this.#lastWithRoom(this.#plain, this.#lastTaken, bytes) ?? this.#open(this.#plain);
  }

  /** The growing batch for `partition`; undefined: for one that is not known yet. */
  growingKeyed(partition: number | undefined, bytes: number): OpenBatch {
    let queue = this.#unplaced;
    if (partition !== undefined) {
      this.#keyed[partition] ??= [];
      queue = this.#keyed[partition];
    }
    const last = this.#lastWithRoom(queue, partition, bytes);
    if (last !== undefined) return last;
    if (partition !== undefined) this.#keyedCount++;
    return this.#open(queue);
  }

  /** Takes the next batch for a partition that is not busy; undefined when there is none. */
  take(partitions: number, busy: ReadonlySet<number>): RoutedBatch | undefined {
    const next = this.#takePlain(partitions, busy) ?? this.#takeKeyed(partitions, busy);
    if (next !== undefined) {
      this.#inFlight[next.partition] = next.batch;
      this.#lastTaken = next.partition;
    }
    return next;
  }

  /** The append to a partition has settled: nothing can join its batch any more. */
  settled(partition: number): void {
    this.#inFlight[partition] = undefined;
  }

  /** Takes a batch of events that came while the number of partitions was not known. */
  takeUnplaced(): OpenBatch | undefined {
    return this.#shift(this.#unplaced);
  }

  /** Takes the oldest batch of all, whatever its partition. */
  takeOldest(): OpenBatch | undefined {
    let oldest = this.#plain;
    const consider = (queue: OpenBatch[]): void => {
      const number = queue[0]?.number ?? Number.POSITIVE_INFINITY;
      if (number < (oldest[0]?.number ?? Number.POSITIVE_INFINITY)) oldest = queue;
    };
    consider(this.#unplaced);
    if (this.#keyedCount > 0) this.#keyed.forEach(consider);
    if (oldest.length > 0 && oldest !== this.#plain && oldest !== this.#unplaced) this.#keyedCount--;
    return this.#shift(oldest);
  }

  /** Takes a batch back whose waiters were told, to use it again. */
  recycle(batch: OpenBatch): void {
    if (this.#spare.length >= keptBatches) return;
    batch.clear();
    this.#spare.push(batch);
  }

  /** The end of a queue that goes to this partition: its last batch, else the one in flight if that is still open. */
  #lastWithRoom(queue: OpenBatch[], partition: number | undefined, bytes: number): OpenBatch | undefined {
    let last = queue.at(-1);
    if (last === undefined && partition !== undefined) {
      const inFlight = this.#inFlight[partition];
      if (inFlight?.events.isOpen) last = inFlight;
    }
    return last?.hasRoom(bytes, this.#limits) ? last : undefined;
  }

  #open(queue: OpenBatch[]): OpenBatch {
    const fresh = this.#spare.pop() ?? new OpenBatch();
    fresh.number = this.#opened++;
    queue.push(fresh);
    return fresh;
  }

  /** For the partitions in turn; not for those that a batch of their own waits for. */
  #takePlain(partitions: number, busy: ReadonlySet<number>): RoutedBatch | undefined {
    if (this.#plain.length === 0) return undefined;
    for (let tried = 0; tried < partitions; tried++) {
      const partition = (this.#nextPartition + tried) % partitions;
      if (busy.has(partition) || (this.#keyedCount > 0 && this.#hasKeyed(partition))) continue;
      this.#nextPartition = (partition + 1) % partitions;
      this.#lastWasKeyed.delete(partition);
      return { partition, batch: this.#shift(this.#plain) as OpenBatch };
    }
    return undefined;
  }

  /** A partition that both kinds wait for gets them by turns, so that neither starves the other. */
  #takeKeyed(partitions: number, busy: ReadonlySet<number>): RoutedBatch | undefined {
    if (this.#keyedCount === 0) return undefined;
    for (let partition = 0; partition < partitions; partition++) {
      if (busy.has(partition) || !this.#hasKeyed(partition)) continue;
      if (this.#plain.length > 0 && this.#lastWasKeyed.delete(partition)) {
        return { partition, batch: this.#shift(this.#plain) as OpenBatch };
      }
      this.#lastWasKeyed.add(partition);
      this.#keyedCount--;
      return { partition, batch: this.#shift(this.#keyed[partition] as OpenBatch[]) as OpenBatch };
    }
    return undefined;
  }

  #shift(queue: OpenBatch[]): OpenBatch | undefined {
    if (queue.length > 0) this.#taken++;
    return queue.shift();
  }

  #hasKeyed(partition: number): boolean {
    return (this.#keyed[partition]?.length ?? 0) > 0;
  }
}

function countEvents(queue: readonly OpenBatch[]): number {
  let events = 0;
  for (const batch of queue) events += batch.events.count;
  return events;
}
