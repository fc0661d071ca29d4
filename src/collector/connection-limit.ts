/** Bounds the connections to a collector. */
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { CounterView, Gauge, type Instruments, metricTable } from '../metrics/metrics.ts';

/** Counts open connections, and says when there are too many: each one takes a descriptor and some memory. */
export class ConnectionLimit {
  /** Most connections that are open at a time. */
  readonly max: number;
  /** Connections that were closed at once. */
  refused = 0;
  #open = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#open;
  }

  /** Counts a connection that was opened; false: it is one too many, and is to be closed at once. */
  tryOpen(): boolean {
    if (++this.#open <= this.max) return true;
    this.refused++;
    return false;
  }

  /** Counts that a connection was closed, one that was too many as well. */
  closed(): void {
    this.#open--;
  }
}

/** Descriptors that are left for everything but connections: the buffer, log files, the listening socket. */
const keptDescriptors = 200;

/**
 * Makes the limit; lower than wanted where this process may have too few files open: a server without a
 * descriptor cannot even refuse a connection, and would try to take it over and over.
 */
export function limitConnections(wanted: number, log: Logger): ConnectionLimit {
  const descriptors = readDescriptorLimit() ?? Number.POSITIVE_INFINITY;
  const max = Math.max(1, Math.min(wanted, descriptors - keptDescriptors));
  if (max < wanted) {
    log.warn(
      `accepting at most ${max} connections instead of --max-connections ${wanted}: the system allows this process only ${descriptors} open files; raise that limit (ulimit -n, LimitNOFILE)`,
    );
  }
  return new ConnectionLimit(max);
}

/** For `/status`. */
export function describeConnections({ open, max, refused }: ConnectionLimit): object {
  return { open, max, refused };
}

/** For `/metrics`. */
export function createConnectionInstruments(connections: ConnectionLimit): Instruments {
  return {
    connections: new Gauge(metricTable.connections, () => connections.open),
    connectionsRefused: new CounterView(() => connections.refused),
  };
}

/** Descriptors that this process may have open at a time; undefined where the system does not tell. */
function readDescriptorLimit(): number | undefined {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
