/**
 * Header that carries the id of an event by which repeats are found: the client's, or one made from its
 * Idempotency-Key. Absent from events without any.
 */
export const idHeader = 'id';

/** Headers of one record, in order. Empty for the plain event. */
export type RecordHeaders = readonly (readonly [key: string, value: string])[];

/**
 * Consecutive records of a partition, stored column by column: reading a million records must not make a
 * million objects. Record `i` is `bytes[starts[i] .. ends[i])`.
 */
export interface RecordBlock {
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly starts: ArrayLike<number>;
  readonly ends: ArrayLike<number>;
  /** Offsets, ascending. */
  readonly offsets: ArrayLike<number>;
  /** Record timestamps: when the event was received, milliseconds since the epoch. */
  readonly receivedAt: ArrayLike<number>;
  /** Headers of record `i`; undefined when no record of the block has any. */
  readonly headers?: readonly (RecordHeaders | undefined)[];
  /**
   * Why record `i` cannot be read, beginning with a code as BATCH_TOO_LARGE: its value is no event then, but what could
   * be kept of it. Undefined when all records can be read.
   */
  readonly unreadable?: readonly (string | undefined)[];
}
