/**
 * The buffer: the durable middle between collector and streamer. Two ends, a writer and a reader, which
 * share nothing but the stored records; each adapter (`embedded/`, `kafka/`) implements both.
 */
import type { EventBatch, RecordBlock } from './records.ts';

/**
 * Whether a dependency can be used now; `detail` says what is wrong and which setting points at it, and `code` what kind
 * of trouble it is, where somebody decides by that: `FULL` is a limit of its own that it has reached.
 */
export type DependencyState =
  | { readonly ok: true }
  | { readonly ok: false; readonly code?: 'FULL'; readonly detail: string };

/**
 * The writing end of a buffer.
 *
 * An offset is a number: 2^53 records a partition are 28,000 years at 10,000 events/s.
 */
export interface BufferWriter {
  /** Topic that the records go to. */
  readonly topic: string;
  /**
   * Number of partitions, numbered from 0. Zero while it is not known yet, as when Kafka was never reached;
   * it may grow.
   */
  readonly partitions: number;
  /**
   * Stores all records of the batch, consecutively and in order, in one partition.
   *
   * At most one append is in flight per partition: the caller waits for the promise before the next.
   * Resolves only when the records are durable (Kafka: acks=all; embedded: fsynced), with the offset of the
   * first. The batch must not be changed until the promise settles; only while the writer leaves it open, events may
   * be added, and they are stored with the others.
   * @throws OutcomeUnknownError when the buffer did not confirm it in time
   * @throws BufferUnavailableError when nothing was stored
   */
  append(partition: number, batch: EventBatch): Promise<number>;
  /** Whether an append would be tried now. Cheap: called for each request. */
  state(): DependencyState;
  /** Waits for appends in flight, then releases everything. */
  close(): Promise<void>;
}

/**
 * A writer whose appends another process can finish: a ticket, written down before the append, lets the buffer
 * recognise the same records when they come again.
 */
export interface ResumableWriter extends BufferWriter {
  /** Begins a series of appends. Tickets of a series that may have ended in doubt must come from a new one. */
  beginSeries(): AppendSeries;
}

/** Appends that can be repeated, by this process or by another one. */
export interface AppendSeries {
  /**
   * Gives the ticket for the next append to the partition. The same one again, until an append with it succeeds.
   * @throws BufferUnavailableError when the buffer cannot be asked now
   */
  reserve(partition: number): Promise<string>;
  /**
   * Stores the records of the batch, as {@link BufferWriter.append} does, unless they were stored under this
   * ticket before: then they are not stored again. The same ticket always goes with the same partition and
   * the same records. Any ticket, also of another series or process.
   * @returns offset of the first record; -1 when they are stored and the buffer no longer knows where
   * @throws TicketLostError when the buffer cannot tell any more whether they were stored
   * @throws BufferUnavailableError otherwise; the same call may be repeated
   */
  append(partition: number, batch: EventBatch, ticket: string): Promise<number>;
}

/** Whether the appends of this writer can be finished by another process. */
export function isResumable(writer: BufferWriter): writer is ResumableWriter {
  return 'beginSeries' in writer;
}

/**
 * The reading end of a buffer. A reader owns partitions: exclusively within its consumer group, until it
 * closes or ownership moves to another reader.
 */
export interface BufferReader {
  /**
   * Owns partitions and calls `deliver` once for each, concurrently, every time one is gained. `deliver`
   * returns or throws soon after its `partition.signal` aborts; ownership is given up when it has. A
   * {@link FencedError} from `deliver` is expected and ends only that ownership; any other error ends `run`.
   * Resolves after {@link close}.
   */
  run(deliver: (partition: OwnedPartition) => Promise<void>): Promise<void>;
  /** State of the connection to the buffer. */
  state(): DependencyState;
  /** Lag of each partition owned by this reader. @throws BufferUnavailableError when the buffer cannot be asked now */
  lag(): Promise<PartitionLag[]>;
  /**
   * When the buffer may delete what is not delivered, for each partition owned by this reader; empty when it never
   * does. Costs a read from each partition that has any: for every few seconds, not for every request.
   * @throws BufferUnavailableError when the buffer cannot be asked now
   */
  expiries(): Promise<PartitionExpiry[]>;
  /** Aborts the signals of all owned partitions, waits for their `deliver`, gives them up, releases everything. */
  close(): Promise<void>;
}

/** Consumer lag of one partition. */
export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** Committed offset: everything before it is delivered. */
  readonly committed: number;
  /** Offset that the next record written will get. */
  readonly end: number;
}

/** When undelivered records of one partition may be deleted. */
export interface PartitionExpiry {
  readonly topic: string;
  readonly partition: number;
  /** Undelivered records. */
  readonly lag: number;
  /** How long the buffer keeps a record after it was received, milliseconds. */
  readonly retentionMs: number;
  /**
   * Earliest time at which the oldest undelivered record may be deleted, milliseconds since the epoch; for a record
   * received now when all are delivered.
   */
  readonly expiresAt: number;
}

/** What was last committed for a partition. */
export interface Commit {
  /** Everything before this offset is delivered. */
  readonly offset: number;
  /** Whatever the committer wrote beside the offset: the plan in flight, or empty. */
  readonly plan: string;
}

/** How much a read takes, and how long it waits for it: see {@link OwnedPartition.read}. */
export interface ReadOptions {
  readonly minBytes?: number;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
}

/** Which partition. */
export interface PartitionIdentity {
  readonly topic: string;
  /** Tells a topic from a later one of the same name: Kafka's topic id, or the id of the embedded log. */
  readonly topicId: string;
  readonly partition: number;
}

/** A partition while this reader owns it. */
export interface OwnedPartition extends PartitionIdentity {
  /**
   * Aborts when ownership ends or the reader closes. From then on everything but `commit` throws FencedError;
   * `commit` works until `deliver` returns, so that an insert in flight can be finished, or until the buffer
   * has given the partition to somebody else.
   */
  readonly signal: AbortSignal;
  /** Reads the last commit of the group; undefined when there never was one. */
  committed(): Promise<Commit | undefined>;
  /** First offset still stored, and the offset after the last. */
  bounds(): Promise<{ readonly start: number; readonly end: number }>;
  /**
   * Reads records with offsets >= `from`, by position, up to about `maxBytes` of values (at least one block),
   * or less: to read all, read again from `next`.
   * Waits up to `maxWaitMs` until there are about `minBytes` as the buffer stores them, default 1; then returns what
   * there is, which may be an empty list of blocks.
   * @throws OffsetOutOfRangeError when `from` is outside the stored range; it never jumps by itself
   * @throws FencedError when ownership has ended
   */
  read(from: number, options: ReadOptions): Promise<ReadResult>;
  /**
   * Commits `offset` and `plan` together, durably, fenced: only while this ownership lasts. Offsets never
   * go back.
   * @throws FencedError when another reader owns the partition by now; nothing was committed then
   */
  commit(offset: number, plan: string): Promise<void>;
}

/** A partition as seen from outside. */
export interface PartitionView {
  readonly partition: number;
  /** First offset still stored. */
  readonly start: number;
  /** Offset that the next record gets; for Kafka, the end of finished transactions. */
  readonly end: number;
  /** What the group committed last; undefined when it never did. */
  readonly commit: Commit | undefined;
}

/** The topic as seen from outside, at about one moment. */
export interface TopicView {
  /** {@link OwnedPartition.topicId} */
  readonly topicId: string;
  /** In order of their numbers. */
  readonly partitions: readonly PartitionView[];
}

/**
 * Looks at a buffer without owning any of it: changes nothing, disturbs no reader or writer. Every method may
 * throw {@link BufferUnavailableError}.
 */
export interface BufferInspector {
  readonly topic: string;
  /** Whether every offset from start to end is a record. In Kafka, transactions leave offsets without one. */
  readonly isDense: boolean;
  /** Commits are read before ends: everything before a commit seen here was delivered before this call returns. */
  view(): Promise<TopicView>;
  /** Reads records as {@link OwnedPartition.read} does, without waiting for new ones: empty at the end. */
  read(partition: number, from: number, options: { maxBytes: number }): Promise<ReadResult>;
  /** Offset of the first record received at `timeMs` or later (milliseconds since the epoch); the end when there is none. */
  offsetAt(partition: number, timeMs: number): Promise<number>;
  close(): Promise<void>;
}

/** What one `read` returned. */
export interface ReadResult {
  /** Records in offset order; offsets need not be dense. */
  readonly blocks: readonly RecordBlock[];
  /** Position to read from next: past every record returned and past any gap that was seen. */
  readonly next: number;
}

/** The buffer cannot take or give records now; trying again later can help. */
export class BufferUnavailableError extends Error {
  override readonly name: string = 'BufferUnavailableError';
}

/** The buffer did not confirm an append: its records may be stored, now or in a moment, or never. */
export class OutcomeUnknownError extends BufferUnavailableError {
  override readonly name = 'OutcomeUnknownError';
}

/** The buffer has forgotten what a ticket stands for: whether its records were stored is unknown for good. */
export class TicketLostError extends Error {
  override readonly name = 'TicketLostError';
}

/** The buffer will not take these records, ever; nothing was stored. Its settings have to change. */
export class RecordsRefusedError extends BufferUnavailableError {
  override readonly name = 'RecordsRefusedError';
}

/** The buffer is full of records that were not delivered yet, and its limit forbids to take more. */
export class BufferFullError extends BufferUnavailableError {
  override readonly name = 'BufferFullError';
}

/** Ownership of the partition has ended; whatever was attempted did not happen. */
export class FencedError extends Error {
  override readonly name = 'FencedError';
}

/** A position outside what is stored: retention passed it, or the topic was made anew. */
export class OffsetOutOfRangeError extends Error {
  override readonly name = 'OffsetOutOfRangeError';
  readonly from: number;
  readonly start: number;
  readonly end: number;

  constructor(topic: string, partition: number, range: { from: number; start: number; end: number }) {
    super(
      `offset ${range.from} of ${topic}/${partition} is out of range: the buffer holds ${range.start} to ${range.end}`,
    );
    this.from = range.from;
    this.start = range.start;
    this.end = range.end;
  }
}
