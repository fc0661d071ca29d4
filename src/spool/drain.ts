/**
 * Moves records from the spool into the buffer, each exactly once. It reads a chunk, commits the plan of the chunk in
 * the spool, appends the batches under the tickets of the plan, and commits the end. After a crash the plan is still
 * there. The batches go out again under the same tickets, so the buffer recognises the ones that it already has.
 *
 * Drains a spool whenever there is something to drain and the buffer is there.
 */
import type { BufferReader, OwnedPartition } from '../buffer/buffer.ts';
import type { Backlog, DrainLock } from '../buffer/embedded/backlog.ts';
import { TakenOverError } from '../buffer/embedded/reader.ts';
import { assertInvariant, escalateInvariant, messageOf } from '../errors.ts';
import { pause } from '../time.ts';
import {
  type Chunk,
  ChunkBuilder,
  type ChunkPlan,
  decodeChunkPlan,
  encodeChunkPlan,
  type PlannedBatch,
  type Routing,
} from './chunk.ts';
import { ChunkSender, type DrainContext, type DrainTaskObserver, type PlannedChunk } from './send.ts';

/** One batch of the buffer: what the ordinary way sends at most, below Kafka's limit of 1 MiB. */
const batchBytes = 512 * 1024;
/** One chunk reads about this much: its batches are in flight together. */
const chunkBytes = 4 * 1024 * 1024;

/**
 * Drains the partition of the spool until nothing is left; returns early, after the chunk in flight, when
 * `stop` aborts.
 * @throws FencedError when another process has taken over, or the chunk in flight was given up; its plan is kept
 */
export async function drainPartition(
  partition: OwnedPartition,
  context: DrainContext,
  stop: AbortSignal,
): Promise<void> {
  await new Drain(partition, context, AbortSignal.any([partition.signal, stop])).run();
}

class Drain {
  readonly #partition: OwnedPartition;
  readonly #context: DrainContext;
  readonly #signal: AbortSignal;
  readonly #sender: ChunkSender;
  #position = 0;
  /** Partition that the next chunk begins with, for records without an id. */
  #turn = 0;

  constructor(partition: OwnedPartition, context: DrainContext, signal: AbortSignal) {
    this.#partition = partition;
    this.#context = context;
    this.#signal = signal;
    this.#sender = new ChunkSender(context, signal);
  }

  async run(): Promise<void> {
    let planned = (await this.#findPlanned()) ?? (await this.#planNext());
    while (planned !== undefined) {
      await this.#sender.send(planned, (plan) => this.#commitPlan(plan));
      this.#position = planned.chunk.end;
      // The next plan commits the end of this one.
      planned = await this.#planNext();
      if (planned === undefined) await this.#partition.commit(this.#position, '');
    }
  }

  /** Finds the position that the previous drainer reached, and the chunk that it had in flight. */
  async #findPlanned(): Promise<PlannedChunk | undefined> {
    const commit = await this.#partition.committed();
    this.#position = commit?.offset ?? (await this.#partition.bounds()).start;
    const plan = decodeChunkPlan(commit?.plan ?? '');
    if (plan === undefined) return undefined;
    const { writer, log } = this.#context;
    const range = { from: this.#position, to: plan.end };
    const chunk = await this.#read(plan.routing, plan.end);
    assertInvariant(
      chunk !== undefined && chunk.end === plan.end && isSame(chunk, plan.batches),
      `the spool from ${range.from} to ${range.to} does not match the plan`,
    );
    if (plan.batches.some(({ partition }) => partition >= writer.partitions)) {
      this.#sender.warnUnsure(range.to - range.from, `${writer.topic} has fewer partitions than before`);
      return undefined;
    }
    log.info(range, 'the chunk of the spool that was in flight is sent again, under its tickets');
    return { chunk, plan, isFound: true };
  }

  /** Reads the next chunk and writes its plan down; undefined when there is none, or draining ends. */
  async #planNext(): Promise<PlannedChunk | undefined> {
    if (this.#signal.aborted) return undefined;
    const { partitions } = this.#context.writer;
    const routing: Routing = { partitions, first: this.#turn % partitions, batchBytes };
    const chunk = await this.#read(routing);
    if (chunk === undefined) return undefined;
    this.#turn = (routing.first + 1) % partitions;
    const batches = await Promise.all(
      [...chunk.batches].map(async ([partition, { count }]) => ({
        partition,
        count,
        ticket: await this.#sender.reserve(partition),
      })),
    );
    const plan: ChunkPlan = { end: chunk.end, routing, batches, madeAt: Date.now() };
    await this.#commitPlan(plan);
    return { chunk, plan, isFound: false };
  }

  async #commitPlan(plan: ChunkPlan): Promise<void> {
    await this.#partition.commit(this.#position, encodeChunkPlan(plan));
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
}

function isSame(chunk: Chunk, planned: readonly PlannedBatch[]): boolean {
  if (planned.length !== chunk.batches.size) return false;
  return planned.every(({ partition, count }) => chunk.batches.get(partition)?.count === count);
}

/** Interval for polling whether there is work. */
const pollMs = 200;
/** After this time without a sign of life, another process takes over the draining. */
const leaseMs = 4_000;
const renewMs = 1_000;
const retryMs = 2_000;
/** A failure that continues unchanged is logged again after this time. */
const tellAgainMs = 600_000;

/** What the task drains. */
export interface DrainTaskOptions extends DrainContext {
  readonly backlog: Backlog;
  readonly observer: DrainTaskObserver;
  /** Opens a reader of the spool, of the group that the backlog is of. */
  openReader(): Promise<BufferReader>;
}

/**
 * Each process that has the spool open runs one task, and a lease chooses which task drains. If the previous holder of
 * the lease was asleep and wakes up, the generation of its reader keeps it from committing.
 */
export class DrainTask {
  readonly #options: DrainTaskOptions;
  readonly #lease: DrainLock;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  /** The last failure that was logged, and when. */
  #told = { message: '', at: 0 };

  constructor(options: DrainTaskOptions) {
    this.#options = options;
    this.#lease = options.backlog.createLease(leaseMs);
    this.#running = this.#run();
  }

  /** Ends after the chunk in flight. Another process drains the rest, or this one does after its next start. */
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
        // The records that were sent may differ from the plan: a retry could repeat or lose events.
        if (escalateInvariant(error)) return;
        this.#tell(error);
        await pause(retryMs, signal);
      }
      await pause(pollMs, signal);
    }
  }

  /** Logs a failure once, and again when it changes: draining is retried every few seconds. */
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
      // Another process has taken over, which is fine.
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
