/** Tries until ClickHouse does what it is asked, and says so once for each reason that it does not. */
import type { Logger } from 'pino';
import { BufferUnavailableError, FencedError, type PartitionIdentity } from '../../buffer/buffer.ts';
import { ClickHouseError, ClickHouseUnavailableError } from '../../clickhouse/errors.ts';
import type { Tables } from '../../clickhouse/tables.ts';
import { messageOf } from '../../errors.ts';
import { backOffMs, pause } from '../../time.ts';

/** Told of tries. */
export interface TryObserver {
  /** A batch of the partition is to be inserted, or ClickHouse to be asked about one. */
  began(partition: PartitionIdentity): void;
  /** One try of it failed, for this reason; there will be another. */
  delayed(partition: PartitionIdentity, reason: string): void;
  /** It got through, or ownership ended. */
  ended(partition: PartitionIdentity): void;
  /** ClickHouse did not do it in one try; `code` is its own, 0 without an answer. */
  insertFailed(code: number, error: Error): void;
}

/** Whom the tries are for, and until when. */
interface TryOptions {
  readonly identity: PartitionIdentity;
  readonly signal: AbortSignal;
}

/** Tries, counting from 1. @throws FencedError when the signal aborts before it worked; whatever is no trouble of ClickHouse */
type Persist = <T>(options: TryOptions, attempt: (n: number) => Promise<T>) => Promise<T>;

const retryLimits = { firstMs: 100, mostMs: 10_000 };

/**
 * Waits before ClickHouse is tried again.
 * @param failures tries that failed before the last one, from 0
 * @throws FencedError when `signal` aborts meanwhile
 */
export async function waitToRetry(failures: number, signal: AbortSignal): Promise<void> {
  await pause(backOffMs(failures, retryLimits), signal);
  if (signal.aborted) throw new FencedError('stopped while waiting to try again');
}

/** ClickHouse did not do what it was asked, or the topic of dead letters did not. */
function isRetriable(error: unknown): error is Error {
  return (
    error instanceof ClickHouseError ||
    error instanceof ClickHouseUnavailableError ||
    error instanceof BufferUnavailableError
  );
}

function describeTrouble(error: Error, tables: Tables): string {
  const message = messageOf(error).slice(0, 1_000);
  if (error instanceof BufferUnavailableError)
    return `dead letters cannot be published, so their batch waits; check their topic, --dead-letter-topic: ${message}`;
  const advice =
    error instanceof ClickHouseError
      ? `. See system.errors and the log of ClickHouse; if this continues, check table ${tables.events}, its disk and its settings`
      : '';
  return `ClickHouse did not accept a batch, which is retried with the same token: ${message}${advice}`;
}

/** Makes the loop. */
export function createPersist({
  observer,
  tables,
  log,
}: {
  observer: TryObserver;
  tables: Tables;
  log: Logger;
}): Persist {
  async function tryOn<T>({ identity, signal }: TryOptions, attempt: (n: number) => Promise<T>): Promise<T> {
    let lastMessage = '';
    for (let n = 1; ; n++) {
      if (signal.aborted && lastMessage !== '')
        throw new FencedError('ownership ended before ClickHouse could be used');
      try {
        const result = await attempt(n);
        if (lastMessage !== '') log.info('ClickHouse accepts inserts again');
        return result;
      } catch (error) {
        if (!isRetriable(error)) throw error;
        const isTopic = error instanceof BufferUnavailableError;
        if (!isTopic) observer.insertFailed(error instanceof ClickHouseError ? error.code : 0, error);
        observer.delayed(identity, messageOf(error).slice(0, 500));
        if (messageOf(error) !== lastMessage) {
          lastMessage = messageOf(error);
          log.warn(describeTrouble(error, tables));
        }
        await waitToRetry(n - 1, signal);
      }
    }
  }

  return async (options, attempt) => {
    observer.began(options.identity);
    try {
      return await tryOn(options, attempt);
    } finally {
      observer.ended(options.identity);
    }
  };
}
