/**
 * The spool of a collector: an embedded log of its own that holds events while the buffer is away. All
 * processes of a collector share it, and one of them drains it.
 *
 * What the log says about a spool: when events begin to go there, when it is drained, what is left at the end.
 */
import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import {
  BufferFullError,
  type BufferWriter,
  type DependencyState,
  type ResumableWriter,
} from '../buffer/buffer.ts';
import { type Backlog, openBacklog } from '../buffer/embedded/backlog.ts';
import { logPath } from '../buffer/embedded/environment.ts';
import { openEmbeddedReader } from '../buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../buffer/embedded/writer.ts';
import type { EventBatch } from '../buffer/records.ts';
import type { ObservedSpool, SpoolFigures } from '../collector/spool.ts';
import { DrainTask } from './drain.ts';
import type { DrainTaskObserver } from './send.ts';

/** What a spool is opened with. */
interface SpoolOptions {
  /** Directory of the spools: `<data-dir>/spool`. */
  readonly dir: string;
  /** Most bytes that it may take (`--spool-max-bytes`). */
  readonly maxBytes: number;
  /** Where the events go in the end; its topic names the spool. */
  readonly writer: ResumableWriter;
  /** Whether events come in. If not, only what an earlier run left is drained. */
  readonly takesEvents: boolean;
  readonly log: Logger;
}

/** The group that drains. */
const group = 'drain';
/** How old the answer of {@link DurableSpool.isOpen} may be, where another process makes the difference. */
const maxAgeMs = 20;
const figuresAgeMs = 200;
/**
 * So many events are one small chunk, which takes some 10 ms. While more come in meanwhile, the spool is never
 * empty: new ones are held up to `holdMs`, once in `holdPeriodMs`. By the clock, so that all processes that share
 * the spool hold theirs at the same time.
 */
const fewEvents = 10_000;
const holdMs = 60;
const holdPeriodMs = 500;

/** Whether there is a spool for this topic. */
export function existsSpool(dir: string, topic: string): boolean {
  return existsSync(logPath(dir, topic));
}

/**
 * Opens the spool of a topic, and creates it when there is none. It drains from now on, by itself.
 * @throws OperatorError when the directory cannot be used
 */
export async function openSpool(options: SpoolOptions): Promise<DurableSpool> {
  const { dir, maxBytes, writer, log } = options;
  const place = { dir, topic: writer.topic, partitions: 1, maxBytes, log };
  // Nobody reads it twice: what is drained goes at once.
  const store = await openEmbeddedWriter({ ...place, retentionMs: 0 });
  const backlog = await openBacklog({ ...place, group });
  // The reader says which streamer took over; here that is nothing to tell.
  const openReader = () => openEmbeddedReader({ ...place, group, log: undefined });
  return new DurableSpool(options, { store, backlog, openReader });
}

/** What a spool is made of. */
interface SpoolParts {
  readonly store: BufferWriter;
  readonly backlog: Backlog;
  openReader(): ReturnType<typeof openEmbeddedReader>;
}

/** A spool that survives the process and the machine's power. */
export class DurableSpool implements ObservedSpool {
  readonly id: string;
  readonly takesEvents: boolean;
  readonly maxBytes: number;
  readonly #options: SpoolOptions;
  readonly #store: BufferWriter;
  readonly #backlog: Backlog;
  readonly #task: DrainTask;
  readonly #log: SpoolLog;
  #isUndrained = false;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #figures: { value: SpoolFigures; at: number } | undefined;
  #delay: string | undefined;
  #spooled = 0;
  #drained = 0;
  #unsure = 0;

  /** Use {@link openSpool}. */
  constructor(options: SpoolOptions, { store, backlog, openReader }: SpoolParts) {
    const { dir, writer, log, takesEvents, maxBytes } = options;
    this.id = backlog.topicId;
    this.takesEvents = takesEvents;
    this.maxBytes = maxBytes;
    this.#options = options;
    this.#store = store;
    this.#backlog = backlog;
    const { events } = backlog.figures();
    this.#log = new SpoolLog(log, dir);
    if (events > 0) this.#log.foundEvents(events);
    this.#task = new DrainTask({
      ...{ writer, log, backlog, openReader },
      spoolId: this.id,
      observer: this.#createObserver(),
    });
  }

  isOpen(): boolean {
    if (!this.#options.writer.state().ok) return true;
    const now = performance.now();
    if (now - this.#checkedAt > maxAgeMs) {
      this.#isUndrained = !this.#backlog.isEmpty();
      this.#checkedAt = now;
      if (!this.#isUndrained) this.#log.left();
    }
    return this.#isUndrained;
  }

  holdMs(): number {
    const { writer } = this.#options;
    const isDraining = this.#isUndrained && this.#delay === undefined && writer.partitions > 0;
    if (!isDraining || !writer.state().ok) return 0;
    const leftMs = holdMs - (Date.now() % holdPeriodMs);
    if (leftMs <= 0) return 0;
    const { events } = this.#backlog.figures();
    if (events === 0) this.#forget();
    return events > 0 && events <= fewEvents ? leftMs : 0;
  }

  async append(batch: EventBatch): Promise<number> {
    const { count } = batch;
    try {
      const offset = await this.#store.append(0, batch);
      this.#spooled += count;
      this.#forget();
      this.#log.entered(this.#options.writer.state());
      return offset;
    } catch (error) {
      throw error instanceof BufferFullError ? new BufferFullError(this.#fullMessage()) : error;
    }
  }

  state(): DependencyState {
    const state = this.#store.state();
    if (state.ok || state.code !== 'FULL') return state;
    return { ...state, detail: this.#fullMessage() };
  }

  figures(): SpoolFigures {
    const now = performance.now();
    if (this.#figures === undefined || now - this.#figures.at > figuresAgeMs) {
      this.#figures = { value: this.#backlog.figures(), at: now };
    }
    return this.#figures.value;
  }

  waiting() {
    return this.#backlog.range(0);
  }

  counts() {
    return { spooled: this.#spooled, drained: this.#drained, unsure: this.#unsure };
  }

  delay(): string | undefined {
    return this.#delay;
  }

  async close(): Promise<void> {
    await this.#task.close();
    this.#log.stopped(this.#backlog.figures().events);
    await this.#store.close();
    await this.#backlog.close();
  }

  /** What was looked up before is out of date. */
  #forget(): void {
    this.#checkedAt = Number.NEGATIVE_INFINITY;
    this.#figures = undefined;
  }

  #createObserver(): DrainTaskObserver {
    const { log } = this.#options;
    return {
      drained: (events) => {
        this.#drained += events;
        this.#log.drained(events);
        this.#forget();
      },
      unsure: (events) => {
        this.#unsure += events;
      },
      delayed: (reason) => {
        if (reason !== undefined && reason !== this.#delay) log.warn(`the spool waits: ${reason}`);
        this.#delay = reason;
      },
      failed: (reason) => {
        this.#delay = reason;
      },
      emptied: () => {
        this.#forget();
        this.#log.emptied();
      },
    };
  }

  #fullMessage(): string {
    const { dir, maxBytes } = this.#options;
    return `The spool in ${dir} is full: its limit of ${maxBytes} bytes is used by events that wait for Kafka. Check --kafka-brokers, or raise --spool-max-bytes.`;
  }
}

/** Tells the story of a spool as one process sees it: of several that share it, one drains. */
class SpoolLog {
  readonly #log: Logger;
  readonly #dir: string;
  #isEntered = false;
  /** When events last began to go to the spool, on the clock of `performance.now`. */
  #since = performance.now();
  /** Events that this process has drained since it was empty. */
  #drained = 0;

  constructor(log: Logger, dir: string) {
    this.#log = log;
    this.#dir = dir;
  }

  /** These events wait from an earlier run. */
  foundEvents(events: number): void {
    this.#isEntered = true;
    this.#log.warn(
      { events, dir: this.#dir },
      `${events} events of an earlier run wait in the spool; they are sent first`,
    );
  }

  /** Events went in. `buffer` is the state of the buffer that did not get them. */
  entered(buffer: DependencyState): void {
    if (this.#isEntered) return;
    this.#isEntered = true;
    this.#since = performance.now();
    const reason = buffer.ok ? '' : `: ${buffer.detail}`;
    this.#log.warn({ dir: this.#dir }, `events now go to the spool in ${this.#dir}${reason}`);
  }

  /** The buffer has acknowledged events of the spool. */
  drained(events: number): void {
    this.#drained += events;
  }

  /** This process has drained the last ones. */
  emptied(): void {
    const seconds = Math.round((performance.now() - this.#since) / 1_000);
    const events = this.#drained;
    this.left();
    if (events === 0) return;
    this.#drained = 0;
    this.#log.info(
      { events, seconds },
      `the spool is drained: ${events} events, ${seconds} s after the first of them went there`,
    );
  }

  /** Nothing is in the spool, whoever drained it. */
  left(): void {
    this.#isEntered = false;
  }

  /** The process stops, and this many events stay. */
  stopped(events: number): void {
    if (events === 0) return;
    this.#log.warn(
      { events, dir: this.#dir },
      `stopped with ${events} events in the spool in ${this.#dir}: they will be delivered after the next start`,
    );
  }
}
