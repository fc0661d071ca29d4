/** A batch that grows, and who waits for what of it. */
import { EventBatch } from '../buffer/event-batch.ts';
import type { RecordHeaders } from '../buffer/record-block.ts';

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
    if (headers !== undefined) this.#headerBytes += headersSize(headers);
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

/** Bytes that headers take in a record, about. */
export function headersSize(headers: RecordHeaders): number {
  let size = 1;
  for (const [key, value] of headers) size += 4 + Buffer.byteLength(key) + Buffer.byteLength(value);
  return size;
}
