/**
 * Gathers the events of concurrent requests into batches. While the append of one batch is in flight, the next batch
 * grows. While events arrive fast, appends are spaced out. Latency is low at low load and cost is low at high load,
 * without a fixed wait.
 */

import {
  BufferUnavailableError,
  type BufferWriter,
  OutcomeUnknownError,
  RecordsRefusedError,
} from '../buffer/buffer.ts';
import { headersBytes, idAmong, partitionOf, type RecordHeaders } from '../buffer/records.ts';
import { escalateInvariant } from '../errors.ts';
import { BatchQueues, type RoutedBatch } from './batch-queues.ts';
import { AppendPace, type BatchLimits, type EventRun, type OpenBatch, type Waiter } from './open-batch.ts';
import type { Spool } from './spool.ts';

/**
 * An append that takes longer than this to fail makes its partition rest. The writer often notices only a little later
 * that the buffer is unreachable, and meanwhile the next batch would take just as long to fail.
 */
const lateFailureMs = 400;
const restMs = 1_000;
/** Interval for polling whether the spool is drained, while events wait for that. */
const holdPollMs = 2;

/** Told about each append. */
export interface AppendObserver {
  /** The buffer has stored events. */
  appended(events: number, milliseconds: number): void;
  /** Events were not stored, neither in the buffer nor in the spool. */
  appendFailed(events: number, error: unknown): void;
  /** The buffer did not accept events; they go to the spool instead. */
  diverted?(events: number, error: unknown): void;
}

/** Settings of a batcher. Without a spool, events fail while the buffer is unreachable. */
interface BatcherOptions {
  readonly observer: AppendObserver;
  readonly spool?: Spool;
  /** Shortest time between appends while events arrive fast, in ms; 0, the default: no wait. */
  readonly appendIntervalMs?: number;
}

/**
 * Fills batches, sends each one to a partition without an append in flight, and tells the waiters. An event with an
 * id goes to the partition of its id, any other event to any partition. While the spool is open, all events go there.
 */
export class Batcher {
  readonly #writer: BufferWriter;
  readonly #observer: AppendObserver;
  readonly #spool: Spool | undefined;
  readonly #queues: BatchQueues;
  readonly #pace: AppendPace;
  /** Set while events wait for more to arrive. */
  #timer: NodeJS.Timeout | undefined;
  /**
   * Sends without asking the pace again. Timers count in whole milliseconds of their own clock, so this one may fire a
   * little early; the pace would then start a second timer, and the events would wait twice as long.
   */
  readonly #sendDue = (): void => {
    this.#timer = undefined;
    // All events may have gone to the spool meanwhile, and the spool may be closed again.
    if (this.#queues.length === 0) return;
    this.#send({ isDue: true });
  };
  /** Partitions with an append in flight. */
  readonly #busy = new Set<number>();
  /** Batches that the buffer did not accept, on their way to the spool. */
  readonly #diverted: OpenBatch[] = [];
  #isSpooling = false;
  /** Whether a check is scheduled that asks if the spool is drained. */
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
   * Copies one event into a growing batch. `waiter` is told about it exactly once, and never during this call. An id
   * in the headers decides the partition.
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

  /** Whether the next append must wait. If so, a timer sends it when its time comes. */
  #waitsForMore(): boolean {
    if (this.#queues.hasFull(this.#busy)) return false;
    const waitMs = this.#pace.waitMs(performance.now(), this.#queues.countSendable(this.#busy));
    if (waitMs <= 0) return false;
    this.#timer ??= setTimeout(this.#sendDue, Math.ceil(waitMs));
    return true;
  }

  /**
   * Fails waiting events at once while the buffer is unreachable: otherwise each batch would take its own time to fail.
   * Until the number of partitions is known, no event can be placed. Events with an id that arrived before then cannot
   * be placed later either.
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

  /** Whether earlier events are on their way to the spool; later events must not overtake them. */
  get #isBoundForSpool(): boolean {
    return this.#isSpooling || this.#diverted.length > 0;
  }

  /** Whether events wait a moment because the spool is almost drained: under steady load it would never be empty. */
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

  async #append({ partition, batch }: RoutedBatch): Promise<void> {
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
    // The next append is on its way while the answers are written.
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

  /** Only a batch that the buffer certainly does not hold goes to the spool; any other could be stored twice. */
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
    // The process ends here. Before that, the waiters are told that the outcome of their events is unknown.
    escalateInvariant(error);
    this.#observer.appendFailed(batch.events.count, error);
    this.#settle(batch, (waiter, part) => waiter.failed(error, part));
  }

  #settle(batch: OpenBatch, tell: (waiter: Waiter, run: EventRun) => void): void {
    batch.forEachRun(tell);
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
