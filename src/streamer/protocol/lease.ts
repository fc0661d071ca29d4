/** Holds on to the right to insert a batch. */
import type { OwnedPartition } from '../../buffer/buffer.ts';
import { type Clock, type Moment, msBetween, never, systemClock } from '../../time.ts';
import type { SealedBatch } from './batch.ts';
import { encodeNote } from './plan.ts';

/**
 * Half of the shortest session timeout. A process that was stopped for longer may have lost its partition
 * without knowing: its successor may have settled the batch already, on ClickHouse's word that nothing was there. Counted
 * on both clocks: the steady one stands still while a machine is suspended or a virtual machine frozen.
 */
const maxAgeMs = 3_000;

/** The committed plan of one batch. No insert is sent without a lease, and none with an old one. */
export class Lease {
  readonly #partition: OwnedPartition;
  readonly #offset: number;
  readonly #note: string;
  /** When the buffer last confirmed that the partition is ours. */
  #confirmedAt: Moment = never;
  readonly #clock: Clock;

  private constructor(partition: OwnedPartition, offset: number, note: string, clock: Clock) {
    this.#partition = partition;
    this.#offset = offset;
    this.#note = note;
    this.#clock = clock;
  }

  /**
   * Commits the plan of a batch, with what the note carries beside it, and waits until the buffer has it.
   * @throws FencedError when the partition has another owner
   */
  static async take(
    partition: OwnedPartition,
    { plan, idsBefore: ids }: SealedBatch,
    settleUntil: number | undefined,
    clock: Clock = systemClock,
  ): Promise<Lease> {
    const note = encodeNote({ topicId: partition.topicId, ids, settleUntil, plan });
    const lease = new Lease(partition, plan.start, note, clock);
    await lease.hold();
    return lease;
  }

  /**
   * Makes sure that the partition was ours a moment ago: commits the plan again when that is longer ago.
   * @throws FencedError when it has another owner
   */
  async hold(): Promise<void> {
    const now = this.#clock();
    if (msBetween(this.#confirmedAt, now) < maxAgeMs) return;
    await this.#partition.commit(this.#offset, this.#note);
    // Counted from before the commit: the answer may have waited in the socket of a stopped process.
    this.#confirmedAt = now;
  }
}
