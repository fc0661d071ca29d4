/** What can be read out of ClickHouse's words about an insert, in which it quotes the data. */

/** Words that name no path and quote the event at their end, where it could pass for one. */
const quote =
  /^(?:Code: \d+\. DB::Exception: )?(?:Cannot insert data into JSON column: )?(?:Cannot parse JSON object|Duplicate path)/;
/** The last one: a value that is quoted before it may hold anything. */
const place = /^[\s\S]*\(while reading path ([^)]+)\)/;
const errorName = /\(([A-Z][A-Z0-9_]{2,60})\)(?: \(version [^()]*(?:\([^()]*\))?[^()]*\))?\s*$/;

/** ClickHouse names the path of `data` where it could not go on: `(while reading path status)`; else empty. */
export function columnOf(message: string): string {
  return quote.test(message) ? '' : (place.exec(message)?.[1] ?? '');
}

/** Code, name and column, as `Code: 117 (INCORRECT_DATA), column score`: no word of the data. */
export function summarise(code: number, message: string): string {
  const name = errorName.exec(message)?.[1];
  const column = columnOf(message);
  // The name of a typed path is that of a property of the schema; anything else is not worth a risk.
  const isName = /^[\w.-]{1,64}$/.test(column);
  return `Code: ${code}${name === undefined ? '' : ` (${name})`}${isName ? `, column ${column}` : ''}`;
}
