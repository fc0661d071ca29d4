/** The column `raw`: the bytes of an event as they were posted, and how long they stay. */

/** How long the bytes of an event stay in its row, milliseconds after it was received. */
export type KeepRaw = 'always' | 'never' | number;

/**
 * The column as CREATE TABLE and ALTER TABLE have it. Compressed it takes about as much as `data`: docs/data.md has
 * figures. Where the bytes are not sent it is empty, which takes nothing.
 */
export function rawColumn(keepRaw: KeepRaw): string {
  const seconds = secondsOf(keepRaw);
  const ttl = seconds === undefined ? '' : ` TTL toDateTime(received_at) + toIntervalSecond(${seconds})`;
  return `raw String CODEC(ZSTD(3))${ttl}`;
}

/**
 * What ALTER TABLE must do for a table to have the column and keep it as long; undefined: nothing. A TTL of another form
 * was chosen by somebody and stays.
 * @param createTableQuery the column of that name of `system.tables`
 */
export function changeOfRaw(createTableQuery: string, keepRaw: KeepRaw): string | undefined {
  const column = /`raw` String[^,]*/.exec(createTableQuery)?.[0];
  if (column === undefined) return `ADD COLUMN IF NOT EXISTS ${rawColumn(keepRaw)}`;
  const ttl = column.split(' TTL ')[1];
  const seconds = /^toDateTime\(received_at\) \+ toIntervalSecond\((\d+)\)/.exec(ttl ?? '')?.[1];
  if (ttl !== undefined && seconds === undefined) return undefined;
  const wanted = secondsOf(keepRaw);
  if (wanted === undefined) return seconds === undefined ? undefined : 'MODIFY COLUMN raw REMOVE TTL';
  return String(wanted) === seconds ? undefined : `MODIFY COLUMN ${rawColumn(keepRaw)}`;
}

/** Seconds after which the bytes are removed; undefined: never. */
function secondsOf(keepRaw: KeepRaw): number | undefined {
  return typeof keepRaw === 'number' ? Math.ceil(keepRaw / 1_000) : undefined;
}
