/** Dead letters, as they are kept in table `dead_letters` and in the topic of dead letters. */
import { RowBinary } from './native-columns.ts';

/** Why a record became no row. */
export interface Refusal {
  /** ClickHouse's error code; {@link unreadableCode} when ClickHouse never saw the record. */
  readonly code: number;
  /** The reason without a word of the event. */
  readonly message: string;
  /** The reason in full. */
  readonly detail: string;
}

/** Code of a dead letter that stands for a record that cannot be read: its bytes are no event. */
export const unreadableCode = 0;

/** A record that ClickHouse refuses, or that cannot be read, as it is kept in table `dead_letters` and in the topic of dead letters. */
export interface DeadLetter {
  readonly topic: string;
  /** Tells a topic from a later one of the same name. */
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** Id by which repeats of the event are found, else empty. */
  readonly eventId: string;
  /** {@link Refusal.code} */
  readonly code: number;
  /** Path of `data` where ClickHouse could not go on; empty when it named none. */
  readonly column: string;
  /** {@link Refusal.detail} */
  readonly reason: string;
  /** The record's value, byte for byte; it may be no valid text. */
  readonly raw: Buffer;
}

/**
 * The rows of `dead_letters` in RowBinary, which carries any bytes: what was refused may be no valid text.
 * The order of the fields is that of the table. `refusedAt` is in milliseconds since the epoch.
 */
export function encodeDeadLetters(letters: readonly DeadLetter[], refusedAt: number): Buffer {
  const rows = new RowBinary();
  for (const letter of letters) {
    rows.text(letter.topic).text(letter.topicId).uint32(letter.partition).int64(letter.offset);
    rows.int64(letter.receivedAt).int64(refusedAt).text(letter.eventId).uint32(letter.code);
    rows.text(letter.column).text(letter.reason).text(letter.raw);
  }
  return rows.build();
}
