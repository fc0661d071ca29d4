/** Watches how long undelivered events have left until the buffer deletes them. */
import type { Logger } from 'pino';
import {
  type BufferReader,
  BufferUnavailableError,
  FencedError,
  type PartitionExpiry,
} from '../../buffer/buffer.ts';
import { Gauge, metricTable } from '../../metrics/metrics.ts';

const sampleIntervalMs = 15_000;
/** One line for each partition in this time, unless it became worse. */
const repeatMs = 60_000;
const hourMs = 3_600_000;

/** A running watch. */
interface RetentionWatch {
  /** Seconds left, by partition. */
  readonly secondsLeft: Gauge;
  /** Looks now. @throws whatever is no trouble of the buffer */
  sample(): Promise<void>;
  stop(): void;
}

/** Starts it, with what is told of a fault of this program: it looks every 15 seconds, counts down in between, and logs when time gets short. */
export function watchRetention(
  reader: BufferReader,
  log: Logger,
  onFault: (error: unknown) => void,
): RetentionWatch {
  let expiries: readonly PartitionExpiry[] = [];
  let isSampling = false;
  let isUnreadable = false;
  const report = createReporter(log);

  async function sample(): Promise<void> {
    if (isSampling) return;
    isSampling = true;
    try {
      expiries = await reader.expiries();
      isUnreadable = false;
      for (const expiry of expiries) report(expiry, Date.now());
    } catch (error) {
      // What was known goes on counting down, which is what happens to the events.
      if (!(error instanceof BufferUnavailableError || error instanceof FencedError)) throw error;
      if (!isUnreadable) log.warn(`the time until events expire cannot be read: ${error.message}`);
      isUnreadable = true;
    } finally {
      isSampling = false;
    }
  }

  function readSeconds(): ReadonlyMap<string, number> {
    const now = Date.now();
    return new Map(expiries.map((expiry) => [String(expiry.partition), secondsLeft(expiry, now)]));
  }

  const timer = setInterval(() => sample().catch(onFault), sampleIntervalMs);
  timer.unref();
  return {
    secondsLeft: new Gauge(metricTable.retentionSecondsLeft, readSeconds),
    sample,
    stop: () => clearInterval(timer),
  };
}

/** How urgent it is. */
type Urgency = 'none' | 'warn' | 'error';

/**
 * `error` with less than 5% of the retention left; `warn` with less than 25% or less than an hour, but never before
 * half of the retention is used: a retention of an hour must not warn all the time.
 */
export function urgencyOf({ lag, retentionMs, expiresAt }: PartitionExpiry, now: number): Urgency {
  const left = expiresAt - now;
  if (lag <= 0) return 'none';
  if (left < 0.05 * retentionMs) return 'error';
  return left < Math.max(0.25 * retentionMs, Math.min(hourMs, 0.5 * retentionMs)) ? 'warn' : 'none';
}

/** What logs a partition that is in danger: at most once a minute, and at once when it became worse. */
export function createReporter(log: Logger): (expiry: PartitionExpiry, now: number) => void {
  const last = new Map<number, { at: number; urgency: Urgency }>();
  return (expiry, now) => {
    const { topic, partition, lag, retentionMs } = expiry;
    const urgency = urgencyOf(expiry, now);
    if (urgency === 'none') {
      last.delete(partition);
      return;
    }
    const before = last.get(partition);
    const isWorse = urgency === 'error' && before?.urgency !== 'error';
    if (before !== undefined && now - before.at < repeatMs && !isWorse) return;
    last.set(partition, { at: now, urgency });
    const seconds = secondsLeft(expiry, now);
    log[urgency](
      { topic, partition, lag, secondsLeft: seconds, retentionSeconds: Math.round(retentionMs / 1_000) },
      `${topic}/${partition}: ${lag} events are not delivered, and Kafka may delete the oldest in ${seconds} s. ` +
        "Look in /status and in the log for what holds up delivery; raise the topic's retention.ms to gain time",
    );
  };
}

function secondsLeft({ expiresAt }: PartitionExpiry, now: number): number {
  return Math.max(0, Math.floor((expiresAt - now) / 1_000));
}
