/**
 * Moves records from the spool into the buffer, each exactly once: read a chunk, commit its plan in the
 * spool, append its batches under the tickets of the plan, commit its end. After a crash the plan is there
 * and its batches go out again under the same tickets, by which the buffer recognises those that it has.
 */
import type { Logger } from 'pino';
import {
  type AppendSeries,
  BufferUnavailableError,
  FencedError,
  type OwnedPartition,
  type ResumableWriter,
  TicketLostError,
} from '../buffer/buffer.ts';
import { assertInvariant } from '../errors.ts';
import { type Chunk, ChunkBuilder, type Routing } from './chunk.ts';
import { pause } from './pause.ts';
import { type ChunkPlan, decodeChunkPlan, encodeChunkPlan, type PlannedBatch } from './plan.ts';

/** Told what happens to the records of a spool. */
export interface DrainObserver {
  /** The buffer has acknowledged these records. */
  drained(events: number): void;
  /** These records are sent under new tickets, and nobody can say whether the buffer has them already. */
  unsure(events: number): void;
  /** Why the buffer does not take records now; undefined when it took some. */
  delayed(reason: string | undefined): void;
}

/** What draining needs. */
export interface DrainContext {
  readonly writer: ResumableWriter;
  readonly spoolId: string;
  readonly observer: DrainObserver;
  readonly log: Logger;
}

/** One batch of the buffer: what the ordinary way sends at most, below Kafka's limit of 1 MiB. */
const batchBytes = 512 * 1024;
/** One chunk reads about this much: its batches are in flight together. */
const chunkBytes = 4 * 1024 * 1024;
/** Kafka knows a ticket for a day by default; by half of it the promise is kept. */
const ticketLifeMs = 12 * 3_600_000;
const firstRetryMs = 100;
const mostRetryMs = 5_000;

/**
 * Drains the partition of the spool until nothing is left; returns early, after the chunk in flight, when
 * `stop` aborts.
 * @throws FencedError when another process drains by now
 */
export async function drainPartition(
  partition: OwnedPartition,
  context: DrainContext,
  stop: AbortSignal,
): Promise<void> {
  const drain = new Drain(partition, context, AbortSignal.any([partition.signal, stop]));
  await drain.run();
}

interface PlannedChunk {
  readonly chunk: Chunk;
  readonly plan: ChunkPlan;
}

class Drain {
  readonly #partition: OwnedPartition;
  readonly #context: DrainContext;
  readonly #signal: AbortSignal;
  readonly #series: AppendSeries;
  #position = 0;
  #turn = 0;

  constructor(partition: OwnedPartition, context: DrainContext, signal: AbortSignal) {
    this.#partition = partition;
    this.#context = context;
    this.#signal = signal;
    // A new one for each ownership: what an earlier one reserved may be in a plan that somebody else sends.
    this.#series = context.writer.beginSeries();
  }

  async run(): Promise<void> {
    let planned = await this.#recover();
    let isEndCommitted = true;
    for (;;) {
      if (planned === undefined) {
        const chunk = this.#signal.aborted ? undefined : await this.#nextChunk();
        if (chunk === undefined) break;
        planned = await this.#plan(chunk);
      }
      await this.#send(planned);
      this.#position = planned.chunk.end;
      planned = undefined;
      isEndCommitted = false;
    }
    if (!isEndCommitted) await this.#partition.commit(this.#position, '');
  }

  /** Finds out where the last one to drain has come to, and what it had in flight. */
  async #recover(): Promise<PlannedChunk | undefined> {
    const commit = await this.#partition.committed();
    this.#position = commit?.offset ?? (await this.#partition.bounds()).start;
    const plan = decodeChunkPlan(commit?.plan ?? '');
    if (plan === undefined) return undefined;
    const { writer, log } = this.#context;
    const chunk = await this.#read(plan.routing, plan.end);
    assertInvariant(
      chunk !== undefined && chunk.end === plan.end && isSame(chunk, plan.batches),
      `the spool from ${this.#position} to ${plan.end} does not hold what the plan says`,
    );
    log.info(
      { from: this.#position, to: plan.end },
      'sending the chunk of the spool again that was in flight, under its tickets',
    );
    if (plan.batches.some(({ partition }) => partition >= writer.partitions)) {
      this.#onTicketLost(plan.batches, 'the topic has fewer partitions than before');
      return undefined;
    }
    if (Date.now() - plan.madeAt > ticketLifeMs) {
      this.#onTicketLost(plan.batches, 'it was sent too long ago');
      return await this.#plan(chunk, plan.routing);
    }
    return { chunk, plan };
  }

  async #nextChunk(): Promise<Chunk | undefined> {
    return await this.#read({ partitions: this.#context.writer.partitions, first: this.#turn, batchBytes });
  }

  /** Reads the chunk at the position; undefined when there is nothing. */
  async #read(routing: Routing, end?: number): Promise<Chunk | undefined> {
    const range = { start: this.#position, ...(end === undefined ? {} : { end }) };
    const builder = new ChunkBuilder(this.#context.spoolId, routing, range);
    for (let bytes = 0; !builder.isFull && (end !== undefined || bytes < chunkBytes); ) {
      const { blocks } = await this.#partition.read(builder.position, { maxBytes: batchBytes, maxWaitMs: 0 });
      if (blocks.length === 0) break;
      for (const block of blocks) {
        builder.add(block);
        bytes += (block.ends[block.count - 1] as number) - (block.starts[0] as number);
      }
    }
    return builder.build();
  }

  /** Reserves tickets and writes the plan down. */
  async #plan(chunk: Chunk, routing?: Routing): Promise<PlannedChunk> {
    const { partitions } = this.#context.writer;
    const used = routing ?? { partitions, first: this.#turn, batchBytes };
    this.#turn = (this.#turn + 1) % partitions;
    const batches = await Promise.all(
      [...chunk.batches].map(async ([partition, { count }]) => ({
        partition,
        count,
        ticket: await this.#reserve(partition),
      })),
    );
    return await this.#commitPlan({
      chunk,
      plan: { end: chunk.end, routing: used, batches, madeAt: Date.now() },
    });
  }

  async #commitPlan(planned: PlannedChunk): Promise<PlannedChunk> {
    await this.#partition.commit(this.#position, encodeChunkPlan(planned.plan));
    return planned;
  }

  /** Sends all batches at once, until the buffer has all. */
  async #send({ chunk, plan }: PlannedChunk): Promise<void> {
    let left = plan.batches;
    let current = plan;
    while (left.length > 0) {
      const outcomes = await Promise.allSettled(left.map((batch) => this.#sendBatch(chunk, batch)));
      const lost: PlannedBatch[] = [];
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') continue;
        if (!(outcome.reason instanceof TicketLostError)) throw outcome.reason;
        lost.push(left[i] as PlannedBatch);
        this.#onTicketLost([left[i] as PlannedBatch], outcome.reason.message);
      }
      if (lost.length === 0) break;
      left = await Promise.all(
        lost.map(async (batch) => ({ ...batch, ticket: await this.#reserve(batch.partition) })),
      );
      const renewed = new Map(left.map((batch) => [batch.partition, batch]));
      const batches = current.batches.map((batch) => renewed.get(batch.partition) ?? batch);
      current = { ...current, batches, madeAt: Date.now() };
      await this.#commitPlan({ chunk, plan: current });
    }
    this.#context.observer.drained(plan.batches.reduce((sum, { count }) => sum + count, 0));
  }

  async #sendBatch(chunk: Chunk, { partition, ticket }: PlannedBatch): Promise<void> {
    const batch = chunk.batches.get(partition);
    assertInvariant(batch !== undefined, `the chunk has no batch for partition ${partition}`);
    await this.#untilAvailable(() => {
      const { partitions } = this.#context.writer;
      if (partitions > 0 && partition >= partitions)
        throw new Error(`the buffer has no partition ${partition}`);
      return this.#series.append(partition, batch, ticket);
    });
  }

  #reserve(partition: number): Promise<string> {
    return this.#untilAvailable(() => this.#series.reserve(partition));
  }

  /** Tries until it works. @throws FencedError when draining ends meanwhile */
  async #untilAvailable<T>(attempt: () => Promise<T>): Promise<T> {
    const { observer } = this.#context;
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(2 * retryMs, mostRetryMs)) {
      try {
        const result = await attempt();
        observer.delayed(undefined);
        return result;
      } catch (error) {
        if (!(error instanceof BufferUnavailableError)) throw error;
        observer.delayed(error.message);
      }
      if (!this.#signal.aborted) await pause(retryMs, this.#signal);
      if (this.#signal.aborted) throw new FencedError('draining the spool was stopped; the plan is kept');
    }
  }

  #onTicketLost(batches: readonly PlannedBatch[], reason: string): void {
    const events = batches.reduce((sum, { count }) => sum + count, 0);
    this.#context.observer.unsure(events);
    this.#context.log.warn(
      { from: this.#position, events },
      `whether ${events} events of the spool are in the buffer cannot be found out any more (${reason}); ` +
        'they are sent again. Each carries an id: the streamer drops repeats within its window',
    );
  }
}

function isSame(chunk: Chunk, planned: readonly PlannedBatch[]): boolean {
  if (planned.length !== chunk.batches.size) return false;
  return planned.every(({ partition, count }) => chunk.batches.get(partition)?.count === count);
}
