/**
 * The words that statements may use, by allow-list. A word of the engine that is not needed here is not there, and
 * neither is one that a later version of the engine brings, until somebody has put it on a list.
 *
 * Which tables of `system` may be read, by allow-list. No grant can say it: chDB has no
 * `select_from_system_db_requires_grant`, and everybody has every one of them. Reading some does something: `models`
 * starts a program and connects to it, `jemalloc_profile_text` writes a file, `stack_trace` stops every thread.
 */

/** A function as `system.functions` has it. */
export interface FunctionRow {
  readonly name: string;
  /** 1 for aggregate functions. */
  readonly is_aggregate: number;
  /** The name that this one is another word for, or an empty text. */
  readonly alias_to: string;
  readonly case_insensitive: number;
  /** The chapter of ClickHouse's documentation that has it, or an empty text. */
  readonly categories: string;
}

/** What the engine knows; {@link Vocabulary} is made of it. */
interface EngineWords {
  readonly functions: readonly FunctionRow[];
  /** Names of data types, and of combinators of aggregate functions: `Array`, `If`. */
  readonly types: readonly string[];
  readonly combinators: readonly string[];
  /** Settings of queries and of tables, with the names of their types: `max_threads` is of `MaxThreads`. */
  readonly settings: ReadonlyMap<string, string>;
  readonly tableSettings: ReadonlyMap<string, string>;
  /** Time zones that are part of the engine: for any other it looks for a file. */
  readonly timezones: ReadonlySet<string>;
}

/** Chapters whose functions compute from their arguments and nothing else. */
const harmlessChapters = new Set([
  'Arithmetic',
  'Arrays',
  'Bit',
  'Bitmap',
  'Comparison',
  'Conditional',
  'Dates and Times',
  'Distance',
  'Encoding',
  'Encryption',
  'Financial',
  'Geo',
  'Geo Polygon',
  'Hash',
  'IP Address',
  'JSON',
  'Logical',
  'Map',
  'Mathematical',
  'Null',
  'NumericIndexedVector',
  'QBit',
  'Random Number',
  'Rounding',
  'String',
  'String Replacement',
  'String Search',
  'String Splitting',
  'Time Series',
  'Time Window',
  'Tuple',
  'Type Conversion',
  'URL',
  'UUID',
]);

/** Functions of other chapters, or of none, that are needed: each was looked at by itself. */
const harmlessFunctions = new Set(
  `bar blockNumber blockSize byteSize caseWithExpression colorOKLABToSRGB colorOKLCHToSRGB colorSRGBToOKLAB
  colorSRGBToOKLCH connectionId countDigits currentDatabase currentProfiles currentQueryID currentRoles currentSchemas
  currentUser defaultProfiles defaultRoles defaultValueOfArgumentType defaultValueOfTypeName digits displayName
  dumpColumnStructure enabledProfiles enabledRoles errorCodeToName finalizeAggregation flipCoordinates
  formatReadableDecimalSize formatReadableQuantity formatReadableSize formatReadableTimeDelta formatQuery
  formatQueryOrNull formatQuerySingleLine formatQuerySingleLineOrNull getSetting
  getSettingOrDefault getSizeOfEnumType getSubcolumn getTypeSerializationStreams globalVariable
  hasThreadFuzzer highlightQuery hostName identity ignore indexHint initializeAggregation initialQueryID
  initialQueryStartTime isConstant isDecimalOverflow lowCardinalityIndices lowCardinalityKeys MACNumToString
  MACStringToNum MACStringToOUI materialize minSampleSizeContinuous minSampleSizeConversion neighbor normalizedQueryHash
  normalizedQueryHashKeepNames normalizeQuery normalizeQueryKeepNames parseReadableSize parseReadableSizeOrNull
  parseReadableSizeOrZero parseTimeDelta partitionId queryID revision rowNumberInAllBlocks rowNumberInBlock
  runningAccumulate runningDifference runningDifferenceStartingWithFirstValue shardCount shardNum sleep sleepEachRow
  throwIf tokenizeQuery toColumnTypeName toTypeName transform uptime variantElement variantType version visibleWidth
  dynamicElement dynamicType`.split(/\s+/),
);

/**
 * Functions of harmless chapters that are not harmless: formats may use files, as Protobuf's its schema, flame graphs
 * the addresses of the process, and some end it.
 */
const refusedFunctions = new Set([
  'formatRow',
  'formatRowNoNewline',
  'groupFormat',
  'flameGraph',
  'aggThrow',
  // RapidJSON reads by recursion: a deep value overflows the stack, and the engine with it.
  'JSONMergePatch',
]);

/** Longest name that is looked up, characters: each combinator in it is a step of a recursion. */
const maxNameLength = 200;

/**
 * Table functions. Those of `structured` take the columns of a table as text, which could carry an expression: policy.ts
 * looks into it.
 */
const tableFunctions = new Set(
  'numbers numbers_mt zeros zeros_mt generateSeries generate_series primes view merge SQLStandardValues'.split(
    ' ',
  ),
);
export const structuredFunctions: ReadonlySet<string> = new Set([
  'values',
  'null',
  'format',
  'generateRandom',
]);

/** What looks like a call and is none, or none that the engine lists: codecs, indexes, statistics, matchers. */
const clauses = new Set(
  `CODEC NONE LZ4 LZ4HC ZSTD Delta DoubleDelta Gorilla FPC GCD T64 ALP minmax set bloom_filter tokenbf_v1 ngrambf_v1
  sparse_grams text vector_similarity STATISTICS tdigest uniq countmin COLUMNS exists grouping untuple`.split(
    /\s+/,
  ),
);

/** Engines of tables: what Millrace makes, and what views and trials need. */
export const engines: ReadonlySet<string> = new Set(
  `MergeTree ReplacingMergeTree SummingMergeTree AggregatingMergeTree CollapsingMergeTree
  VersionedCollapsingMergeTree CoalescingMergeTree GraphiteMergeTree Memory Null Atomic`.split(/\s+/),
);

/** Formats. Not: those that read a template, a schema or a registry, and those that draw. In lower case. */
export const formats: ReadonlySet<string> = new Set(
  `TabSeparated TSV TabSeparatedRaw TSVRaw Raw TabSeparatedWithNames TSVWithNames TabSeparatedRawWithNames TSVRawWithNames
  RawWithNames TabSeparatedWithNamesAndTypes TSVWithNamesAndTypes TabSeparatedRawWithNamesAndTypes
  TSVRawWithNamesAndTypes RawWithNamesAndTypes TSKV CSV CSVWithNames CSVWithNamesAndTypes CustomSeparated
  CustomSeparatedWithNames CustomSeparatedWithNamesAndTypes Values SQLInsert Vertical XML Markdown MD Null Hash One
  JSON JSONStrings JSONColumns JSONColumnsWithMetadata JSONCompact JSONCompactStrings JSONCompactColumns JSONEachRow
  JSONLines JSONL NDJSON PrettyJSONLines PrettyNDJSON PrettyJSONEachRow JSONStringsEachRow JSONCompactEachRow
  JSONCompactEachRowWithNames JSONCompactEachRowWithNamesAndTypes JSONCompactStringsEachRow
  JSONCompactStringsEachRowWithNames JSONCompactStringsEachRowWithNamesAndTypes JSONEachRowWithProgress
  JSONStringsEachRowWithProgress JSONCompactEachRowWithProgress JSONCompactStringsEachRowWithProgress
  JSONObjectEachRow JSONAsString JSONAsObject GeoJSON BSONEachRow
  Pretty PrettyNoEscapes PrettyMonoBlock PrettyNoEscapesMonoBlock PrettyCompact PrettyCompactNoEscapes
  PrettyCompactMonoBlock PrettyCompactNoEscapesMonoBlock PrettySpace PrettySpaceNoEscapes PrettySpaceMonoBlock
  PrettySpaceNoEscapesMonoBlock RowBinary RowBinaryWithNames RowBinaryWithNamesAndTypes RowBinaryWithDefaults
  RowBinaryWithNamesAndTypesAndDefaults Native Buffers Parquet ParquetMetadata Arrow ArrowStream ORC Avro MsgPack Npy
  LineAsString LineAsStringWithNames LineAsStringWithNamesAndTypes RawBLOB Prometheus`
    .toLowerCase()
    .split(/\s+/),
);

/**
 * Formats that `format()` does not read: Values, whose data are expressions, and binary ones, whose readers a crafted text brings down (that of ORC did, in a
 * trial of a few mutants). Whoever inserts them has the data of the tables in hand anyway.
 */
export const fragileFormats: ReadonlySet<string> = new Set(
  'values native parquet parquetmetadata arrow arrowstream orc avro msgpack npy bsoneachrow buffers'.split(
    ' ',
  ),
);

/** Which words a statement may use. */
export class Vocabulary {
  readonly #callable = new Set<string>(clauses);
  readonly #callableAnyCase = new Set<string>();
  readonly #refused = new Set<string>();
  readonly #refusedAnyCase = new Set<string>();
  readonly #aggregates = new Set<string>();
  readonly #combinators: readonly string[];
  /** Settings of queries, with the names of their types. */
  readonly settings: ReadonlyMap<string, string>;
  /** Settings of tables, with the names of their types. */
  readonly tableSettings: ReadonlyMap<string, string>;
  readonly timezones: ReadonlySet<string>;

  constructor(words: EngineWords) {
    this.#combinators = words.combinators;
    this.settings = words.settings;
    this.tableSettings = words.tableSettings;
    this.timezones = words.timezones;
    const chapters = new Map(words.functions.map((row) => [row.name, row]));
    for (const row of words.functions) this.#learn(row, chapters.get(row.alias_to) ?? row);
    for (const name of [...words.types, ...tableFunctions, ...structuredFunctions]) this.#callable.add(name);
  }

  #learn({ name, case_insensitive }: FunctionRow, meant: FunctionRow): void {
    const isHarmless =
      !refusedFunctions.has(meant.name) &&
      (meant.is_aggregate === 1 ||
        harmlessChapters.has(meant.categories) ||
        harmlessFunctions.has(meant.name));
    if (isHarmless && meant.is_aggregate === 1) this.#aggregates.add(name);
    if (case_insensitive === 1)
      (isHarmless ? this.#callableAnyCase : this.#refusedAnyCase).add(name.toLowerCase());
    else (isHarmless ? this.#callable : this.#refused).add(name);
  }

  /** Whether `name(…)` may be written. */
  isCallable(name: string): boolean {
    if (name.length > maxNameLength || this.isRefused(name)) return false;
    if (this.#callable.has(name) || this.#callableAnyCase.has(name.toLowerCase())) return true;
    return this.#isCombined(name);
  }

  /**
   * Whether the engine has a function of this name that may not be used. Not by its name alone either:
   * `arrayMap(file, ['/p'])` calls it.
   */
  isRefused(name: string): boolean {
    return this.#refused.has(name) || this.#refusedAnyCase.has(name.toLowerCase());
  }

  /** `sumIf`, `uniqStateOrNull`: an aggregate function and combinators. */
  #isCombined(name: string): boolean {
    if (this.#aggregates.has(name)) return true;
    return this.#combinators.some(
      (suffix) => name.endsWith(suffix) && this.isCallable(name.slice(0, -suffix.length)),
    );
  }
}

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
