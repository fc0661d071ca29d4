/** What `/status` and `/metrics` of a collector say about its spool. */
import type { BufferWriter, DependencyState } from '../buffer/buffer.ts';
import { CounterView, Gauge, type Instruments, metricTable } from '../metrics/metrics.ts';
import type { ObservedSpool } from './observed-spool.ts';

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
