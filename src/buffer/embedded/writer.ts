/**
 * The writing end of the embedded log: any number of processes may have one open.
 *
 * Appends blocks within a write transaction: where offsets are assigned and the size limit is kept.
 */
import { assertInvariant } from '../../errors.ts';
import {
  BufferFullError,
  BufferUnavailableError,
  type BufferWriter,
  type DependencyState,
} from '../buffer.ts';
import type { EventBatch } from '../records.ts';
import { type EncodedBlock, encodeBlocks } from './block.ts';
import type { Environment } from './environment.ts';
import { encodeKey, storedBytesOf } from './log-blocks.ts';
import {
  type EmbeddedLogOptions,
  type OpenLog,
  openLog,
  readPartition,
  readTotals,
  writePartition,
  writeTotals,
} from './open-log.ts';
import { RetentionTask, removeDelivered } from './retention.ts';

/** Options of {@link openEmbeddedWriter}. */
interface EmbeddedWriterOptions extends EmbeddedLogOptions {
  /** How long delivered records are kept, milliseconds >= 0. */
  readonly retentionMs: number;
}

/** After a failure appends are refused at once for so long, instead of each finding it out. */
const fullPauseMs = 250;
const failurePauseMs = 1_000;

/**
 * Opens a log for writing, and creates it when there is none.
 * @throws OperatorError when it cannot be opened
 */
export async function openEmbeddedWriter(options: EmbeddedWriterOptions): Promise<BufferWriter> {
  return new EmbeddedWriter(await openLog(options), options);
}

interface PendingAppend {
  readonly partition: number;
  readonly batch: EventBatch;
  resolve(base: number): void;
  reject(error: unknown): void;
}

class EmbeddedWriter implements BufferWriter {
  readonly topic: string;
  readonly partitions: number;
  readonly #environment: Environment;
  readonly #maxBytes: number;
  readonly #retention: RetentionTask;
  #pending: PendingAppend[] = [];
  #flight: Promise<void> | undefined;
  /** Why appends are refused, and until when by the clock of `performance.now`, which nobody sets back. */
  #trouble: { error: BufferUnavailableError; untilMs: number } | undefined;
  #closed: Promise<void> | undefined;

  constructor({ environment, identity }: OpenLog, options: EmbeddedWriterOptions) {
    this.topic = options.topic;
    this.partitions = identity.partitions;
    this.#environment = environment;
    this.#maxBytes = options.maxBytes;
    this.#retention = new RetentionTask(environment, { ...options, partitions: identity.partitions });
  }

  append(partition: number, batch: EventBatch): Promise<number> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    assertInvariant(partition >= 0 && partition < this.partitions, `append to partition ${partition}`);
    assertInvariant(batch.count > 0, 'append of an empty batch');
    // What is added while this process waits for the write lock shares the flush: at saturation half as many flushes.
    batch.isOpen = true;
    return new Promise((resolve, reject) => {
      this.#pending.push({ partition, batch, resolve, reject });
      this.#startFlight();
    });
  }

  state(): DependencyState {
    const refusal = this.#refusal();
    if (refusal === undefined) return { ok: true };
    const { message: detail } = refusal;
    return refusal instanceof BufferFullError ? { ok: false, code: 'FULL', detail } : { ok: false, detail };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    // The flight that ends starts the next one while appends are waiting.
    while (this.#flight !== undefined) await this.#flight;
    await this.#retention.stop();
    await this.#environment.release();
  }

  #refusal(): BufferUnavailableError | undefined {
    if (this.#closed !== undefined) return new BufferUnavailableError('The embedded log is closed.');
    const trouble = this.#trouble;
    if (trouble === undefined) return undefined;
    return performance.now() < trouble.untilMs || this.#environment.isStuck ? trouble.error : undefined;
  }

  /**
   * One transaction at a time: what arrives while one is being flushed shares the next. That is the group
   * commit that makes a flush of half a millisecond carry any number of appends.
   */
  #startFlight(): void {
    if (this.#flight !== undefined || this.#pending.length === 0) return;
    this.#flight = this.#fly().finally(() => {
      this.#flight = undefined;
      this.#startFlight();
    });
  }

  async #fly(): Promise<void> {
    const log = { environment: this.#environment, partitions: this.partitions, maxBytes: this.#maxBytes };
    let taken: PendingAppend[] = [];
    try {
      const outcomes = await this.#environment.write(() => {
        // Taken only now: whatever arrived while this process waited for the write lock comes along.
        taken = this.#pending;
        this.#pending = [];
        return appendAll(log, taken.map(encode));
      });
      outcomes.forEach((outcome, i) => {
        if (typeof outcome === 'number') taken[i]?.resolve(outcome);
        else taken[i]?.reject(outcome);
      });
      const full = outcomes.find((outcome) => typeof outcome !== 'number');
      if (full !== undefined) this.#onFull(full);
      else this.#trouble = undefined;
    } catch (error) {
      if (taken.length === 0) taken = this.#pending.splice(0);
      for (const { batch, reject } of taken) {
        batch.isOpen = false;
        reject(error);
      }
      if (error instanceof BufferUnavailableError) {
        this.#trouble = { error, untilMs: performance.now() + failurePauseMs };
      }
    }
  }

  #onFull(error: BufferFullError): void {
    this.#trouble = { error, untilMs: performance.now() + fullPauseMs };
    this.#retention.hurry();
  }
}

function encode({ partition, batch }: PendingAppend): AppendRequest {
  batch.isOpen = false;
  const blocks = encodeBlocks(batch);
  const storedBytes = blocks.reduce((sum, { value }) => sum + storedBytesOf(value.length), 0);
  return { partition, blocks, storedBytes };
}

/** Blocks that go into one partition, consecutively. */
interface AppendRequest {
  readonly partition: number;
  readonly blocks: readonly EncodedBlock[];
  /** Bytes of disk that the blocks count for. */
  readonly storedBytes: number;
}

/** The log appended to, and its limit. */
interface AppendTarget {
  readonly environment: Environment;
  readonly partitions: number;
  readonly maxBytes: number;
}

/**
 * Appends all requests in order, within a transaction. A request that does not fit is left out as a whole,
 * after delivered blocks were removed in its favour.
 * @returns for each request the offset of its first record, or why it was left out
 */
function appendAll(target: AppendTarget, requests: readonly AppendRequest[]): (number | BufferFullError)[] {
  let isFull = false;
  return requests.map((request) => {
    // Once full, stay full for the rest of the transaction: making room again and again is for nothing.
    if (isFull || !hasRoom(target, request)) {
      isFull = true;
      return new BufferFullError(fullMessage(target));
    }
    return append(target.environment, request);
  });
}

function hasRoom(target: AppendTarget, request: AppendRequest): boolean {
  const { environment, partitions, maxBytes } = target;
  const targetBytes = maxBytes - request.storedBytes;
  if (readTotals(environment).usedBytes <= targetBytes) return true;
  removeDelivered(environment, partitions, { olderThanMs: 0, targetBytes });
  return readTotals(environment).usedBytes <= targetBytes;
}

function append(environment: Environment, request: AppendRequest): number {
  const { partition, blocks } = request;
  const { start, end: base } = readPartition(environment, partition);
  const { usedBytes, appended } = readTotals(environment);
  let end = base;
  for (const { value, count, newestMs } of blocks) {
    const storedBytes = storedBytesOf(value.length);
    environment.blocks.putSync(encodeKey({ partition, base: end, count, newestMs, storedBytes }), value);
    end += count;
  }
  writePartition(environment, partition, { start, end });
  writeTotals(environment, {
    usedBytes: usedBytes + request.storedBytes,
    appended: appended + end - base,
  });
  return base;
}

function fullMessage({ environment, maxBytes }: AppendTarget): string {
  return `The embedded log in ${environment.path} is full: ${readTotals(environment).usedBytes} of ${maxBytes} bytes hold records that are not delivered yet. Check that the streamer runs and reaches ClickHouse, or raise --log-max-bytes.`;
}
