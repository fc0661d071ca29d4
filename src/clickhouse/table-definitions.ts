/**
 * What the tables are made of: statements, columns, and the settings that make an insert count once and stay cheap.
 *
 * The column `raw`: the bytes of an event as they were posted, and how long they stay.
 *
 * The settings of the tables: what makes an insert count once, survive power loss, and stay cheap whatever its keys
 * are.
 */
import type { Column } from '../schema/columns.ts';
import { quoteName, quoteText } from './client.ts';

/** Blocks that ClickHouse remembers to recognise a repeated insert: 100,000 inserts, by design far more than a retry needs. */
const deduplicationWindow = 100_000;

/**
 * Of `events`, whatever keys its events have. Below `min_bytes_for_wide_part` (uncompressed) a part is a few files and not
 * some for each path. `object_shared_data_serialization_version` is how paths beyond `max_dynamic_paths` are stored: what
 * ClickHouse 26.7 does by default took 1.4 GB to merge 14,550 events of 7,520 distinct paths, and this 0.5 GB, at half the
 * size and no slower to read (bench/wide-events.mjs).
 */
const wideSettings: Readonly<Record<string, number | string>> = {
  min_bytes_for_wide_part: 128 * 1024 ** 2,
  object_shared_data_serialization_version: 'map_with_buckets',
};
/** Settings that servers before 25.9 do not have. */
export const lateSetting = 'object_shared_data_serialization_version';

/**
 * Of tables that one server holds alone. By default ClickHouse answers an insert while its part is in the page
 * cache only, and removes the parts that a merge has read while the merged one is there only, too: power loss then
 * takes what was acknowledged, even long ago.
 *
 * `fsync_after_insert` flushes the files of a new part, `fsync_part_directory` the rename that makes it one, and
 * the other two do the same after a merge of any size. What each loses when it is missing was tried by cutting
 * the power of a file system: docs/power-loss.md.
 * Source: https://clickhouse.com/docs/reference/settings/merge-tree-settings/fsync
 */
const singleSettings: Readonly<Record<string, number>> = {
  non_replicated_deduplication_window: deduplicationWindow,
  fsync_after_insert: 1,
  fsync_part_directory: 1,
  min_rows_to_fsync_after_merge: 1,
  min_compressed_bytes_to_fsync_after_merge: 1,
};

/** Of replicated tables: a part that one server loses comes back from another. */
const replicatedSettings: Readonly<Record<string, number>> = {
  replicated_deduplication_window: deduplicationWindow,
  replicated_deduplication_window_seconds: 604_800,
};

/** Which settings a table gets. */
interface TableKind {
  readonly isReplicated: boolean;
  /** Whether it is `events`: it has a column of JSON. */
  readonly hasEvents: boolean;
  /** Whether the server knows {@link lateSetting}. */
  readonly isLate: boolean;
}

/** Settings of a new table, as they stand behind SETTINGS. */
function formatTableSettings(kind: TableKind): string {
  return format(settingsOf(kind));
}

/**
 * Settings that an existing table does not name, as they stand behind MODIFY SETTING; undefined when it names all.
 * One that it names with another value was chosen by somebody and stays.
 * @param engineFull the column of that name of `system.tables`
 */
export function formatMissingSettings(
  engineFull: string,
  kind: Omit<TableKind, 'isReplicated'>,
): string | undefined {
  const engine = /^\w+/.exec(engineFull)?.[0] ?? '';
  if (engine !== 'MergeTree' && engine !== 'ReplicatedMergeTree') return undefined;
  const named = engineFull.slice(engineFull.lastIndexOf(' SETTINGS ') + 1);
  const wanted = settingsOf({ ...kind, isReplicated: engine === 'ReplicatedMergeTree' });
  const missing = wanted.filter(([name]) => !new RegExp(`\\b${name} =`).test(named));
  return missing.length === 0 ? undefined : format(missing);
}

type Setting = readonly [name: string, value: number | string];

function settingsOf({ isReplicated, hasEvents, isLate }: TableKind): Setting[] {
  const wide = Object.entries(hasEvents ? wideSettings : {}).filter(
    ([name]) => isLate || name !== lateSetting,
  );
  return [...Object.entries(isReplicated ? replicatedSettings : singleSettings), ...wide];
}

function format(settings: readonly Setting[]): string {
  return settings
    .map(([name, value]) => `${name} = ${typeof value === 'number' ? value : quoteText(value)}`)
    .join(', ');
}

/** How long the bytes of an event stay in its row, milliseconds after it was received. */
export type KeepRaw = 'always' | 'never' | number;

/**
 * The column as CREATE TABLE and ALTER TABLE have it. Compressed it takes about as much as `data`: docs/data.md has
 * figures. Where the bytes are not sent it is empty, which takes nothing.
 */
function rawColumn(keepRaw: KeepRaw): string {
  const seconds = secondsOf(keepRaw);
  const ttl = seconds === undefined ? '' : ` TTL toDateTime(received_at) + toIntervalSecond(${seconds})`;
  return `raw String CODEC(ZSTD(3))${ttl}`;
}

/**
 * What ALTER TABLE must do for a table to have the column and keep it as long; undefined: nothing. A TTL of another form
 * was chosen by somebody and stays.
 * @param createTableQuery the column of that name of `system.tables`
 */
export function changeOfRaw(createTableQuery: string, keepRaw: KeepRaw): string | undefined {
  const column = /`raw` String[^,]*/.exec(createTableQuery)?.[0];
  if (column === undefined) return `ADD COLUMN IF NOT EXISTS ${rawColumn(keepRaw)}`;
  const ttl = column.split(' TTL ')[1];
  const seconds = /^toDateTime\(received_at\) \+ toIntervalSecond\((\d+)\)/.exec(ttl ?? '')?.[1];
  if (ttl !== undefined && seconds === undefined) return undefined;
  const wanted = secondsOf(keepRaw);
  if (wanted === undefined) return seconds === undefined ? undefined : 'MODIFY COLUMN raw REMOVE TTL';
  return String(wanted) === seconds ? undefined : `MODIFY COLUMN ${rawColumn(keepRaw)}`;
}

/** Seconds after which the bytes are removed; undefined: never. */
function secondsOf(keepRaw: KeepRaw): number | undefined {
  return typeof keepRaw === 'number' ? Math.ceil(keepRaw / 1_000) : undefined;
}

/** Where the tables are and what they hold. */
export interface TablesOptions {
  readonly database: string;
  /** Cluster for ON CLUSTER; tables are replicated then. */
  readonly cluster: string | undefined;
  readonly columns: readonly Column[];
  /** How long `events` and `repeats` keep the bytes of each event. Default: always. */
  readonly keepRaw?: KeepRaw | undefined;
  /** Paths of `data` that get a column of their own in each part of a new table, 0 to 1024. Default: 128. */
  readonly maxDynamicPaths?: number | undefined;
}

/**
 * Rows are sorted by event and time. `event` is stored beside the JSON for that: a sorting key on a path of
 * `data` would forbid every later change of `data` (ALTER_OF_COLUMN_IS_FORBIDDEN, seen on 26.7).
 */
export function createEvents(name: string, options: TablesOptions, isLate: boolean): string {
  const { columns, cluster, keepRaw = 'always' } = options;
  const has = (column: string) => columns.some((candidate) => candidate.name === column);
  const lines = [
    `event_id String${has('id') ? ' DEFAULT data.id' : ''}`,
    "received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))",
    "stored_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1))",
    'topic LowCardinality(String)',
    'topic_id LowCardinality(String)',
    'partition UInt32',
    'offset UInt64 CODEC(Delta, ZSTD(1))',
    `data ${jsonType(options)}`,
    ...columns.map(({ name: column, type }) => {
      const kind = column === 'event' ? 'DEFAULT' : 'ALIAS';
      return `${quoteName(column)} ${type} ${kind} data.${quoteName(column)}`;
    }),
    rawColumn(keepRaw),
    'INDEX offset_range offset TYPE minmax GRANULARITY 1',
  ];
  const order = has('event') ? '(event, received_at)' : 'received_at';
  const layout = `PARTITION BY toYYYYMM(received_at) ORDER BY ${order}`;
  return createTable(name, { lines, layout, cluster, hasEvents: true, isLate });
}

export function createDeadLetters(name: string, { cluster }: TablesOptions): string {
  const lines = [
    ...identityLines,
    "refused_at DateTime64(3, 'UTC')",
    'event_id String',
    'code UInt32',
    '`column` String',
    'reason String',
    'raw String',
  ];
  return createTable(name, { lines, layout: identityLayout, cluster });
}

/** `earlier_offset` is where the last record with the same id lies, which may be a repeat itself: same topic, same partition. */
export function createRepeats(name: string, { cluster, keepRaw = 'always' }: TablesOptions): string {
  const lines = [...identityLines, 'event_id String', 'earlier_offset UInt64', rawColumn(keepRaw)];
  return createTable(name, { lines, layout: identityLayout, cluster });
}

const identityLines = [
  'topic LowCardinality(String)',
  'topic_id LowCardinality(String)',
  'partition UInt32',
  'offset UInt64',
  "received_at DateTime64(3, 'UTC')",
];

const identityLayout = 'PARTITION BY toYYYYMM(received_at) ORDER BY (topic_id, partition, offset)';

/** A table to make. */
interface TableDefinition {
  /** Columns and indexes, one each. */
  readonly lines: readonly string[];
  /** What stands behind ENGINE: its partitions and its order. */
  readonly layout: string;
  /** Cluster for ON CLUSTER; the table is replicated then. */
  readonly cluster: string | undefined;
  /** Whether it is `events`. Default: no. */
  readonly hasEvents?: boolean;
  /** Whether the server knows {@link lateSetting}. Default: no. */
  readonly isLate?: boolean;
}

/** Statement that makes a table of Millrace unless it exists: replicated on a cluster, and with a window of its own. */
export function createTable(
  name: string,
  { lines, layout, cluster, hasEvents = false, isLate = false }: TableDefinition,
): string {
  const settings = formatTableSettings({ isReplicated: cluster !== undefined, hasEvents, isLate });
  const head = `CREATE TABLE IF NOT EXISTS ${name}${cluster === undefined ? '' : ` ON CLUSTER ${quoteName(cluster)}`}`;
  const engine = cluster === undefined ? 'MergeTree' : 'ReplicatedMergeTree';
  return `${head} (\n  ${lines.join(',\n  ')}\n) ENGINE = ${engine} ${layout} SETTINGS ${settings}`;
}

/** Beyond so many, paths share columns: a part has files for each that has one of its own. Measured: docs/data.md. */
const defaultDynamicPaths = 128;

function jsonType({ columns, maxDynamicPaths = defaultDynamicPaths }: TablesOptions): string {
  const paths = columns.map(({ name, type }) => `${quoteName(name)} ${type}`);
  return `JSON(${[`max_dynamic_paths = ${maxDynamicPaths}`, ...paths].join(', ')})`;
}

/**
 * A property that came after the table: an alias that converts the dynamic path when it is read. Making the
 * path typed would rewrite every row, and a stored value of another type would leave the mutation stuck and
 * the table unreadable (seen on 26.7).
 */
export function lateAlias({ name, type }: Column): string {
  const path = `data.${quoteName(name)}`;
  const value = type.includes('DateTime64')
    ? `parseDateTime64BestEffortOrNull(toString(${path}), 3, 'UTC')`
    : `CAST(${path}, ${quoteText(type)})`;
  return `${quoteName(name)} ${type} ALIAS ${value}`;
}

/** Columns of `events` that the streamer fills, in the order of the insert; where it is kept, `raw` comes after them. */
export const insertedColumns: readonly string[] = [
  'received_at',
  'topic',
  'topic_id',
  'partition',
  'offset',
  'event_id',
  'data',
];
