/** Looks at a topic and at the commits of a group, without being a member of it. */
import type { Logger } from 'pino';
import { backOffMs, pause } from '../../time.ts';
import {
  type BufferInspector,
  BufferUnavailableError,
  OffsetOutOfRangeError,
  type ReadResult,
  type TopicView,
} from '../buffer.ts';
import { BrokerAnswerError } from './broker-link.ts';
import { Cluster } from './cluster.ts';
import { Coordinator, isCoordinatorTrouble } from './coordinator.ts';
import { codeOf, isKafkaTrouble, KafkaError, kafkaCodes, reasonOf, transientCodes } from './errors.ts';
import { fetchApi, type TopicLayout } from './messages.ts';
import { earliest, fetchCommits, fetchOffsets, LeaderLinks, latest } from './offsets.ts';
import { ChecksumError, NotReadableHereError } from './record-batch.ts';
import { FetchedBatches } from './record-decoder.ts';

/** What an inspector is opened with. */
interface KafkaInspectorOptions {
  /** Brokers to start from, `host:port`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Consumer group whose commits are looked at. */
  readonly group: string;
  /** Name of this client in the broker's logs and quotas. */
  readonly clientId: string;
  /** How long one call tries, milliseconds. Default 15 s. */
  readonly timeoutMs?: number;
  readonly log: Logger;
}

const requestTimeoutMs = 10_000;
/** What is fetched beyond what was asked for is thrown away, and fetched again by the next read. */
const maxFetchBytes = 1024 * 1024;

/** Opens an inspector, whether Kafka can be reached or not: its calls say what is wrong. */
export function openKafkaInspector(options: KafkaInspectorOptions): BufferInspector {
  return new KafkaInspector(options);
}

class KafkaInspector implements BufferInspector {
  readonly topic: string;
  readonly isDense = false;
  readonly #cluster: Cluster;
  readonly #coordinator: Coordinator;
  readonly #timeoutMs: number;
  readonly #links: LeaderLinks;
  #isClosed = false;

  constructor({ brokers, topic, group, clientId, log, timeoutMs = 15_000 }: KafkaInspectorOptions) {
    this.topic = topic;
    this.#timeoutMs = timeoutMs;
    // Without `createTopic`: looking creates nothing. What the cluster would log, the calls throw.
    this.#cluster = new Cluster({ brokers, topic, clientId, log: log.child({}, { level: 'error' }) });
    this.#links = new LeaderLinks(this.#cluster, requestTimeoutMs);
    const timeouts = { join: requestTimeoutMs, heartbeat: requestTimeoutMs, offsets: requestTimeoutMs };
    this.#coordinator = new Coordinator(this.#cluster, group, timeouts);
  }

  view(): Promise<TopicView> {
    return this.#persist(async ({ id, leaders }) => {
      const partitions = leaders.map((_, partition) => partition);
      const commits = await fetchCommits(this.#coordinator, this.topic, partitions);
      const [starts, ends] = await Promise.all([
        this.#links.offsets(partitions, earliest),
        this.#links.offsets(partitions, latest),
      ]);
      return {
        topicId: id,
        partitions: partitions.map((partition) => ({
          partition,
          start: starts.get(partition) ?? 0,
          end: ends.get(partition) ?? 0,
          commit: commits.get(partition),
        })),
      };
    });
  }

  read(partition: number, from: number, { maxBytes }: { maxBytes: number }): Promise<ReadResult> {
    let suspect: number | undefined;
    return this.#persist(async ({ id: topicId }) => {
      const answer = await this.#links.to(partition).request(fetchApi, {
        ...{ topicId, partition, from },
        maxWaitMs: 0,
        maxBytes: Math.min(Math.max(maxBytes, 1), maxFetchBytes),
      });
      if (answer.code === kafkaCodes.offsetOutOfRange) {
        const { start, end } = await this.#boundsOf(partition);
        if (from < start || from > end) {
          throw new OffsetOutOfRangeError(this.topic, partition, { from, start, end });
        }
      }
      if (answer.code !== kafkaCodes.none) {
        throw new KafkaError(answer.code, `reading ${this.topic}/${partition} from offset ${from}`);
      }
      try {
        const result = new FetchedBatches(answer.records, answer.aborted, suspect).take(from, maxBytes);
        if (result.next > from || answer.records.length === 0) return result;
      } catch (error) {
        if (error instanceof ChecksumError) suspect = error.baseOffset;
        throw error;
      }
      throw new BrokerAnswerError(
        `no whole record batch comes from ${this.topic}/${partition} at offset ${from}`,
      );
    });
  }

  offsetAt(partition: number, timeMs: number): Promise<number> {
    return this.#persist(async () => {
      const link = this.#links.to(partition);
      const time = BigInt(Math.max(0, Math.floor(timeMs)));
      const found = await fetchOffsets(link, { topic: this.topic, partitions: [partition], time });
      return found.get(partition) ?? (await this.#boundsOf(partition)).end;
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#links.close();
    this.#coordinator.close();
    await this.#cluster.close();
  }

  /** Tries until it works, at most for the timeout. @throws BufferUnavailableError then */
  async #persist<T>(ask: (topic: TopicLayout) => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#timeoutMs;
    let reason = '';
    for (let attempt = 0; !this.#isClosed; attempt++) {
      try {
        if (attempt > 0 || this.#cluster.topic === undefined) await this.#cluster.refresh();
        if (this.#cluster.topic !== undefined) return await ask(this.#cluster.topic);
      } catch (error) {
        const code = codeOf(error);
        if (error instanceof OffsetOutOfRangeError || !isReadTrouble(error)) throw error;
        reason = reasonOf(error);
        const isRefused = code !== undefined && !isCoordinatorTrouble(error) && !transientCodes.has(code);
        if (isRefused && code !== kafkaCodes.offsetOutOfRange) throw unavailable(reason);
      }
      if (performance.now() >= deadline) break;
      await pause(Math.min(backOffMs(attempt, { mostMs: 1_000 }), Math.max(0, deadline - performance.now())));
    }
    const state = this.#cluster.state();
    throw unavailable(state.ok ? reason || 'the inspector is closed' : state.detail);
  }

  async #boundsOf(partition: number) {
    const [starts, ends] = await Promise.all([
      this.#links.offsets([partition], earliest),
      this.#links.offsets([partition], latest),
    ]);
    return { start: starts.get(partition) ?? 0, end: ends.get(partition) ?? 0 };
  }
}

/** Whether reading again may help, or Kafka says that it will not. */
function isReadTrouble(error: unknown): error is Error {
  return isKafkaTrouble(error) || error instanceof ChecksumError || error instanceof NotReadableHereError;
}

function unavailable(reason: string): BufferUnavailableError {
  return new BufferUnavailableError(reason.includes('Kafka') ? reason : `Kafka cannot be asked: ${reason}`);
}
