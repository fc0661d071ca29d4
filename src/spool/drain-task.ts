/** Drains a spool whenever there is something to drain and the buffer is there. */
import type { BufferReader, OwnedPartition } from '../buffer/buffer.ts';
import type { Backlog } from '../buffer/embedded/backlog.ts';
import type { Lease } from '../buffer/embedded/lease.ts';
import { TakenOverError } from '../buffer/embedded/reader.ts';
import { pause } from '../buffer/pause.ts';
import { escalateInvariant, messageOf } from '../errors.ts';
import { drainPartition } from './drain.ts';
import type { DrainContext, DrainTaskObserver } from './send.ts';

/** How often it is looked whether there is something to do. */
const pollMs = 200;
/** A process that drained and died is succeeded after this time. */
const leaseMs = 4_000;
const renewMs = 1_000;
const retryMs = 2_000;
/** What goes on failing in the same way is told again after so long. */
const tellAgainMs = 600_000;

/** What the task drains. */
export interface DrainTaskOptions extends DrainContext {
  readonly backlog: Backlog;
  readonly observer: DrainTaskObserver;
  /** Opens a reader of the spool, of the group that the backlog is of. */
  openReader(): Promise<BufferReader>;
}

/**
 * One in each process that has the spool open; a lease chooses which of them drains, and the reader's
 * generation keeps one that was chosen before, and slept through it, from committing.
 */
export class DrainTask {
  readonly #options: DrainTaskOptions;
  readonly #lease: Lease;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  /** What the log was told last, and when. */
  #told = { message: '', at: 0 };

  constructor(options: DrainTaskOptions) {
    this.#options = options;
    this.#lease = options.backlog.createLease(leaseMs);
    this.#running = this.#run();
  }

  /** Ends after the chunk in flight. What is left is drained by another process, or after the next start. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { backlog, writer } = this.#options;
    while (!signal.aborted) {
      try {
        if (!backlog.isEmpty() && writer.state().ok && (await this.#lease.take())) await this.#drain();
      } catch (error) {
        // What was sent may not be what the plan says: trying again could repeat events, or lose some.
        if (escalateInvariant(error)) return;
        this.#tell(error);
        await pause(retryMs, signal);
      }
      await pause(pollMs, signal);
    }
  }

  /** Says once what is wrong, and again when that changes: it is tried every few seconds. */
  #tell(error: unknown): void {
    const { log, observer } = this.#options;
    const message = messageOf(error);
    const now = performance.now();
    observer.failed(message);
    if (message === this.#told.message && now - this.#told.at < tellAgainMs) return;
    this.#told = { message, at: now };
    log.error({ err: error }, `the spool cannot be drained now: ${message}`);
  }

  /** Drains as long as the lease lasts. */
  async #drain(): Promise<void> {
    const over = new AbortController();
    const renewal = setInterval(() => {
      this.#lease.take().then(
        (isHeld) => isHeld || over.abort(),
        () => undefined,
      );
    }, renewMs);
    try {
      await this.#read(AbortSignal.any([this.#closing.signal, over.signal]));
    } finally {
      clearInterval(renewal);
      await this.#lease.release().catch(() => undefined);
    }
  }

  async #read(stop: AbortSignal): Promise<void> {
    const reader = await this.#options.openReader();
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const deliver = (partition: OwnedPartition): Promise<void> =>
      drainPartition(partition, this.#options, stop).finally(finish);
    let failure: unknown;
    const running = reader.run(deliver).catch((error: unknown) => {
      // That another process drains by now is as it should be.
      if (!(error instanceof TakenOverError)) failure = error;
    });
    await Promise.race([finished, running]);
    await reader.close();
    await running;
    if (failure !== undefined) throw failure;
    this.#told.message = '';
    if (this.#options.backlog.isEmpty()) this.#options.observer.emptied();
  }
}
