/** For analysts: what went wrong, on the site and on the way of the events. */
import type { SqlDashboard } from './panel.ts';
import { chosenEvents, inTime, time } from './sql.ts';

const failing = `${chosenEvents} AND status >= 400`;

/** Answers of 400 and above, dead letters, repeats, late rows. */
export const errors: SqlDashboard = {
  uid: 'millrace-errors',
  title: 'Millrace / Errors',
  description:
    'Failed answers of your site (status 400 and above), and events that are in no report since ClickHouse refused them. By the time of receiving, UTC.',
  folder: 'analysts',
  from: 'now-24h',
  panels: [
    {
      title: 'Failed answers',
      description: 'Events with `status` 400 or above.',
      unit: 'short',
      kind: 'number',
      width: 6,
      sql: `SELECT count() AS failed FROM events WHERE ${failing}`,
      columns: ['failed'],
    },
    {
      title: 'Share of failed answers',
      description: 'Among the events that have a `status`.',
      unit: 'percentunit',
      kind: 'number',
      width: 6,
      sql: `SELECT countIf(status >= 400) / count() AS share FROM events WHERE ${chosenEvents} AND status IS NOT NULL`,
      columns: ['share'],
    },
    {
      title: 'Dead letters',
      description:
        'Events that ClickHouse refused; whatever event is chosen above. They are missing in every other panel until they are replayed.',
      unit: 'short',
      kind: 'number',
      width: 6,
      steps: [
        [0, 'green'],
        [1, 'red'],
      ],
      sql: `SELECT count() AS dead_letters FROM dead_letters WHERE ${inTime}`,
      columns: ['dead_letters'],
    },
    {
      title: 'Repeats',
      description: 'Events that were posted twice and count once.',
      unit: 'short',
      kind: 'number',
      width: 6,
      sql: `SELECT count() AS repeats FROM repeats WHERE ${inTime}`,
      columns: ['repeats'],
    },
    {
      title: 'Failed answers over time',
      description: 'Count for each interval, by status.',
      unit: 'short',
      kind: 'bars',
      width: 12,
      sql: `SELECT ${time}, toString(status) AS answer, count() AS events
FROM events
WHERE ${failing}
GROUP BY time, answer
ORDER BY time`,
      columns: ['time', 'answer', 'events'],
      by: 'answer',
    },
    {
      title: 'Dead letters over time',
      description:
        "Count for each interval, by ClickHouse's error code and the column that it would not take.",
      unit: 'short',
      kind: 'bars',
      width: 12,
      sql: `SELECT ${time}, concat(toString(code), ' ', \`column\`) AS refused_for, count() AS events
FROM dead_letters
WHERE ${inTime}
GROUP BY time, refused_for
ORDER BY time`,
      columns: ['time', 'refused_for', 'events'],
      by: 'refused_for',
    },
    {
      title: 'Pages that fail',
      description: 'By `path` without its query string, and status.',
      unit: 'short',
      kind: 'table',
      width: 12,
      sql: `SELECT cutQueryString(path) AS page, assumeNotNull(status) AS answer, count() AS events,
  uniqIf(ip, ip != '') AS addresses, max(received_at) AS last_seen
FROM events
WHERE ${failing}
GROUP BY page, answer
ORDER BY events DESC
LIMIT 50`,
      columns: ['page', 'answer', 'events', 'addresses', 'last_seen'],
      units: { page: 'none', answer: 'none', last_seen: 'dateTimeAsIso' },
    },
    {
      title: 'Why events were refused',
      description:
        'Numbers and quoted text of the events are left out of the reasons, so that like ones are one line. docs/dead-letters.md says what helps.',
      unit: 'short',
      kind: 'table',
      width: 12,
      sql: `SELECT replaceRegexpAll(reason, '\\\\b[0-9]+|''[^'']*''|"[^"]*"', '…') AS why, \`column\` AS not_taken_by, count() AS events,
  min(received_at) AS first_seen, max(received_at) AS last_seen
FROM dead_letters
WHERE ${inTime}
GROUP BY why, not_taken_by
ORDER BY events DESC
LIMIT 50`,
      columns: ['why', 'not_taken_by', 'events', 'first_seen', 'last_seen'],
      units: { why: 'none', not_taken_by: 'none', first_seen: 'dateTimeAsIso', last_seen: 'dateTimeAsIso' },
    },
    {
      title: 'Failed answers by browser',
      description:
        'Share of the answers to each browser that failed. One far above the others: a fault that only it meets, or a robot.',
      unit: 'percentunit',
      kind: 'ranking',
      width: 12,
      sql: `SELECT if(browser = '', '(unknown)', browser) AS client, countIf(status >= 400) / count() AS share
FROM events
WHERE ${chosenEvents} AND status IS NOT NULL
GROUP BY client
ORDER BY count() DESC
LIMIT 12`,
      columns: ['client', 'share'],
    },
    {
      title: 'How late rows are',
      description:
        'From receiving an event to storing its row, median and p99 of each interval. Reports on the last seconds are short of these.',
      unit: 's',
      kind: 'lines',
      width: 12,
      sql: `SELECT ${time},
  quantile(0.5)(dateDiff('millisecond', received_at, stored_at)) / 1000 AS p50,
  quantile(0.99)(dateDiff('millisecond', received_at, stored_at)) / 1000 AS p99
FROM events
WHERE ${chosenEvents}
GROUP BY time
ORDER BY time`,
      columns: ['time', 'p50', 'p99'],
    },
  ],
};
