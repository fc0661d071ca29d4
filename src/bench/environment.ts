/** What figures depend on: the machine, the versions, the collectors, and how requests were sent. */
import { version } from '../version.ts';
import type { CollectorInfo } from './collector-info.ts';
import { describeMachine, findCommit, type Machine } from './machine.ts';
import type { Site } from './measure.ts';

/** What figures depend on. */
export interface Environment {
  /** RFC 3339. */
  readonly started_at: string;
  readonly machine: Machine;
  readonly versions: {
    readonly millrace: string;
    /** What was checked out where this program lies. */
    readonly commit: string | null;
    /** Null when ClickHouse was not asked. */
    readonly clickhouse: string | null;
  };
  readonly collectors: readonly CollectorInfo[];
  /** How requests were sent. */
  readonly options: {
    readonly path: string;
    readonly payload: string;
    readonly bytes_per_event: number;
    readonly events_per_post: number;
    readonly connections: number;
    readonly connection_use: 'kept' | 'fresh';
    readonly answer_timeout_ms: number;
    readonly warm_up_ms: number;
  };
}

/** Describes what figures depend on. */
export function describeEnvironment(
  { load, warmUpMs, store }: Pick<Site, 'load' | 'warmUpMs' | 'store'>,
  collectors: readonly CollectorInfo[],
): Environment {
  const { payload, connections, connectionUse, answerTimeoutMs, path } = load;
  return {
    started_at: new Date().toISOString(),
    machine: describeMachine(),
    versions: { millrace: version, commit: findCommit(), clickhouse: store?.version ?? null },
    collectors,
    options: {
      path,
      payload: payload.name,
      bytes_per_event: Math.round(payload.bytesPerEvent),
      events_per_post: payload.eventsPerPost,
      connections,
      connection_use: connectionUse,
      answer_timeout_ms: answerTimeoutMs,
      warm_up_ms: warmUpMs,
    },
  };
}
