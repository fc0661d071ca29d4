/** The tables of ClickHouse in which the events of a run end up. */
import { type ClickHouse, type ClickHouseOptions, createClickHouse } from '../clickhouse/client.ts';
import {
  ClickHouseError,
  ClickHouseUnavailableError,
  describeRefusal,
  isMissingTable,
} from '../clickhouse/errors.ts';
import { findTables, type Tables } from '../clickhouse/tables.ts';
import { exitCodes, OperatorError } from '../errors.ts';

/** Where the rows of a run are looked for. */
export interface Store {
  readonly clickhouse: ClickHouse;
  readonly tables: Tables;
  /** Version of ClickHouse. */
  readonly version: string;
  /** ClickHouse's own clock when it was opened, milliseconds since the epoch. */
  readonly openedAt: number;
  /** What a person has to do about an error of a query; any other error is returned as it is. */
  explain(error: unknown): unknown;
  close(): Promise<void>;
}

/** How to reach ClickHouse, and what the tables are called there. */
interface StoreOptions extends Omit<ClickHouseOptions, 'database'> {
  readonly database: string;
  readonly cluster: string | undefined;
}

/**
 * Connects, and sees that the tables are there.
 * @throws OperatorError exit 69 that names the options to change
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const clickhouse = createClickHouse({ ...options, database: '' });
  try {
    const tables = await findTables(clickhouse, options);
    const [server] = await clickhouse.query<{ version: string; openedAt: number }>(
      `SELECT version() AS version, toFloat64(toUnixTimestamp64Milli(now64(3))) AS openedAt
       FROM (SELECT count() FROM ${tables.events})`,
    );
    const { version = 'unknown', openedAt = Date.now() } = server ?? {};
    const explain = (error: unknown) => explainStore(error, options);
    return { clickhouse, tables, version, openedAt, explain, close: () => clickhouse.close() };
  } catch (error) {
    await clickhouse.close();
    throw explainStore(error, options);
  }
}

/** What a person has to do about an error of ClickHouse; any other error is returned as it is. */
export function explainStore(
  error: unknown,
  { url, database }: Pick<StoreOptions, 'url' | 'database'>,
): unknown {
  const without = 'or measure without reconciling: --no-reconcile';
  if (error instanceof ClickHouseUnavailableError) {
    const message = `${error.message}; check --clickhouse-url, ${without}`;
    return new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
  if (!(error instanceof ClickHouseError)) return error;
  const message = isMissingTable(error)
    ? `database ${database} at ${url.origin} has no tables of Millrace yet: check --clickhouse-database ` +
      `and --clickhouse-url, and that the streamer runs, ${without}`
    : `ClickHouse at ${url.origin} refuses the query: ${describeRefusal(error)}; check --clickhouse-url and ` +
      `--clickhouse-user, ${without}`;
  return new OperatorError(message, exitCodes.unavailable, { cause: error });
}
