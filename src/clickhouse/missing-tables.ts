/** Before the first streamer there are no tables. */
import { ClickHouseError } from './client.ts';

/** ClickHouse's UNKNOWN_TABLE and UNKNOWN_DATABASE. */
const notThere = [60, 81];

/** Whether ClickHouse answered that a table, or the whole database, is not there. */
export function isMissingTable(error: unknown): boolean {
  return error instanceof ClickHouseError && notThere.includes(error.code);
}
