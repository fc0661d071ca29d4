/** What was sent and what became of it, as the client knows it. */
import { createWriteStream, type WriteStream } from 'node:fs';

/** An event that the collector acknowledged. */
export interface Acknowledged {
  /** Serial number, property `n` of the event. */
  readonly n: number;
  readonly partition: number;
  readonly offset: number;
}

/** Keeps the books of one topic. */
export class Ledger {
  readonly acknowledged: Acknowledged[] = [];
  /** Serials of events that a collector took into its spool: acknowledged, without an offset of the buffer. */
  readonly spooled = new Set<number>();
  /** Serials of events of which the answer says that nothing was stored. */
  readonly refused = new Set<number>();
  /** Serials of events that may be stored or not. */
  readonly unknown = new Set<number>();
  /** Events by what the answer said: `ok`, an error code, or the code of a broken connection. */
  readonly answers = new Map<string, number>();
  /** Milliseconds since the epoch of the last event that was acknowledged. */
  lastAcknowledgedAt = 0;
  /** File of the answers. */
  readonly path: string | undefined;
  #nextSerial = 0;
  readonly #file: WriteStream | undefined;

  /** @param path gets the answers with receipts, one a line, for `millrace verify --receipts` */
  constructor(path?: string) {
    this.path = path;
    this.#file = path === undefined ? undefined : createWriteStream(path);
  }

  /** Events sent. */
  get sent(): number {
    return this.#nextSerial;
  }

  /** Takes serial numbers that were never used. */
  takeSerials(count: number): number[] {
    return Array.from({ length: count }, () => this.#nextSerial++);
  }

  /** An answer with receipts, as text. */
  keepAnswer(text: string): void {
    this.#file?.write(`${text}\n`);
  }

  acknowledge(n: number, partition: number, offset: number): void {
    this.acknowledged.push({ n, partition, offset });
    this.lastAcknowledgedAt = Date.now();
    this.#count('ok', 1);
  }

  acknowledgeSpooled(n: number): void {
    this.spooled.add(n);
    this.lastAcknowledgedAt = Date.now();
    this.#count('spooled', 1);
  }

  refuse(serials: readonly number[], code: string): void {
    for (const n of serials) this.refused.add(n);
    this.#count(code, serials.length);
  }

  doubt(serials: readonly number[], code: string): void {
    for (const n of serials) this.unknown.add(n);
    this.#count(code, serials.length);
  }

  /** Waits until the answers are in the file. */
  async close(): Promise<void> {
    const file = this.#file;
    if (file === undefined || file.closed) return;
    await new Promise<void>((resolve) => file.end(resolve));
  }

  #count(code: string, events: number): void {
    this.answers.set(code, (this.answers.get(code) ?? 0) + events);
  }
}
