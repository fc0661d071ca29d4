/** Another replica may have taken an insert: waits until the one that is asked has it, too. */
import type { ClickHouse } from './client.ts';
import type { Tables } from './tables.ts';

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
