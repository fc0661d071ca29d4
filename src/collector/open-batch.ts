/**
 * A growing batch, and which request waits for which of its events.
 *
 * When events that wait are appended: at once, or a moment later and together with those that come meanwhile.
 */
import { EventBatch, headersBytes, type RecordHeaders } from '../buffer/records.ts';

/** A run of events of one waiter: added one after another, and adjacent in one batch. */
export interface EventRun {
  /** Position of the first one among the events that the waiter added, from 0. */
  readonly first: number;
  readonly count: number;
}

/** A request that waits until its events are stored. It is told about each event exactly once. */
export interface Waiter {
  /** Events added so far; the batcher counts here. */
  added: number;
  /** A part of its events is durable in `partition`, from `offset` on. */
  stored(partition: number, offset: number, run: EventRun): void;
  /** A part of its events is durable on this machine, in the spool of this id from `offset` on. */
  spooled(spoolId: string, offset: number, run: EventRun): void;
  /** A part of its events could not be stored. */
  failed(error: unknown, run: EventRun): void;
}

/** What bounds one append. */
export interface BatchLimits {
  /** Maximum bytes of values and headers, below Kafka's message.max.bytes of 1 MiB. A single event may be larger. */
  readonly maxBytes: number;
  readonly maxEvents: number;
}

/** Events that will be appended together. Used again after `clear`. */
export class OpenBatch {
  readonly events = new EventBatch();
  /** Position of this batch in the order in which batches were begun. */
  number = 0;
  #headerBytes = 0;
  // Column by column: a request costs no object here.
  readonly #waiters: Waiter[] = [];
  readonly #firsts: number[] = [];
  readonly #counts: number[] = [];

  /** Whether an event of this many bytes, headers included, still fits. */
  hasRoom(bytes: number, { maxBytes, maxEvents }: BatchLimits): boolean {
    const { byteLength, count } = this.events;
    return byteLength + this.#headerBytes + bytes <= maxBytes && count < maxEvents;
  }

  /** Copies one event in. */
  add(value: Uint8Array, receivedAt: number, waiter: Waiter, headers?: RecordHeaders): void {
    this.events.add(value, receivedAt, headers);
    if (headers !== undefined) this.#headerBytes += headersBytes(headers);
    const index = waiter.added++;
    const last = this.#waiters.length - 1;
    // Events of this waiter that went into other batches meanwhile end a part.
    if (
      this.#waiters[last] === waiter &&
      (this.#firsts[last] as number) + (this.#counts[last] as number) === index
    ) {
      (this.#counts[last] as number)++;
      return;
    }
    this.#waiters.push(waiter);
    this.#firsts.push(index);
    this.#counts.push(1);
  }

  /** Tells each waiter of each of its parts, in the order of the batch. */
  forEachRun(tell: (waiter: Waiter, run: EventRun) => void): void {
    for (let i = 0; i < this.#waiters.length; i++) {
      const part = { first: this.#firsts[i] as number, count: this.#counts[i] as number };
      tell(this.#waiters[i] as Waiter, part);
    }
  }

  /** Empties the batch. */
  clear(): void {
    this.events.clear();
    this.#headerBytes = 0;
    this.#waiters.length = 0;
    this.#firsts.length = 0;
    this.#counts.length = 0;
  }
}

/** This many waiting events do not wait for more: the cost of an append is small beside theirs. */
const enoughEvents = 32;
/** Shortest time over which the rate of events is measured. */
const leastSampleMs = 5;

/**
 * Spaces out appends while events arrive fast. An append costs about as much as five events in the collector, and the
 * same again in the broker. With few events in each append, appends are most of the cost. A lone event never waits, and
 * neither do 32 events. The batcher does not hold back a full batch.
 */
export class AppendPace {
  readonly #intervalMs: number;
  readonly #sampleMs: number;
  #lastAppendAt = Number.NEGATIVE_INFINITY;
  /** Events appended in this sample so far, minus those that already waited when it began. */
  #events = 0;
  #sampleFrom = 0;
  #isFast = false;

  /** @param intervalMs shortest time between appends while more than two events arrive within it; 0: no wait */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#sampleMs = Math.max(leastSampleMs, intervalMs);
  }

  /** How long the `waiting` events must still wait at `now`, in ms; 0 or less: send them at once. */
  waitMs(now: number, waiting: number): number {
    if (this.#intervalMs === 0 || waiting >= enoughEvents) return 0;
    const sample = now - this.#sampleFrom;
    if (sample > this.#sampleMs) {
      this.#isFast = (this.#events + waiting) * this.#intervalMs > 2 * sample;
      this.#sampleFrom = now;
      this.#events = -waiting;
    }
    return this.#isFast ? this.#intervalMs - (now - this.#lastAppendAt) : 0;
  }

  /** Notes that `events` events are appended at `now`. */
  appended(now: number, events: number): void {
    this.#lastAppendAt = now;
    this.#events += events;
  }
}
