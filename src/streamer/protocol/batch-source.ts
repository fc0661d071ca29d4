/** The batches of a partition in order: the next one grows while one is inserted. */
import { OffsetOutOfRangeError, type OwnedPartition } from '../../buffer/buffer.ts';
import type { ReadBack } from '../ids/recent-ids.ts';
import type { SealedBatch } from './batch.ts';
import { BatchReader, Pace } from './batch-reader.ts';
import type { DeliveryOptions } from './delivery.ts';
import type { Recovered, Recovery } from './recover.ts';

/** A batch, and the position before it. */
interface NextBatch {
  readonly batch: SealedBatch;
  /** What is committed: the end of the batch before, or further where retention has removed records. */
  readonly committed: number;
}

/** Reads ahead by one batch. */
export class BatchSource {
  readonly #partition: OwnedPartition;
  readonly #recovery: Recovery;
  readonly #options: DeliveryOptions & Recovered;
  readonly #pace: Pace;
  #reader: BatchReader;
  #growing: Promise<SealedBatch> | undefined;
  #isReady = false;

  constructor(partition: OwnedPartition, recovery: Recovery, options: DeliveryOptions & Recovered) {
    this.#partition = partition;
    this.#recovery = recovery;
    this.#options = options;
    this.#pace = new Pace(options.limits.ageMs);
    this.#reader = this.#openReader(options.position);
  }

  /** Whether the next batch is sealed. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Receive time of the oldest record in the batch that grows. */
  get oldestAt(): number | undefined {
    return this.#reader.oldestAt;
  }

  /** Ids remembered before the batch that grows. */
  get idsBefore(): ReadBack | undefined {
    return this.#reader.idsBefore;
  }

  /** Runs the insert of a batch, which is given back by it, and lets the next one grow meanwhile. */
  async during(batch: SealedBatch, insert: () => Promise<void>): Promise<void> {
    this.#pace.begin();
    const inserted = insert();
    // Second: the first read of what is there takes its time at once.
    this.#prefetch();
    await inserted;
    this.#pace.end();
    this.#reader.giveBack(batch);
  }

  #prefetch(): void {
    this.#growing ??= this.#reader.next().then((batch) => {
      this.#isReady = true;
      return batch;
    });
    this.#growing.catch(() => {});
  }

  /**
   * The next batch; everything before `committed` must be committed by now, unless {@link isReady}. Where
   * retention has removed what comes next, that is counted, named and committed, and what is left follows.
   * @throws FencedError once ownership has ended
   * @throws OperatorError when the topic has become shorter
   */
  async next(committed: number): Promise<NextBatch> {
    let position = committed;
    for (;;) {
      this.#prefetch();
      try {
        const batch = await (this.#growing as Promise<SealedBatch>);
        return { batch, committed: position };
      } catch (error) {
        if (!(error instanceof OffsetOutOfRangeError)) throw error;
        if (error.from > error.end) throw this.#recovery.shorter(error.from, error.end);
        const gap = { offset: position, start: error.start, ids: this.idsBefore };
        position = await this.#recovery.skipExpired(gap);
        this.#reader = this.#openReader(position);
      } finally {
        this.#growing = undefined;
        this.#isReady = false;
      }
    }
  }

  #openReader(position: number): BatchReader {
    return new BatchReader(this.#partition, position, { ...this.#options, pace: this.#pace });
  }
}
