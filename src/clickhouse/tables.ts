/** The tables: their names, their statements, and making them fit the schema. */
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../errors.ts';
import type { Column } from '../schema/columns.ts';
import { type ClickHouse, quoteName, quoteText } from './client.ts';
import { ClickHouseError } from './errors.ts';
import { changeOfRaw, type KeepRaw, rawColumn } from './raw-column.ts';
import { formatMissingSettings, formatTableSettings, lateSetting } from './table-settings.ts';

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

/** Names of the tables, quoted for use in statements. */
export interface Tables {
  /** Unquoted. */
  readonly database: string;
  readonly events: string;
  readonly deadLetters: string;
  /** Records that repeat the id of an earlier one: each is one row here and none in `events`. */
  readonly repeats: string;
  /** Whether they are on a cluster. */
  readonly isReplicated: boolean;
}

/**
 * Settings of every insert. One block per insert, its identity the token alone: docs/delivery.md says why
 * each is needed.
 */
export const insertSettings: Readonly<Record<string, string | number>> = {
  async_insert: 0,
  wait_end_of_query: 1,
  insert_deduplicate: 1,
  deduplicate_insert: 'enable',
  deduplicate_blocks_in_dependent_materialized_views: 1,
  use_strict_insert_block_limits: 1,
  input_format_parallel_parsing: 0,
  // An id that is NULL is taken from the event, and so is one of a block without ids.
  input_format_null_as_default: 1,
  input_format_defaults_for_omitted_fields: 1,
  // How the types of a Native block are written, and that a former type of `data` is cast to the one of the table.
  input_format_native_decode_types_in_binary_format: 0,
  input_format_native_allow_types_conversion: 1,
  max_insert_block_size: 1_048_449,
  min_insert_block_size_bytes: 268_402_944,
  date_time_input_format: 'best_effort',
  // What a value is, its own JSON says: a text stays a text whatever it looks like and whatever else is in the insert,
  // and so does a boolean in an array. Typed paths are parsed all the same.
  input_format_try_infer_dates: 0,
  input_format_try_infer_datetimes: 0,
  input_format_try_infer_variants: 0,
  input_format_json_try_infer_numbers_from_strings: 0,
  input_format_json_read_bools_as_numbers: 0,
  input_format_json_read_bools_as_strings: 0,
  input_format_json_read_numbers_as_strings: 0,
  // Arrays of whole and other numbers are arrays of Float64: docs/data.md says what that changes.
  input_format_try_infer_integers: 1,
  // A path is there once, and dots in keys are nesting.
  type_json_skip_duplicated_paths: 0,
  type_json_skip_invalid_typed_paths: 0,
  json_type_escape_dots_in_keys: 0,
  // Receive times of a wrong clock may be spread over more months than ClickHouse allows by default.
  max_partitions_per_insert_block: 0,
};

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

/** Columns of `dead_letters` in the order in which its rows are written. */
const letterColumns = [
  ...['topic', 'topic_id', 'partition', 'offset', 'received_at', 'refused_at', 'event_id', 'code', 'column'],
  ...['reason', 'raw'],
];

/** Columns of `repeats` in the order in which its rows are written; where it is kept, `raw` comes after them. */
const repeatColumns = [
  'topic',
  'topic_id',
  'partition',
  'offset',
  'received_at',
  'event_id',
  'earlier_offset',
];

/** Names the tables. */
export function nameTables({ database, cluster }: Pick<TablesOptions, 'database' | 'cluster'>): Tables {
  const prefix = `${quoteName(database)}.`;
  return {
    database,
    events: `${prefix}events`,
    deadLetters: `${prefix}dead_letters`,
    repeats: `${prefix}repeats`,
    isReplicated: cluster !== undefined,
  };
}

/** The tables that a delivered record may be in: it is in one of them. */
export function deliveryTables({ events, deadLetters, repeats }: Tables): readonly [string, string, string] {
  return [events, deadLetters, repeats];
}

/** The statement that inserts a block as the streamer writes it, into these columns. */
export function insertEventsStatement(
  { events }: Pick<Tables, 'events'>,
  columns: readonly string[],
): string {
  return `INSERT INTO ${events} (${columns.join(', ')}) FORMAT Native`;
}

/** The statement that inserts dead letters in RowBinary. */
export function insertLettersStatement({ deadLetters }: Pick<Tables, 'deadLetters'>): string {
  return `INSERT INTO ${deadLetters} (${letterColumns.map(quoteName).join(', ')}) FORMAT RowBinary`;
}

/** The statement that inserts repeats in RowBinary, their bytes last if they are kept. */
export function insertRepeatsStatement({ repeats }: Pick<Tables, 'repeats'>, withRaw: boolean): string {
  const columns = withRaw ? [...repeatColumns, 'raw'] : repeatColumns;
  return `INSERT INTO ${repeats} (${columns.map(quoteName).join(', ')}) FORMAT RowBinary`;
}

/**
 * Names the tables as they are: whether they are replicated is up to who made them.
 * @throws ClickHouseError, ClickHouseUnavailableError
 */
export async function findTables(
  clickhouse: ClickHouse,
  options: Pick<TablesOptions, 'database' | 'cluster'>,
): Promise<Tables> {
  const [row] = await clickhouse.query<{ readonly engine: string }>(
    "SELECT engine FROM system.tables WHERE database = {database:String} AND name = 'events'",
    { params: { database: options.database } },
  );
  const named = nameTables(options);
  return row === undefined ? named : { ...named, isReplicated: row.engine.startsWith('Replicated') };
}

/** How rows of `events` are written. */
export interface RowStructure {
  /** The inserted columns and their types, `raw` left out, quoted as the argument of a table function. */
  readonly columns: string;
  /** Type of `data`. */
  readonly dataType: string;
  /** Whether rows carry the bytes of their events: they are wanted, and the tables have a column for them. */
  readonly withRaw: boolean;
}

/**
 * Structure of the rows of `events` as the table has it now. Not that of the schema: a path that the schema no
 * longer names is still typed in the table.
 */
export async function readStructure(
  clickhouse: ClickHouse,
  { database, keepRaw = 'always' }: Pick<TablesOptions, 'database' | 'keepRaw'>,
): Promise<RowStructure> {
  const columns = await readColumns(clickhouse, database);
  const types = columns.get('events') ?? new Map<string, string>();
  const withRaw = keepRaw !== 'never' && types.has('raw') && columns.get('repeats')?.has('raw') === true;
  const list = insertedColumns.map((name) => `${quoteName(name)} ${types.get(name)}`).join(', ');
  return { columns: quoteText(list), dataType: types.get('data') ?? 'JSON', withRaw };
}

/** One change that the tables need. */
export interface TableChange {
  readonly sql: string;
  /** What it does, for a person. */
  readonly description: string;
  /** False when what it makes is there already: it is harmless then. */
  readonly isNeeded: boolean;
  /**
   * Events can be delivered without it, so that a user who may not alter tables can start all the same: what is amiss
   * then.
   */
  readonly without?: string;
}

/**
 * What has to be done for the tables to fit the schema; nothing is changed.
 * @throws OperatorError exit 78 when the table and the schema disagree in a way that no safe change mends
 */
export async function planTables(clickhouse: ClickHouse, options: TablesOptions): Promise<TableChange[]> {
  const { database, cluster, columns } = options;
  const tables = nameTables(options);
  const [existing, definitions, databases, isLate] = await Promise.all([
    readColumns(clickhouse, database),
    readDefinitions(clickhouse, database),
    clickhouse.query('SELECT name FROM system.databases WHERE name = {database:String}', {
      params: { database },
    }),
    knowsLateSetting(clickhouse),
  ]);
  const onCluster = cluster === undefined ? '' : ` ON CLUSTER ${quoteName(cluster)}`;
  const changes: TableChange[] = [
    {
      sql: `CREATE DATABASE IF NOT EXISTS ${quoteName(database)}${onCluster}`,
      description: `create database ${database}`,
      isNeeded: databases.length === 0,
    },
    {
      sql: createDeadLetters(tables.deadLetters, options),
      description: 'create table dead_letters',
      isNeeded: !existing.has('dead_letters'),
    },
    {
      sql: createRepeats(tables.repeats, options),
      description: 'create table repeats',
      isNeeded: !existing.has('repeats'),
    },
  ];
  changes.push(...planSettings(definitions, options, isLate), ...planRaw(definitions, options));
  const types = existing.get('events');
  if (types === undefined) {
    const sql = createEvents(tables.events, options, isLate);
    return [...changes, { sql, description: 'create table events', isNeeded: true }];
  }
  refuseChangedTypes(types, options);
  const missing = columns.filter(({ name }) => !types.has(name));
  return [
    ...changes,
    ...missing.map((column) => ({
      sql: `ALTER TABLE ${tables.events}${onCluster} ADD COLUMN IF NOT EXISTS ${lateAlias(column)}`,
      description: `add column ${column.name} ${column.type} to table events`,
      isNeeded: true,
    })),
  ];
}

/** Types by column, by table: of those that are there. */
async function readColumns(
  clickhouse: ClickHouse,
  database: string,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  const columns = await clickhouse.query<{
    readonly table: string;
    readonly name: string;
    readonly type: string;
  }>(
    `SELECT table, name, type FROM system.columns
     WHERE database = {database:String} AND table IN ('events', 'dead_letters', 'repeats')`,
    { params: { database } },
  );
  const tables = new Map<string, Map<string, string>>();
  for (const { table, name, type } of columns) {
    const types = tables.get(table) ?? new Map<string, string>();
    tables.set(table, types.set(name, type));
  }
  return tables;
}

/** A table as the server says that it was made. */
interface Definition {
  readonly name: string;
  readonly engine_full: string;
  readonly create_table_query: string;
}

function readDefinitions(clickhouse: ClickHouse, database: string): Promise<Definition[]> {
  return clickhouse.query<Definition>(
    `SELECT name, engine_full, create_table_query FROM system.tables
     WHERE database = {database:String} AND name IN ('events', 'dead_letters', 'repeats')`,
    { params: { database } },
  );
}

async function knowsLateSetting(clickhouse: ClickHouse): Promise<boolean> {
  const sql = 'SELECT name FROM system.merge_tree_settings WHERE name = {name:String}';
  return (await clickhouse.query(sql, { params: { name: lateSetting } })).length > 0;
}

/** Settings that tables of an earlier version do not have. */
function planSettings(
  definitions: readonly Definition[],
  options: TablesOptions,
  isLate: boolean,
): TableChange[] {
  return definitions.flatMap(({ name, engine_full }) => {
    const missing = formatMissingSettings(engine_full, { hasEvents: name === 'events', isLate });
    if (missing === undefined) return [];
    return {
      sql: `${alterTable(name, options)} MODIFY SETTING ${missing}`,
      description: `set ${missing} of table ${name}`,
      isNeeded: true,
      without: 'rows can be lost or repeated when the machine of ClickHouse loses power',
    };
  });
}

/** The column `raw` of tables that are there: made where an earlier version left it out, and kept as long as it is wanted. */
function planRaw(definitions: readonly Definition[], options: TablesOptions): TableChange[] {
  const { keepRaw = 'always' } = options;
  const own = definitions.filter(({ name }) => name !== 'dead_letters');
  return own.flatMap(({ name, create_table_query }) => {
    const change = changeOfRaw(create_table_query, keepRaw);
    if (change === undefined) return [];
    return {
      sql: `${alterTable(name, options)} ${change}`,
      description: `make column raw of table ${name} fit --keep-raw`,
      isNeeded: true,
      without: 'the bytes of events are not kept as --keep-raw says',
    };
  });
}

function alterTable(name: string, { database, cluster }: TablesOptions): string {
  const onCluster = cluster === undefined ? '' : ` ON CLUSTER ${quoteName(cluster)}`;
  return `ALTER TABLE ${quoteName(database)}.${name}${onCluster}`;
}

const accessDenied = 497;

/**
 * Makes the tables fit the schema. Doing it twice, or by several processes at once, is harmless. What is there
 * already is not made again, so that it takes no right to make it; but on a cluster other nodes may lack it, and managed
 * ones make databases themselves and give nobody the right to.
 */
export async function ensureTables(
  clickhouse: ClickHouse,
  options: TablesOptions,
  log: Logger,
): Promise<void> {
  for (const { sql, description, isNeeded, without } of await planTables(clickhouse, options)) {
    if (!isNeeded && options.cluster === undefined) continue;
    log.debug(description);
    try {
      await clickhouse.execute(sql);
    } catch (error) {
      const isDenied = error instanceof ClickHouseError && error.code === accessDenied;
      const isDispensable = without !== undefined || !isNeeded;
      if (!isDenied || !isDispensable) throw error;
      log.warn(
        isNeeded
          ? `the user may not ${description}; without it, ${without}. Run: ${sql}`
          : `the user may not ${description} on the other nodes of the cluster; it is on this one. Where a node lacks it, run: ${sql}`,
      );
    }
  }
}

function refuseChangedTypes(types: ReadonlyMap<string, string>, { columns, database }: TablesOptions): void {
  const fixed = [...insertedColumns, 'stored_at'].filter((name) => !types.has(name));
  const faults = fixed.map((name) => `it has no column ${name}: it is not a table of Millrace`);
  for (const { name, type } of columns) {
    const actual = types.get(name);
    if (actual !== undefined && normalise(actual) !== normalise(type)) {
      faults.push(
        `column ${name} is ${actual}, but the schema makes it ${type}; rows that are stored cannot be changed safely`,
      );
    }
  }
  if (faults.length === 0) return;
  throw new OperatorError(
    `table events in database ${database} does not fit the schema:\n${faults.map((fault) => `  - ${fault}`).join('\n')}\n` +
      'Name the property differently, use another --clickhouse-database, or widen the column as docs/dead-letters.md says',
    exitCodes.configuration,
  );
}

function normalise(type: string): string {
  return type.replaceAll(' ', '');
}

/**
 * Rows are sorted by event and time. `event` is stored beside the JSON for that: a sorting key on a path of
 * `data` would forbid every later change of `data` (ALTER_OF_COLUMN_IS_FORBIDDEN, seen on 26.7).
 */
function createEvents(name: string, options: TablesOptions, isLate: boolean): string {
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

function createDeadLetters(name: string, { cluster }: TablesOptions): string {
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
function createRepeats(name: string, { cluster, keepRaw = 'always' }: TablesOptions): string {
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
export interface TableDefinition {
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
function lateAlias({ name, type }: Column): string {
  const path = `data.${quoteName(name)}`;
  const value = type.includes('DateTime64')
    ? `parseDateTime64BestEffortOrNull(toString(${path}), 3, 'UTC')`
    : `CAST(${path}, ${quoteText(type)})`;
  return `${quoteName(name)} ${type} ALIAS ${value}`;
}
