/** A batch that grows, and who waits for what of it. */
import { EventBatch, headersBytes, type RecordHeaders } from '../buffer/records.ts';

/** Events that a waiter added one after another, and that are next to each other in one batch too. */
export interface Part {
  /** Which of the events that the waiter added is the first, from 0. */
  readonly first: number;
  readonly count: number;
}

/** Who waits for events to be stored: a request. Of each event it hears exactly once. */
export interface Waiter {
  /** Events added so far; the batcher counts here. */
  added: number;
  /** A part of its events is durable in `partition`, from `offset` on. */
  stored(partition: number, offset: number, part: Part): void;
  /** A part of its events is durable on this machine, in the spool of this id from `offset` on. */
  spooled(spoolId: string, offset: number, part: Part): void;
  /** A part of its events could not be stored. */
  failed(error: unknown, part: Part): void;
}

/** What bounds one append. */
export interface BatchLimits {
  /** Most bytes of values and headers; one event may be larger. Below Kafka's message.max.bytes of 1 MiB. */
  readonly maxBytes: number;
  readonly maxEvents: number;
}

/** Events that will be appended together. Used again after `clear`. */
export class OpenBatch {
  readonly events = new EventBatch();
  /** Place in the order in which batches were begun. */
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
  forEachPart(tell: (waiter: Waiter, part: Part) => void): void {
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

/** This many waiting events do not wait for more: what an append costs is small beside what they cost. */
const enoughEvents = 32;
/** Shortest time over which the rate of events is measured. */
const leastSampleMs = 5;

/**
 * Spaces appends out while events come fast. An append costs about as much as five events, in the collector and again
 * in the broker, so with few events in each it is most of the cost. A lone event never
 * waits, 32 events do not, and the batcher lets no full batch wait.
 */
export class AppendPace {
  readonly #intervalMs: number;
  readonly #sampleMs: number;
  #lastAppendAt = Number.NEGATIVE_INFINITY;
  /** Events appended in this sample so far, less those that waited when it began. */
  #events = 0;
  #sampleFrom = 0;
  #isFast = false;

  /** @param intervalMs shortest time between appends while more than two events come in it; 0: none */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#sampleMs = Math.max(leastSampleMs, intervalMs);
  }

  /** How long the `waiting` events wait from `now` on, in ms; 0 or less: not at all. */
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

  /** This many events are appended now. */
  appended(now: number, events: number): void {
    this.#lastAppendAt = now;
    this.#events += events;
  }
}
