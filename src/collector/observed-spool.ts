import type { Spool } from './spool.ts';

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
