/** What several commands make of the configuration. */
import { credentialsFor, type Role } from '../clickhouse/credentials.ts';
import type { TablesOptions } from '../clickhouse/tables.ts';
import type { Config } from '../config/options.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import type { EventSchema } from '../schema/schema.ts';

/**
 * Refuses a spool beside the embedded log: that is no more away than the disk that the spool would be on.
 * @throws OperatorError exit 78
 */
export function checkOutage({ buffer, onOutage }: Config): void {
  if (buffer !== 'embedded' || onOutage !== 'spool') return;
  throw new OperatorError(
    "--on-outage spool is for --buffer kafka: the embedded log is on this machine's disk itself, as the spool " +
      'would be. Leave it out, or give --buffer kafka',
    exitCodes.configuration,
  );
}

/**
 * How to reach ClickHouse by the configuration, and as whom.
 * @throws OperatorError exit 78 or 69 when the file of a password cannot be used
 */
export function clickhouseClientOptions(config: Config, database: string, role: Role = 'owner') {
  return {
    url: config.clickhouseUrl,
    database,
    ...credentialsFor(config, role),
    timeoutMs: config.clickhouseTimeout,
  };
}

/** How the tables are to be, by the configuration. */
export function tablesOptions(config: Config, { columns }: EventSchema): TablesOptions {
  const { clickhouseDatabase: database, clickhouseCluster: cluster, keepRaw, maxDynamicPaths } = config;
  return { database, cluster, columns, keepRaw, maxDynamicPaths };
}
