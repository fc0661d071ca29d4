/** Sends the batches of a chunk under the tickets of its plan, until the buffer has all of them. */
import type { Logger } from 'pino';
import {
  type AppendSeries,
  BufferUnavailableError,
  FencedError,
  OutcomeUnknownError,
  type ResumableWriter,
  TicketLostError,
} from '../buffer/buffer.ts';
import type { EventBatch } from '../buffer/records.ts';
import { assertInvariant } from '../errors.ts';
import { backOffMs, pause } from '../time.ts';
import type { Chunk, ChunkPlan, PlannedBatch } from './chunk.ts';

/** Told what happens to the records of a spool. */
interface DrainObserver {
  /** The buffer has acknowledged these records. */
  drained(events: number): void;
  /** These records are sent again, and the buffer may no longer be able to tell that it has them. */
  unsure(events: number): void;
  /** Why the buffer does not take records now; undefined when it took some. */
  delayed(reason: string | undefined): void;
}

/** Told about draining as a whole, too. */
export interface DrainTaskObserver extends DrainObserver {
  /** Nothing is left. */
  emptied(): void;
  /** Draining ended for this reason; it is begun again soon. */
  failed(reason: string): void;
}

/** What draining needs. */
export interface DrainContext {
  readonly writer: ResumableWriter;
  /** Identity of the spool, for the ids of its records. */
  readonly spoolId: string;
  readonly observer: DrainObserver;
  readonly log: Logger;
}

/** A chunk whose plan is written down. */
export interface PlannedChunk {
  readonly chunk: Chunk;
  readonly plan: ChunkPlan;
  /** Whether the plan was found: somebody may have sent it before. */
  readonly isFound: boolean;
}

/**
 * Kafka keeps a ticket in mind for `producer.id.expiration.ms`, a day by default, after the newest timestamp of
 * the batch, which is the receive time of an event. Half of it is surely safe.
 */
const ticketLifeMs = 12 * 3_600_000;
const retryLimits = { firstMs: 100, mostMs: 5_000 };

/** Sends chunk after chunk, for one ownership of the spool. */
export class ChunkSender {
  readonly #context: DrainContext;
  readonly #signal: AbortSignal;
  readonly #series: AppendSeries;

  /** Ends between two tries when `signal` aborts. */
  constructor(context: DrainContext, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
    // A new one for each ownership: what an earlier one reserved may be in a plan that somebody else sends.
    this.#series = context.writer.beginSeries();
  }

  /** Reserves a ticket, trying until there is one. @throws FencedError when draining ends meanwhile */
  reserve(partition: number): Promise<string> {
    return this.#persist(() => this.#series.reserve(partition));
  }

  /**
   * Sends all batches at once. A batch whose ticket the buffer does not know gets a new one, which `commit`
   * writes down before it is used.
   * @throws FencedError when draining ends before the buffer has all
   */
  async send(planned: PlannedChunk, commit: (plan: ChunkPlan) => Promise<void>): Promise<void> {
    let { plan } = planned;
    let left = plan.batches;
    for (;;) {
      const outcomes = await Promise.allSettled(left.map((batch) => this.#sendBatch(planned, batch)));
      const lost: PlannedBatch[] = [];
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') continue;
        if (!(outcome.reason instanceof TicketLostError)) throw outcome.reason;
        const batch = left[i] as PlannedBatch;
        this.warnUnsure(batch.count, outcome.reason.message);
        lost.push(batch);
      }
      if (lost.length === 0) break;
      left = await Promise.all(
        lost.map(async (batch) => ({ ...batch, ticket: await this.reserve(batch.partition) })),
      );
      const renewed = new Map(left.map((batch) => [batch.partition, batch]));
      const batches = plan.batches.map((batch) => renewed.get(batch.partition) ?? batch);
      plan = { ...plan, batches, madeAt: Date.now() };
      await commit(plan);
    }
    this.#context.observer.drained(plan.batches.reduce((sum, { count }) => sum + count, 0));
  }

  /** Says that these records may be in the buffer twice from now on. */
  warnUnsure(events: number, reason: string): void {
    this.#context.observer.unsure(events);
    this.#context.log.warn(
      { events },
      `it can no longer be found out whether the buffer has ${events} events of the spool (${reason}); they ` +
        'are sent again. Each carries an id: the streamer drops repeats within its window',
    );
  }

  async #sendBatch(planned: PlannedChunk, { partition, count, ticket }: PlannedBatch): Promise<void> {
    const { writer } = this.#context;
    const batch = planned.chunk.batches.get(partition);
    assertInvariant(batch !== undefined, `the chunk has no batch for partition ${partition}`);
    let isMaybeStored = planned.isFound;
    let isWarned = false;
    await this.#persist(async () => {
      if (writer.partitions > 0 && partition >= writer.partitions) {
        throw new Error(`${writer.topic} no longer has partition ${partition}`);
      }
      if (isMaybeStored && !isWarned && isStale(batch, planned.plan)) {
        this.warnUnsure(count, 'the buffer may have forgotten the batches by now');
        isWarned = true;
      }
      try {
        await this.#series.append(partition, batch, ticket);
      } catch (error) {
        isMaybeStored ||= error instanceof OutcomeUnknownError;
        throw error;
      }
    });
  }

  async #persist<T>(attempt: () => Promise<T>): Promise<T> {
    const { observer } = this.#context;
    for (let failures = 0; ; failures++) {
      try {
        const result = await attempt();
        observer.delayed(undefined);
        return result;
      } catch (error) {
        if (!(error instanceof BufferUnavailableError)) throw error;
        observer.delayed(error.message);
      }
      if (!this.#signal.aborted) await pause(backOffMs(failures, retryLimits), this.#signal);
      if (this.#signal.aborted) throw new FencedError('draining the spool was stopped; the plan is kept');
    }
  }
}

/** Whether the newest record, or the plan, is older than the buffer surely remembers. */
function isStale(batch: EventBatch, plan: ChunkPlan): boolean {
  const newest = batch.receivedAt.reduce((latest, ms) => Math.max(latest, ms), 0);
  return Math.min(newest, plan.madeAt) < Date.now() - ticketLifeMs;
}
