/** A record that ClickHouse refuses, as it is kept in table `dead_letters` and in the topic of dead letters. */
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
  /** ClickHouse's error code. */
  readonly code: number;
  /** Path of `data` where ClickHouse could not go on; empty when it named none. */
  readonly column: string;
  /** ClickHouse's message. */
  readonly reason: string;
  /** The record's value, byte for byte; it may be no valid text. */
  readonly raw: Buffer;
}
