/** Which dead letters are meant, and the SQL condition that says so. */

/** All that is given must hold. */
export interface DeadLetterFilter {
  readonly partition?: number | undefined;
  /** Error code of ClickHouse; 0 for what could not be read. */
  readonly code?: number | undefined;
  /** Text contained in the reason, in any case. */
  readonly reason?: string | undefined;
  /** Received at or after this time, milliseconds since the epoch. */
  readonly since?: number | undefined;
  /** Received before this time, milliseconds since the epoch. */
  readonly until?: number | undefined;
  /** Both ends included. */
  readonly offsets?: { readonly from: number; readonly to: number } | undefined;
}

/** A condition on table `dead_letters` and the values of its parameters. */
export interface Condition {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/** The condition of a filter; true of all without any. */
export function conditionOf(filter: DeadLetterFilter): Condition {
  const { partition, code, reason, since, until, offsets } = filter;
  const terms = ['1'];
  if (partition !== undefined) terms.push(`partition = ${partition}`);
  if (code !== undefined) terms.push(`code = ${code}`);
  if (reason !== undefined) terms.push('positionCaseInsensitiveUTF8(reason, {reason:String}) > 0');
  if (since !== undefined) terms.push(`received_at >= fromUnixTimestamp64Milli(${since}, 'UTC')`);
  if (until !== undefined) terms.push(`received_at < fromUnixTimestamp64Milli(${until}, 'UTC')`);
  if (offsets !== undefined) terms.push(`offset BETWEEN ${offsets.from} AND ${offsets.to}`);
  return { sql: terms.join(' AND '), params: reason === undefined ? {} : { reason } };
}
