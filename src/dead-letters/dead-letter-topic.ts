/** Publishes dead letters to a topic of their own in Kafka, for consumers that want to act on them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import {
  BufferUnavailableError,
  type BufferWriter,
  type DependencyState,
  RecordsRefusedError,
} from '../buffer/buffer.ts';
import type { TopicSettings } from '../buffer/kafka/topics.ts';
import { openKafkaWriter } from '../buffer/kafka/writer.ts';
import { EventBatch, idHeader, type RecordHeaders } from '../buffer/records.ts';
import type { DeadLetter } from '../clickhouse/rows/dead-letter.ts';

/** Below Kafka's default limit of 1 MiB for a batch, whatever the compression gives. */
const maxBatchBytes = 512 * 1024;
const maxReasonLength = 1_000;
/** How often to look whether Kafka was reached, milliseconds. */
const pollMs = 50;

/** What the topic is opened with. */
interface DeadLetterTopicOptions {
  /** Brokers to start from, `host:port`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Name of this client in the broker's logs and quotas. */
  readonly clientId: string;
  /** How to create the topic when it does not exist, with one partition by default; it is not created when undefined. */
  readonly createTopic?: (Omit<TopicSettings, 'partitions'> & { readonly partitions?: number }) | undefined;
  /** How long publishing is tried before it rejects, milliseconds; connecting and each batch count on their own. */
  readonly deliveryTimeoutMs: number;
  readonly log: Logger;
}

/** The topic of dead letters. */
export interface DeadLetterTopic {
  readonly topic: string;
  /**
   * Resolves when all are durable. At least once: after a rejection any of them may be there, and a repeat has
   * the same headers `topic-id`, `partition` and `offset`. What Kafka refuses for good, as a record above its
   * limit, is logged and left out: table `dead_letters` has it, and delivery must not wait for ever.
   * Calls at the same time are done one after another.
   * @throws BufferUnavailableError when Kafka did not confirm them in time; publish them all again
   */
  publish(letters: readonly DeadLetter[]): Promise<void>;
  /** Whether Kafka can be reached now. */
  state(): DependencyState;
  /** Waits for what is being published, then releases everything. */
  close(): Promise<void>;
}

/** Opens the topic, whether Kafka can be reached or not. */
export function openDeadLetterTopic(options: DeadLetterTopicOptions): DeadLetterTopic {
  const { createTopic } = options;
  const writer = openKafkaWriter({
    ...options,
    compression: 'snappy',
    createTopic: createTopic === undefined ? undefined : { partitions: 1, ...createTopic },
  });
  const publisher = new Publisher(writer, options);
  return {
    topic: options.topic,
    publish: (letters) => publisher.publish(letters),
    state: () => writer.state(),
    async close() {
      await publisher.idle();
      await writer.close();
    },
  };
}

class Publisher {
  readonly #writer: BufferWriter;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  readonly #batch = new EventBatch();
  /** A partition takes one append at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(writer: BufferWriter, options: DeadLetterTopicOptions) {
    this.#writer = writer;
    this.#timeoutMs = options.deliveryTimeoutMs;
    this.#log = options.log;
  }

  publish(letters: readonly DeadLetter[]): Promise<void> {
    const published = this.#last.then(() => this.#publish(letters));
    this.#last = published.catch(() => {});
    return published;
  }

  async idle(): Promise<void> {
    await this.#last;
  }

  async #publish(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    await this.#connected();
    const refusals: Refusal[] = [];
    for (const { partition, batch } of cut(letters, this.#writer.partitions)) {
      refusals.push(...(await this.#append(partition, batch)));
    }
    const [first] = refusals;
    if (first === undefined) return;
    const { topic, partition, offset } = first.letter;
    this.#log.error(
      { deadLetterTopic: this.#writer.topic, topic, partition, offset, letters: refusals.length },
      `Kafka refuses ${refusals.length} of ${letters.length} dead letters; they are in table dead_letters only: ${first.error.message}`,
    );
  }

  /** Appends; what is refused is tried again in halves, so that one letter takes no other with it. */
  async #append(partition: number, letters: readonly DeadLetter[]): Promise<Refusal[]> {
    const now = Date.now();
    this.#batch.clear();
    // The time of publishing: with that of receiving, the topic's retention could remove a late letter at once.
    for (const letter of letters) this.#batch.add(letter.raw, now, headersOf(letter));
    try {
      await this.#writer.append(partition, this.#batch);
      return [];
    } catch (error) {
      if (!(error instanceof RecordsRefusedError)) throw error;
      const [letter] = letters;
      if (letters.length === 1 && letter !== undefined) return [{ letter, error }];
      const middle = letters.length >> 1;
      return [
        ...(await this.#append(partition, letters.slice(0, middle))),
        ...(await this.#append(partition, letters.slice(middle))),
      ];
    }
  }

  /** A writer that has just been opened does not know its partitions yet. */
  async #connected(): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs;
    while (this.#writer.partitions === 0) {
      if (performance.now() >= deadline) {
        const state = this.#writer.state();
        const detail = state.ok ? `topic ${this.#writer.topic} has no partitions` : state.detail;
        throw new BufferUnavailableError(`dead letters could not be published: ${detail}`);
      }
      await sleep(pollMs);
    }
  }
}

interface Refusal {
  readonly letter: DeadLetter;
  readonly error: RecordsRefusedError;
}

/** Batches below the limit, or of one letter; the letters of a source partition stay together and in order. */
function cut(letters: readonly DeadLetter[], partitions: number) {
  const batches: { readonly partition: number; readonly batch: DeadLetter[]; bytes: number }[] = [];
  const growing = new Map<number, (typeof batches)[number]>();
  for (const letter of letters) {
    const partition = letter.partition % partitions;
    const bytes = sizeOf(letter);
    const current = growing.get(partition);
    if (current !== undefined && current.bytes + bytes <= maxBatchBytes) {
      current.batch.push(letter);
      current.bytes += bytes;
    } else {
      const next = { partition, batch: [letter], bytes };
      growing.set(partition, next);
      batches.push(next);
    }
  }
  return batches;
}

function sizeOf(letter: DeadLetter): number {
  let bytes = letter.raw.length + 100;
  for (const [key, value] of headersOf(letter)) bytes += key.length + Buffer.byteLength(value) + 10;
  return bytes;
}

function headersOf(letter: DeadLetter): RecordHeaders {
  const headers: [string, string][] = [
    ['topic', letter.topic],
    ['topic-id', letter.topicId],
    ['partition', String(letter.partition)],
    ['offset', String(letter.offset)],
    ['received-at', String(letter.receivedAt)],
    ['code', String(letter.code)],
    ['column', letter.column],
    ['reason', letter.reason.slice(0, maxReasonLength)],
  ];
  if (letter.eventId !== '') headers.push([idHeader, letter.eventId]);
  return headers;
}
