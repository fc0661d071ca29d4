/**
 * Gathers the events of concurrent requests into batches: while the append of one batch is in flight, the
 * next one grows, and while events come fast appends keep a distance. Latency is low at low load and cost is low at
 * high load, without a fixed wait.
 */

import {
  BufferUnavailableError,
  type BufferWriter,
  OutcomeUnknownError,
  RecordsRefusedError,
} from '../buffer/buffer.ts';
import { headersBytes, idAmong, partitionOf, type RecordHeaders } from '../buffer/records.ts';
import { escalateInvariant } from '../errors.ts';
import { BatchQueues, type Placed } from './batch-queues.ts';
import { AppendPace, type BatchLimits, type OpenBatch, type Part, type Waiter } from './open-batch.ts';
import type { Spool } from './spool.ts';

/**
 * After an append that failed so late its partition rests for a moment: that the buffer is away is often found out
 * a little later, and the next batch would take as long to fail.
 */
const lateFailureMs = 400;
const restMs = 1_000;
/** How often it is looked whether the spool is drained, while events wait for that. */
const holdPollMs = 2;

/** Told about each append. */
export interface AppendObserver {
  /** The buffer has stored events. */
  appended(events: number, milliseconds: number): void;
  /** Events were not stored, neither in the buffer nor in the spool. */
  appendFailed(events: number, error: unknown): void;
  /** The buffer did not take events; they go to the spool instead. */
  diverted?(events: number, error: unknown): void;
}

/** Who is told, where events wait while the buffer is away (without a spool they fail), and how often they are sent. */
interface BatcherOptions {
  readonly observer: AppendObserver;
  readonly spool?: Spool;
  /** Shortest time between appends while events come fast; 0, the default: none. */
  readonly appendIntervalMs?: number;
}

/**
 * Fills batches, sends each to a partition without an append in flight, tells the waiters. Events with an id go
 * to the partition of their id, others to any. While the spool is open everything goes there instead.
 */
export class Batcher {
  readonly #writer: BufferWriter;
  readonly #observer: AppendObserver;
  readonly #spool: Spool | undefined;
  readonly #queues: BatchQueues;
  readonly #pace: AppendPace;
  /** Runs while events wait for more of them. */
  #timer: NodeJS.Timeout | undefined;
  /** Timers count whole milliseconds of their own clock: this one may be early, and another would take as long again. */
  readonly #sendDue = (): void => {
    this.#timer = undefined;
    // They may all have gone to the spool meanwhile, and it may be closed.
    if (this.#queues.length === 0) return;
    this.#send({ isDue: true });
  };
  /** Partitions with an append in flight. */
  readonly #busy = new Set<number>();
  /** Batches that the buffer did not take, on their way to the spool. */
  readonly #diverted: OpenBatch[] = [];
  #isSpooling = false;
  /** Whether it is looked soon whether the spool is drained. */
  #isHolding = false;
  readonly #drained: (() => void)[] = [];
  #isScheduled = false;
  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.#send();
  };

  constructor(writer: BufferWriter, limits: BatchLimits, options: BatcherOptions) {
    const { observer, spool, appendIntervalMs = 0 } = options;
    this.#writer = writer;
    this.#observer = observer;
    this.#spool = spool;
    this.#queues = new BatchQueues(limits);
    this.#pace = new AppendPace(appendIntervalMs);
  }

  /**
   * Copies one event into a growing batch. `waiter` hears of it exactly once, never during this call. An id
   * among the headers decides the partition.
   */
  add(value: Uint8Array, receivedAt: number, waiter: Waiter, headers?: RecordHeaders): void {
    const batch =
      headers === undefined ? this.#queues.growing(value.length) : this.#growingFor(headers, value.length);
    batch.add(value, receivedAt, waiter, headers);
    if (this.#isScheduled) return;
    // After this turn of the event loop has read every request that has arrived.
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  /** Whether nothing waits and nothing is in flight. */
  get isEmpty(): boolean {
    return (
      this.#busy.size === 0 && !this.#isSpooling && this.#diverted.length === 0 && this.#queues.length === 0
    );
  }

  /** Resolves once every event added so far is stored or failed. */
  async drain(): Promise<void> {
    if (this.isEmpty) return;
    await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  #growingFor(headers: RecordHeaders, valueBytes: number): OpenBatch {
    const bytes = valueBytes + headersBytes(headers);
    const id = idAmong(headers);
    if (id === undefined) return this.#queues.growing(bytes);
    const { partitions } = this.#writer;
    return this.#queues.growingKeyed(partitions === 0 ? undefined : partitionOf(id, partitions), bytes);
  }

  #send({ isDue } = { isDue: false }): void {
    const { partitions } = this.#writer;
    if (this.#spool === undefined) this.#failUnsendable(partitions);
    else {
      if (this.#waitsForDrain(this.#spool)) return;
      const takesAll = partitions === 0 || this.#isBoundForSpool || this.#spool.isOpen();
      this.#sendToSpool(this.#spool, takesAll);
      if (takesAll) return;
    }
    if (this.#queues.length === 0 || (!isDue && this.#waitsForMore())) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (;;) {
      const next = this.#queues.take(partitions, this.#busy);
      if (next === undefined) return;
      this.#pace.appended(performance.now(), next.batch.events.count);
      void this.#append(next);
    }
  }

  /** Whether it is not yet time for the next append; then it is sent when it is. */
  #waitsForMore(): boolean {
    if (this.#queues.hasFull(this.#busy)) return false;
    const waitMs = this.#pace.waitMs(performance.now(), this.#queues.countSendable(this.#busy));
    if (waitMs <= 0) return false;
    this.#timer ??= setTimeout(this.#sendDue, Math.ceil(waitMs));
    return true;
  }

  /**
   * While the buffer is away nobody waits in line to find that out: each batch would take its own time to fail.
   * Without a number of partitions there is no place for anything, and none for events with an id that came then.
   */
  #failUnsendable(partitions: number): void {
    if (this.#queues.length === 0) return;
    const state = this.#writer.state();
    const detail = partitions === 0 || state.ok ? 'the buffer has not been reached yet' : state.detail;
    for (;;) {
      const takesAll = partitions === 0 || !state.ok;
      const batch = takesAll ? this.#queues.takeOldest() : this.#queues.takeUnplaced();
      if (batch === undefined) return;
      this.#fail(batch, new BufferUnavailableError(detail));
    }
  }

  /** Whether earlier events are on their way to the spool: what came later must not overtake them. */
  get #isBoundForSpool(): boolean {
    return this.#isSpooling || this.#diverted.length > 0;
  }

  /** Whether events wait a moment, since the spool is about to be drained: under steady load it never would be. */
  #waitsForDrain(spool: Spool): boolean {
    if (this.#isBoundForSpool || this.#queues.length === 0) return false;
    if (spool.holdMs() <= 0) return false;
    if (this.#isHolding) return true;
    this.#isHolding = true;
    setTimeout(() => {
      this.#isHolding = false;
      this.#send();
    }, holdPollMs);
    return true;
  }

  #sendToSpool(spool: Spool, takesAll: boolean): void {
    if (this.#isSpooling) return;
    let batch = this.#diverted.shift() ?? this.#queues.takeUnplaced();
    if (batch === undefined && takesAll) batch = this.#queues.takeOldest();
    if (batch !== undefined) void this.#appendToSpool(spool, batch);
  }

  async #append({ partition, batch }: Placed): Promise<void> {
    const startedAt = performance.now();
    this.#busy.add(partition);
    let offset: number;
    try {
      offset = await this.#writer.append(partition, batch.events);
    } catch (error) {
      this.#queues.settled(partition);
      if (performance.now() - startedAt > lateFailureMs) this.#rest(partition);
      else this.#busy.delete(partition);
      this.#divertOrFail(batch, error);
      return;
    }
    this.#queues.settled(partition);
    this.#observer.appended(batch.events.count, performance.now() - startedAt);
    this.#busy.delete(partition);
    // The next append travels while the answers are written.
    this.#send();
    this.#settle(batch, (waiter, part) => {
      waiter.stored(partition, offset, part);
      offset += part.count;
    });
  }

  #rest(partition: number): void {
    setTimeout(() => {
      this.#busy.delete(partition);
      this.#send();
      this.#tellDrained();
    }, restMs);
  }

  async #appendToSpool(spool: Spool, batch: OpenBatch): Promise<void> {
    this.#isSpooling = true;
    let offset: number;
    try {
      offset = await spool.append(batch.events);
    } catch (error) {
      this.#isSpooling = false;
      this.#send();
      this.#fail(batch, error);
      return;
    }
    this.#isSpooling = false;
    this.#send();
    this.#settle(batch, (waiter, part) => {
      waiter.spooled(spool.id, offset, part);
      offset += part.count;
    });
  }

  /** Only what the buffer surely does not hold goes to the spool: the rest could be stored twice. */
  #divertOrFail(batch: OpenBatch, error: unknown): void {
    if (this.#spool !== undefined && isSurelyNotStored(error)) {
      this.#diverted.push(batch);
      this.#observer.diverted?.(batch.events.count, error);
      this.#send();
      return;
    }
    this.#send();
    this.#fail(batch, error);
  }

  #fail(batch: OpenBatch, error: unknown): void {
    // The process ends; whoever waits is told before that nobody knows what became of the events.
    escalateInvariant(error);
    this.#observer.appendFailed(batch.events.count, error);
    this.#settle(batch, (waiter, part) => waiter.failed(error, part));
  }

  #settle(batch: OpenBatch, tell: (waiter: Waiter, part: Part) => void): void {
    batch.forEachPart(tell);
    this.#queues.recycle(batch);
    this.#tellDrained();
  }

  #tellDrained(): void {
    if (this.isEmpty) for (const resolve of this.#drained.splice(0)) resolve();
  }
}

/** Whether trying elsewhere is safe and can help. */
function isSurelyNotStored(error: unknown): boolean {
  return (
    error instanceof BufferUnavailableError &&
    !(error instanceof OutcomeUnknownError) &&
    !(error instanceof RecordsRefusedError)
  );
}
