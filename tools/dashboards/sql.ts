/**
 * Parts of the analysts' statements. Times are compared with the column as it is, with constants of its own type: around
 * a cast, as `toDateTime(received_at)`, ClickHouse 26.7 does not leave out months (seen in the plan). What others saw
 * with macros that cast: https://github.com/grafana/clickhouse-datasource/issues/699, …/1344.
 */

/** Received within the time shown. The plugin puts in constants of milliseconds. */
export const inTime = 'received_at >= $__fromTime_ms AND received_at <= $__toTime_ms';

/** Of the chosen events too, which begin the sorting key of `events`. */
export const chosenEvents = `event IN (\${event:singlequote}) AND ${inTime}`;

/** Start of the interval of a row, UTC; as wide as the panel has room for. */
export const time = 'toStartOfInterval(received_at, toIntervalSecond($__interval_s)) AS time';

/** The values of a column that most events have. */
export function topValues(column: string, as: string = column): string {
  return `SELECT if(${column} = '', '(unknown)', ${column}) AS ${as}, count() AS events
FROM events
WHERE ${chosenEvents}
GROUP BY ${as}
ORDER BY events DESC
LIMIT 12`;
}
