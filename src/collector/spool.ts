/**
 * What the collector needs of a spool: where events go while the buffer is away. src/spool is one.
 *
 * What `/status` and `/metrics` of a collector say about its spool.
 */
import type { BufferWriter, DependencyState } from '../buffer/buffer.ts';
import type { EventBatch } from '../buffer/records.ts';
import { CounterView, Gauge, type Instruments, metricTable } from '../metrics/metrics.ts';

/** Where events wait on this machine while the buffer is away. */
export interface Spool {
  /** Name of this spool, unique among all that there are: receipts carry it. */
  readonly id: string;
  /**
   * Whether events go here now: the buffer is away, or earlier ones still wait here. Cheap: called for each
   * batch.
   */
  isOpen(): boolean;
  /**
   * For how many milliseconds new events should wait before they are appended here, because little is left and is
   * on its way to the buffer: once it has arrived, they go there, too. Zero at any other time. Cheap, as `isOpen`.
   */
  holdMs(): number;
  /**
   * Stores all events of the batch durably, consecutively and in order; gives the offset of the first within
   * the spool. One append is in flight at most. The batch must not be changed until the promise settles.
   * @throws BufferUnavailableError when it is full or the disk is; nothing was stored then
   */
  append(batch: EventBatch): Promise<number>;
  /** Whether an append would be tried now. Cheap: called for each request. */
  state(): DependencyState;
}

/** What waits in a spool, of all processes that share it. */
export interface SpoolFigures {
  /** Events that wait. */
  readonly events: number;
  /** Bytes of disk that they take. */
  readonly bytes: number;
  /** When about the oldest was received, milliseconds since the epoch; undefined when none waits. */
  readonly oldestMs: number | undefined;
}

/** A spool with what `/status` and `/metrics` tell about it. */
export interface ObservedSpool extends Spool {
  /** Whether events come in; if not, it only drains what an earlier run left. */
  readonly takesEvents: boolean;
  /** Most bytes that it may take. */
  readonly maxBytes: number;
  figures(): SpoolFigures;
  /**
   * Offsets of the events that wait, of all processes that share the spool: from the first on, and before `end`, which
   * the next event gets. Cheap: called for receipts.
   */
  waiting(): { readonly from: number; readonly end: number };
  /** Events that this process has stored in the spool, has seen the buffer acknowledge, and has sent again in doubt. */
  counts(): { readonly spooled: number; readonly drained: number; readonly unsure: number };
  /** Why draining does not go on; undefined when nothing is known to be in its way. */
  delay(): string | undefined;
  /** Ends draining after the chunk in flight, and releases everything. Events stay. */
  close(): Promise<void>;
}

/** Whether events can be taken now: by the buffer, or in its place by the spool. */
export function intakeState(writer: BufferWriter, spool: ObservedSpool | undefined): DependencyState {
  const buffer = writer.state();
  if (spool?.takesEvents !== true || !spool.isOpen()) return buffer;
  const state = spool.state();
  if (state.ok || buffer.ok) return state;
  return { ok: false, detail: `${buffer.detail}. ${state.detail}` };
}

/** The part of `/status` about the spool. */
export function describeSpool(spool: ObservedSpool) {
  const { events, bytes, oldestMs } = spool.figures();
  const delay = spool.delay();
  const state = spool.state();
  return {
    id: spool.id,
    takes_events: spool.takesEvents,
    events,
    bytes,
    since: oldestMs === undefined ? null : new Date(oldestMs).toISOString(),
    state: state.ok ? (events > 0 ? 'waiting' : 'empty') : 'unavailable',
    ...(state.ok ? {} : { detail: state.detail }),
    ...(events > 0 && delay !== undefined ? { waits_for: delay } : {}),
  };
}

/** Instruments of the spool; none without one. */
export function createSpoolInstruments(spool: ObservedSpool | undefined): Instruments {
  if (spool === undefined) return {};
  const ageSeconds = () => {
    const { oldestMs } = spool.figures();
    return oldestMs === undefined ? 0 : Math.max(Date.now() - oldestMs, 0) / 1_000;
  };
  return {
    spooled: new CounterView(() => spool.counts().spooled),
    spoolDrained: new CounterView(() => spool.counts().drained),
    spoolUnsure: new CounterView(() => spool.counts().unsure),
    spoolEvents: new Gauge(metricTable.spoolEvents, () => spool.figures().events),
    spoolBytes: new Gauge(metricTable.spoolBytes, () => spool.figures().bytes),
    spoolMaxBytes: new Gauge(metricTable.spoolMaxBytes, () => spool.maxBytes),
    spoolOldest: new Gauge(metricTable.spoolOldest, ageSeconds),
  };
}
