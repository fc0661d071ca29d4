/**
 * Every metric that a panel may name. Millrace's own come from the table that the program exposes, so that a panel
 * cannot name one that is not there; those of others are listed here, and tests ask the real thing whether it has them.
 */
import { type MetricDefinition, metricTable } from '../../src/metrics/metrics.ts';

/** What prom-client tells about the Node.js process. */
const processMetrics = {
  processCpu: { name: 'process_cpu_seconds_total', type: 'counter' },
  processMemory: { name: 'process_resident_memory_bytes', type: 'gauge' },
  eventLoopLag: { name: 'nodejs_eventloop_lag_p99_seconds', type: 'gauge' },
} as const;

/**
 * What a ClickHouse server tells at its own Prometheus endpoint (port 9363): `ProfileEvents` are the counters of
 * system.events, `Metrics` are system.metrics, `AsyncMetrics` are system.asynchronous_metrics.
 * Source: https://clickhouse.com/docs/operations/server-configuration-parameters/settings#prometheus
 */
const clickHouseMetrics = {
  serverInsertedRows: { name: 'ClickHouseProfileEvents_InsertedRows', type: 'counter' },
  serverInsertQueries: { name: 'ClickHouseProfileEvents_InsertQuery', type: 'counter' },
  serverSelectQueries: { name: 'ClickHouseProfileEvents_SelectQuery', type: 'counter' },
  serverFailedInserts: { name: 'ClickHouseProfileEvents_FailedInsertQuery', type: 'counter' },
  serverFailedSelects: { name: 'ClickHouseProfileEvents_FailedSelectQuery', type: 'counter' },
  serverSelectMicroseconds: { name: 'ClickHouseProfileEvents_SelectQueryTimeMicroseconds', type: 'counter' },
  serverDelayedInserts: { name: 'ClickHouseProfileEvents_DelayedInserts', type: 'counter' },
  serverRejectedInserts: { name: 'ClickHouseProfileEvents_RejectedInserts', type: 'counter' },
  serverDroppedBlocks: { name: 'ClickHouseProfileEvents_DuplicatedInsertedBlocks', type: 'counter' },
  serverMergedRows: { name: 'ClickHouseProfileEvents_MergedRows', type: 'counter' },
  serverFsyncs: { name: 'ClickHouseProfileEvents_FileSync', type: 'counter' },
  serverFsyncMicroseconds: { name: 'ClickHouseProfileEvents_FileSyncElapsedMicroseconds', type: 'counter' },
  serverCpuMicroseconds: { name: 'ClickHouseProfileEvents_OSCPUVirtualTimeMicroseconds', type: 'counter' },
  serverMemory: { name: 'ClickHouseMetrics_MemoryTracking', type: 'gauge' },
  serverQueries: { name: 'ClickHouseMetrics_Query', type: 'gauge' },
  serverMerges: { name: 'ClickHouseMetrics_Merge', type: 'gauge' },
  serverParts: { name: 'ClickHouseMetrics_PartsActive', type: 'gauge' },
  serverReadonlyReplicas: { name: 'ClickHouseMetrics_ReadonlyReplica', type: 'gauge' },
  serverKeeperSessions: { name: 'ClickHouseMetrics_ZooKeeperSession', type: 'gauge' },
  serverPartsOfPartition: { name: 'ClickHouseAsyncMetrics_MaxPartCountForPartition', type: 'gauge' },
  serverReplicaDelay: { name: 'ClickHouseAsyncMetrics_ReplicasMaxAbsoluteDelay', type: 'gauge' },
  serverDiskAvailable: { name: 'ClickHouseAsyncMetrics_DiskAvailable_default', type: 'gauge' },
} as const;

/** Made by Prometheus itself for every target. */
const targetMetrics = { up: { name: 'up', type: 'gauge' } } as const;

/** All of them, by the keys that dashboards use. */
export const sources = {
  ...metricTable,
  ...processMetrics,
  ...clickHouseMetrics,
  ...targetMetrics,
} as const satisfies Record<string, Omit<MetricDefinition, 'help'>>;

/** Key of a metric. */
export type MetricKey = keyof typeof sources;

/** Keys of the metrics of one type. */
export type KeyOf<Type extends MetricDefinition['type']> = {
  [Key in MetricKey]: (typeof sources)[Key]['type'] extends Type ? Key : never;
}[MetricKey];

/** Labels that a metric has: its own one, when it has one, and those of its target. */
export type LabelOf<Key extends MetricKey> =
  | 'job'
  | 'instance'
  | ((typeof sources)[Key] extends { readonly label: infer Label extends string } ? Label : never);

/** Names of the series of all metrics, as Prometheus stores them. */
export function seriesNames(): string[] {
  return Object.values<Omit<MetricDefinition, 'help'>>(sources).flatMap(({ name, type }) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
}
