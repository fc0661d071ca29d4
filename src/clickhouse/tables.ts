/**
 * The tables: their names, their statements, and making them fit the schema.
 *
 * Another replica may have taken an insert: waits until the one that is asked has it, too.
 */
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../errors.ts';
import { type ClickHouse, quoteName } from './client.ts';
import { ClickHouseError } from './errors.ts';
import {
  changeOfRaw,
  createDeadLetters,
  createEvents,
  createRepeats,
  formatMissingSettings,
  insertedColumns,
  lateAlias,
  lateSetting,
  type TablesOptions,
} from './table-definitions.ts';

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

/** One change that the tables need. */
interface TableChange {
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
export async function readColumns(
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
      without: 'the bytes of events are not kept according to --keep-raw',
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
          : `the user may not ${description} on the other nodes of the cluster; it was done on this one. On a node that lacks it, run: ${sql}`,
      );
    }
  }
}

function refuseChangedTypes(types: ReadonlyMap<string, string>, { columns, database }: TablesOptions): void {
  const fixed = [...insertedColumns, 'stored_at'].filter((name) => !types.has(name));
  const faults = fixed.map((name) => `it has no column ${name}, so it is not a table of Millrace`);
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
      'Name the property differently, use another --clickhouse-database, or widen the column as docs/dead-letters.md describes',
    exitCodes.configuration,
  );
}

function normalise(type: string): string {
  return type.replaceAll(' ', '');
}

/**
 * Makes what was acknowledged until now visible here. Does nothing for tables that are not replicated.
 * @param names the tables that will be asked; quoted
 */
export async function syncReplica(
  clickhouse: Pick<ClickHouse, 'execute'>,
  { isReplicated }: Pick<Tables, 'isReplicated'>,
  names: readonly string[],
): Promise<void> {
  if (!isReplicated) return;
  for (const name of names) await clickhouse.execute(`SYSTEM SYNC REPLICA ${name} LIGHTWEIGHT`);
}
