/**
 * Which tables of `system` may be read, by allow-list. No grant can say it: chDB has no
 * `select_from_system_db_requires_grant`, and everybody has every one of them. Reading some does something: `models`
 * starts a program and connects to it, `jemalloc_profile_text` writes a file, `stack_trace` stops every thread.
 */

/** Those that describe the engine, its figures, and the tables that one has a right to. */
const forEverybody =
  `aggregate_function_combinators asynchronous_metrics build_options codecs collations columns
  completions constraints contributors current_roles dashboards data_skipping_indices data_skipping_index_types
  data_type_families database_engines databases disks documentation enabled_roles events formats functions keywords
  licenses merge_tree_settings merges metrics numbers numbers_mt one parts parts_columns primes privileges
  projection_parts projection_parts_columns projections settings settings_changes storage_policies table_engines
  table_functions tables time_zones tokenizers unicode zeros zeros_mt`.split(/\s+/);

/** Those that also tell what others ask, and what went wrong with it. */
const forOwner = `asynchronous_inserts asynchronous_insert_log asynchronous_loader asynchronous_metric_log
  background_schedule_pool backups backup_log clusters detached_parts detached_tables dictionaries dropped_tables
  dropped_tables_parts error_log errors jemalloc_bins metric_log moves mutations part_log processes query_cache
  query_condition_cache query_log query_thread_log query_views_log server_settings text_log trace_log user_processes
  view_refreshes warnings`.split(/\s+/);

/** Tables of `system` that each role may read. */
export const systemTables: Readonly<Record<'owner' | 'reader', ReadonlySet<string>>> = {
  owner: new Set([...forEverybody, ...forOwner]),
  reader: new Set(forEverybody),
};
