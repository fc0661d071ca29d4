/** The settings of the tables: what makes an insert count once, survive power loss, and stay cheap whatever its keys are. */

import { quoteText } from './client.ts';

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
export interface TableKind {
  readonly isReplicated: boolean;
  /** Whether it is `events`: it has a column of JSON. */
  readonly hasEvents: boolean;
  /** Whether the server knows {@link lateSetting}. */
  readonly isLate: boolean;
}

/** Settings of a new table, as they stand behind SETTINGS. */
export function formatTableSettings(kind: TableKind): string {
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
