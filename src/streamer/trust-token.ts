/** Whether ClickHouse can still be trusted to recognise the token of a plan. */
import type { ClickHouse } from '../clickhouse/client.ts';
import type { Tables } from '../clickhouse/tables.ts';
import type { Plan } from './plan.ts';

/**
 * Clocks of the machines may differ by so much, milliseconds. Erring on the side of asking costs one query.
 */
const clockSkewMs = 60_000;

/** Why a plan has to be settled by asking; undefined when its token is good. */
export async function findTokenDoubt(
  clickhouse: ClickHouse,
  tables: Tables,
  { plan, settleAfterMs }: { plan: Plan; settleAfterMs: number },
): Promise<string | undefined> {
  const ageMs = Date.now() - plan.sealedAt;
  if (ageMs > settleAfterMs) return `the plan is ${Math.round(ageMs / 1_000)} s old`;
  if (tables.isReplicated) return undefined;
  const [row] = await clickhouse.query<{ seconds: number | string }>('SELECT uptime() AS seconds');
  const uptimeMs = Number(row?.seconds ?? 0) * 1_000;
  if (uptimeMs > Math.max(ageMs, 0) + clockSkewMs) return undefined;
  return `ClickHouse was started ${Math.round(uptimeMs / 1_000)} s ago and may have been killed in mid-insert`;
}
