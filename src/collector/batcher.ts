/**
 * Gathers the events of concurrent requests into batches: while the append of one batch is in flight, the
 * next one grows. Latency is low at low load and cost is low at high load, without a fixed wait.
 */
import { BufferUnavailableError, type BufferWriter } from '../buffer/buffer.ts';
import { EventBatch } from '../buffer/event-batch.ts';
import type { RecordHeaders } from '../buffer/record-block.ts';

/** Events of one request that are next to each other in one batch. */
export interface Part {
  /** Which of the events that the waiter added is the first, from 0. */
  readonly first: number;
  readonly count: number;
}

/** Who waits for events to be stored: a request. */
export interface Waiter {
  /** Events added so far; the batcher counts here. */
  added: number;
  /** A part of its events is durable in `partition`, from `offset` on. */
  stored(partition: number, offset: number, part: Part): void;
  /** A part of its events could not be stored. */
  failed(error: unknown, part: Part): void;
}

/** Told about each append. */
export interface AppendObserver {
  appended(events: number, milliseconds: number): void;
  appendFailed(events: number, error: unknown): void;
}

/** What bounds one append. */
export interface BatchLimits {
  /** Most bytes of values; one event may be larger. Below Kafka's message.max.bytes of 1 MiB. */
  readonly maxBytes: number;
  readonly maxEvents: number;
}

/** A batch and who waits for which part of it, column by column: a request costs no object here. */
interface OpenBatch {
  readonly batch: EventBatch;
  readonly waiters: Waiter[];
  /** First event of `waiters[i]` here, and how many; they follow one another. */
  readonly firsts: number[];
  readonly counts: number[];
}

const keptBatches = 8;

/** Fills batches, sends each to an idle partition, tells the waiters. */
export class Batcher {
  readonly #writer: BufferWriter;
  readonly #limits: BatchLimits;
  readonly #observer: AppendObserver;
  /** Batches to send, oldest first; the last one grows. */
  readonly #open: OpenBatch[] = [];
  /** Batches to use again. */
  readonly #spare: OpenBatch[] = [];
  readonly #busy = new Set<number>();
  readonly #drained: (() => void)[] = [];
  #nextPartition = 0;
  #isScheduled = false;
  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.#send();
  };

  constructor(writer: BufferWriter, limits: BatchLimits, observer: AppendObserver) {
    this.#writer = writer;
    this.#limits = limits;
    this.#observer = observer;
  }

  /** Copies one event into the growing batch. `waiter` hears of it exactly once, never during this call. */
  add(value: Uint8Array, receivedAt: number, waiter: Waiter, headers?: RecordHeaders): void {
    const { batch, waiters, firsts, counts } = this.#growing(value.length);
    batch.add(value, receivedAt, headers);
    const last = waiters.length - 1;
    if (waiters[last] === waiter) counts[last] = (counts[last] ?? 0) + 1;
    else {
      waiters.push(waiter);
      firsts.push(waiter.added);
      counts.push(1);
    }
    waiter.added++;
    if (this.#isScheduled) return;
    // After this turn of the event loop has read every request that has arrived.
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  /** Whether nothing waits and nothing is in flight. */
  get isEmpty(): boolean {
    return this.#open.length === 0 && this.#busy.size === 0;
  }

  /** Resolves once every event added so far is stored or failed. */
  async drain(): Promise<void> {
    if (this.isEmpty) return;
    await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  #growing(bytes: number): OpenBatch {
    const last = this.#open.at(-1);
    if (last !== undefined) {
      const { byteLength, count } = last.batch;
      if (byteLength + bytes <= this.#limits.maxBytes && count < this.#limits.maxEvents) return last;
    }
    const fresh = this.#spare.pop() ?? { batch: new EventBatch(), waiters: [], firsts: [], counts: [] };
    this.#open.push(fresh);
    return fresh;
  }

  #send(): void {
    while (this.#open.length > 0) {
      const partition = this.#idlePartition();
      if (partition === undefined) return;
      const open = this.#open.shift();
      if (open !== undefined) void this.#append(partition, open);
    }
  }

  /** The next partition in turn without an append in flight. */
  #idlePartition(): number | undefined {
    const { partitions } = this.#writer;
    if (partitions === 0) return this.#busy.size === 0 ? 0 : undefined;
    for (let tried = 0; tried < partitions; tried++) {
      const partition = (this.#nextPartition + tried) % partitions;
      if (this.#busy.has(partition)) continue;
      this.#nextPartition = (partition + 1) % partitions;
      return partition;
    }
    return undefined;
  }

  async #append(partition: number, open: OpenBatch): Promise<void> {
    const startedAt = performance.now();
    const events = open.batch.count;
    this.#busy.add(partition);
    let settle: (waiter: Waiter, part: Part) => void;
    try {
      if (this.#writer.partitions === 0) throw new BufferUnavailableError('the buffer was not reached yet');
      let offset = await this.#writer.append(partition, open.batch);
      this.#observer.appended(events, performance.now() - startedAt);
      settle = (waiter, part) => {
        waiter.stored(partition, offset, part);
        offset += part.count;
      };
    } catch (error) {
      this.#observer.appendFailed(events, error);
      settle = (waiter, part) => waiter.failed(error, part);
    }
    this.#busy.delete(partition);
    // The next append travels while the answers are written.
    this.#send();
    for (let i = 0; i < open.waiters.length; i++) {
      settle(open.waiters[i] as Waiter, { first: open.firsts[i] as number, count: open.counts[i] as number });
    }
    this.#recycle(open);
    if (this.isEmpty) for (const resolve of this.#drained.splice(0)) resolve();
  }

  #recycle(open: OpenBatch): void {
    if (this.#spare.length >= keptBatches) return;
    open.batch.clear();
    open.waiters.length = 0;
    open.firsts.length = 0;
    open.counts.length = 0;
    this.#spare.push(open);
  }
}
