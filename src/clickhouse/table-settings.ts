/** The settings of the tables: what makes an insert count once, and what makes it survive power loss. */

/** Blocks that ClickHouse remembers to recognise a repeated insert: 100,000 inserts, by design far more than a retry needs. */
const deduplicationWindow = 100_000;

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

/** Settings of a new table, as they stand behind SETTINGS. */
export function formatTableSettings(isReplicated: boolean): string {
  return format(Object.entries(isReplicated ? replicatedSettings : singleSettings));
}

/**
 * Settings that an existing table does not name, as they stand behind MODIFY SETTING; undefined when it names all.
 * One that it names with another value was chosen by somebody and stays.
 * @param engineFull the column of that name of `system.tables`
 */
export function formatMissingSettings(engineFull: string): string | undefined {
  const engine = /^\w+/.exec(engineFull)?.[0];
  const wanted = { MergeTree: singleSettings, ReplicatedMergeTree: replicatedSettings }[engine ?? ''] ?? {};
  const named = engineFull.slice(engineFull.lastIndexOf(' SETTINGS ') + 1);
  const missing = Object.entries(wanted).filter(([name]) => !new RegExp(`\\b${name} =`).test(named));
  return missing.length === 0 ? undefined : format(missing);
}

function format(settings: readonly (readonly [name: string, value: number])[]): string {
  return settings.map(([name, value]) => `${name} = ${value}`).join(', ');
}
