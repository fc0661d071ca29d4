/** Which settings a request may bring, in its URL, its statement or a SET, and up to which value. */
import { EngineError } from './error.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Upper limits by the name of the setting, both for what a request gets by default and for what it may ask for. */
export type Limits = ReadonlyMap<string, number>;

/** Types of settings whose values are numbers or words, and so can name no file, host or expression. */
const numeric =
  /^(U?Int(32|64)|Float|Double|Bool|NonZeroUInt64|Seconds|Milliseconds|MaxThreads|(UInt64|Float|Bool)Auto)$/;
/** Types whose values are free text: those of {@link texts} alone may be set. */
const textual = /^(String|Map|URI|Dialect|Timezone|Char|SQLSecurityType|)$/;

const number = /^(-?\d{1,20}(\.\d{1,20})?|true|false|auto(\(\d{1,4}\))?|'(auto|true|false)')$/i;
const word = /^\w{1,64}$/;

/** Settings with a free text, each of which is used as nothing but that text. */
const texts = new Set([
  'insert_deduplication_token',
  'log_comment',
  'format_csv_delimiter',
  'format_csv_null_representation',
  'format_tsv_null_representation',
  'format_custom_field_delimiter',
  'format_custom_row_before_delimiter',
  'format_custom_row_after_delimiter',
  'format_custom_row_between_delimiter',
  'format_custom_result_before_delimiter',
  'format_custom_result_after_delimiter',
  'bool_true_representation',
  'bool_false_representation',
  'output_format_pretty_grid_charset',
  'output_format_sql_insert_table_name',
  'format_json_object_each_row_column_for_object_name',
  'count_distinct_implementation',
  'force_data_skipping_indices',
  'ignore_data_skipping_indices',
]);

/** Beginnings of names whose settings shape a result or its computation, and nothing else. */
const families = [
  'output_format_',
  'input_format_',
  'format_csv_',
  'format_tsv_',
  'format_custom_',
  'format_json_',
  'format_binary_',
  'date_time_',
  'type_json_',
  'json_type_',
  'cast_',
  'optimize_',
  'query_plan_',
  'join_',
  'group_by_',
  'distinct_',
  'sort_',
  'result_overflow_',
  'read_overflow_',
  'timeout_overflow_',
  'set_overflow_',
  'transfer_overflow_',
  'insert_',
  'async_insert',
  'wait_for_async_insert',
  'deduplicate_',
  'use_',
  'enable_',
  'force_',
  'prefer_',
  'lightweight_',
  'http_',
  'allow_suspicious_',
];

/** Settings of other names that are as harmless. */
const names = new Set(
  `max_rows_to_read max_bytes_to_read max_rows_to_read_leaf max_bytes_to_read_leaf max_result_rows max_result_bytes
  max_block_size preferred_block_size_bytes max_insert_block_size max_insert_threads min_insert_block_size_rows
  min_insert_block_size_bytes max_threads max_final_threads max_execution_time max_estimated_execution_time
  max_memory_usage max_query_size max_partitions_per_insert_block max_rows_in_set max_bytes_in_set max_rows_in_join
  max_bytes_in_join max_rows_in_distinct max_bytes_in_distinct max_rows_to_group_by max_rows_to_sort max_bytes_to_sort
  max_rows_to_transfer max_bytes_to_transfer max_columns_to_read max_bytes_before_external_group_by
  max_bytes_before_external_sort max_bytes_ratio_before_external_group_by max_bytes_ratio_before_external_sort
  max_joined_block_size_rows max_temporary_columns max_dynamic_subcolumns_in_json_type_parsing
  extremes totals_mode any_join_distinct_right_table_keys union_default_mode except_default_mode
  intersect_default_mode join_algorithm join_use_nulls join_default_strictness partial_merge_join transform_null_in
  aggregate_functions_null_for_empty data_type_default_nullable flatten_nested describe_include_subcolumns
  empty_result_for_aggregation_by_empty_set final limit offset mutations_sync alter_sync short_circuit_function_evaluation
  low_cardinality_allow_in_native_format send_progress_in_http_headers cancel_http_readonly_queries_on_client_close
  throw_on_max_partitions_per_insert_block interval_output_format convert_query_to_cnf priority
  analyzer_compatibility_join_using_top_level_identifier parallel_view_processing legacy_column_name_of_tuple_literal
  allow_experimental_json_type allow_experimental_variant_type allow_experimental_dynamic_type
  allow_experimental_object_type allow_experimental_analyzer allow_simdjson async_query_sending_for_remote
  system_events_show_zero_values
  materialize_ttl_after_modify load_balancing min_bytes_to_use_direct_io`.split(/\s+/),
);

/**
 * Refused although a family has it: the first two let data of VALUES be expressions (query.ts says when), the others cost
 * without bound, lift limits of recursion, or tell how to write files.
 */
const refused = new Set([
  'input_format_values_interpret_expressions',
  'input_format_values_deduce_templates_of_expressions',
  'input_format_json_max_depth',
  'input_format_binary_max_type_complexity',
  'use_hedged_requests',
  'http_response_headers',
  'http_max_fields',
]);

/**
 * Lets a setting of a query pass, or not.
 * @param value as written: a text in a statement has its quotes, one in a URL has none
 * @throws EngineError 115 for one that ClickHouse does not know, 497 for one that may not be set, or not so high
 */
export function checkSetting(vocabulary: Vocabulary, limits: Limits, name: string, value: string): void {
  const type = vocabulary.settings.get(name);
  if (type === undefined) throw new EngineError(115, 'UNKNOWN_SETTING', `Unknown setting '${name}'`);
  if (texts.has(name)) return;
  if (name === 'session_timezone' && vocabulary.timezones.has(value.replace(/^'(.*)'$/, '$1'))) return;
  const isKnown = names.has(name) || families.some((family) => name.startsWith(family));
  if (!isKnown || refused.has(name) || textual.test(type)) throw denied(name);
  const plain = value.replace(/^'(.*)'$/, '$1');
  if (!(numeric.test(type) ? number : word).test(plain)) {
    throw new EngineError(
      497,
      'ACCESS_DENIED',
      `Setting ${name} of the embedded ClickHouse takes a ${numeric.test(type) ? 'number' : 'word'}`,
    );
  }
  checkLimit(limits, name, plain);
}

/** Settings of tables whose value is one of a few words. */
const tableWords = new Set(['object_shared_data_serialization_version']);

/** Lets a setting of a table pass, or not: numbers and a few words, since the others name disks, policies and paths. */
export function checkTableSetting(vocabulary: Vocabulary, name: string, value: string): boolean {
  const type = vocabulary.tableSettings.get(name);
  if (type === undefined) return false;
  if (tableWords.has(name) ? !/^'\w{1,64}'$/.test(value) : !numeric.test(type) || !number.test(value))
    throw denied(name);
  return true;
}

/** 0 stands for no limit. */
function checkLimit(limits: Limits, name: string, value: string): void {
  const limit = limits.get(name);
  if (limit === undefined || /^auto/i.test(value)) return;
  const wanted = Number(value);
  if (wanted > 0 && wanted <= limit) return;
  throw new EngineError(
    497,
    'ACCESS_DENIED',
    `Setting ${name} of the embedded ClickHouse takes more than 0 and up to ${limit}`,
  );
}

function denied(name: string): EngineError {
  return new EngineError(
    497,
    'ACCESS_DENIED',
    `Setting ${name} cannot be changed in the embedded ClickHouse: docs/security.md has those that can`,
  );
}
