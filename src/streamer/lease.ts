/** Holds on to the right to insert a batch. */
import type { OwnedPartition } from '../buffer/buffer.ts';
import type { SealedBatch } from './batch.ts';
import { encodeNote } from './plan.ts';

/**
 * Half of the shortest session timeout. A process that was stopped for longer may have lost its partition
 * without knowing: its successor may have settled the batch already, on ClickHouse's word that nothing was there.
 */
const maxAgeMs = 3_000;

/** The committed plan of one batch. No insert is sent without a lease, and none with an old one. */
export class Lease {
  readonly #partition: OwnedPartition;
  readonly #offset: number;
  readonly #note: string;
  /** When the buffer last confirmed that the partition is ours. */
  #confirmedAt: number;

  private constructor(partition: OwnedPartition, offset: number, note: string) {
    this.#partition = partition;
    this.#offset = offset;
    this.#note = note;
    this.#confirmedAt = Number.NEGATIVE_INFINITY;
  }

  /**
   * Commits the plan of a batch, with what the note carries beside it, and waits until the buffer has it.
   * @throws FencedError when the partition has another owner
   */
  static async take(
    partition: OwnedPartition,
    { plan, idsBefore: ids }: SealedBatch,
    settleUntil: number | undefined,
  ): Promise<Lease> {
    const note = encodeNote({ topicId: partition.topicId, ids, settleUntil, plan });
    const lease = new Lease(partition, plan.start, note);
    await lease.hold();
    return lease;
  }

  /**
   * Makes sure that the partition was ours a moment ago: commits the plan again when that is longer ago.
   * @throws FencedError when it has another owner
   */
  async hold(): Promise<void> {
    const now = performance.now();
    if (now - this.#confirmedAt < maxAgeMs) return;
    await this.#partition.commit(this.#offset, this.#note);
    // Counted from before the commit: the answer may have waited in the socket of a stopped process.
    this.#confirmedAt = now;
  }
}
