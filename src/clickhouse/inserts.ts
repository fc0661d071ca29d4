/**
 * How rows are inserted: the settings, the statements, and the structure that `events` has at the moment.
 *
 * The structure of `events` for those who insert: read again before it can be long out of date.
 */
import { type ClickHouse, quoteName, quoteText } from './client.ts';
import { insertedColumns, type TablesOptions } from './table-definitions.ts';
import { readColumns, type Tables } from './tables.ts';

/**
 * How long a structure is used. When the type of `data` is altered meanwhile, rows sent with the former one are cast
 * to the new one: as rows that came just before the change.
 */
const maxAgeMs = 10_000;

/** Knows the structure of the table of one database. */
export class EventsStructure {
  readonly #clickhouse: ClickHouse;
  readonly #options: Pick<TablesOptions, 'database' | 'keepRaw'>;
  #known: { readonly structure: RowStructure; readonly readAt: number } | undefined;

  constructor(clickhouse: ClickHouse, options: Pick<TablesOptions, 'database' | 'keepRaw'>) {
    this.#clickhouse = clickhouse;
    this.#options = options;
  }

  /** The structure, at most a few seconds old. @throws ClickHouseError, ClickHouseUnavailableError */
  async current(): Promise<RowStructure> {
    const known = this.#known;
    const isFresh = known !== undefined && performance.now() - known.readAt < maxAgeMs;
    return isFresh ? known.structure : await this.read();
  }

  /** The structure as it is now. @throws ClickHouseError, ClickHouseUnavailableError */
  async read(): Promise<RowStructure> {
    const readAt = performance.now();
    const structure = await readStructure(this.#clickhouse, this.#options);
    this.#known = { structure, readAt };
    return structure;
  }
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
