/** For analysts: what happens, who comes, with what. */
import type { SqlDashboard } from './panel.ts';
import { chosenEvents, time, topValues } from './sql.ts';

/** Events, addresses and users over time, by client, by page. */
export const traffic: SqlDashboard = {
  uid: 'millrace-traffic',
  title: 'Millrace / Traffic',
  description:
    'Events by the time at which they were received (column received_at, UTC). A log that was replayed appears where it was replayed.',
  folder: 'analysts',
  from: 'now-24h',
  panels: [
    {
      title: 'Events',
      description: 'Rows of `events` within the time shown.',
      unit: 'short',
      kind: 'number',
      width: 6,
      sql: `SELECT count() AS events FROM events WHERE ${chosenEvents}`,
      columns: ['events'],
    },
    {
      title: 'Unique addresses',
      description: 'Different values of `ip`, an estimate within some 1 % (uniq).',
      unit: 'short',
      kind: 'number',
      width: 6,
      sql: `SELECT uniqIf(ip, ip != '') AS addresses FROM events WHERE ${chosenEvents}`,
      columns: ['addresses'],
    },
    {
      title: 'Unique users',
      description: 'Different values of `user_id`; events without one do not count.',
      unit: 'short',
      kind: 'number',
      width: 6,
      sql: `SELECT uniqIf(user_id, user_id != '') AS users FROM events WHERE ${chosenEvents}`,
      columns: ['users'],
    },
    {
      title: 'Bytes sent',
      description: 'Sum of `bytes`, where events have it.',
      unit: 'bytes',
      kind: 'number',
      width: 6,
      sql: `SELECT sum(bytes) AS bytes_sent FROM events WHERE ${chosenEvents}`,
      columns: ['bytes_sent'],
    },
    {
      title: 'Events over time',
      description: 'Count for each interval, by event.',
      unit: 'short',
      kind: 'bars',
      width: 24,
      sql: `SELECT ${time}, event, count() AS events
FROM events
WHERE ${chosenEvents}
GROUP BY time, event
ORDER BY time`,
      columns: ['time', 'event', 'events'],
      by: 'event',
    },
    {
      title: 'Unique addresses over time',
      description: 'For each interval; the sum of intervals is more than the number above.',
      unit: 'short',
      kind: 'lines',
      width: 12,
      sql: `SELECT ${time}, uniqIf(ip, ip != '') AS addresses, uniqIf(user_id, user_id != '') AS users
FROM events
WHERE ${chosenEvents}
GROUP BY time
ORDER BY time`,
      columns: ['time', 'addresses', 'users'],
    },
    {
      title: 'Operating systems over time',
      description: 'Count for each interval of the eight most common ones.',
      unit: 'short',
      kind: 'lines',
      width: 12,
      sql: `WITH common AS (SELECT os FROM events WHERE ${chosenEvents} GROUP BY os ORDER BY count() DESC LIMIT 8)
SELECT ${time}, if(os = '', '(unknown)', os) AS system, count() AS events
FROM events
WHERE ${chosenEvents} AND os IN (SELECT os FROM common)
GROUP BY time, system
ORDER BY time`,
      columns: ['time', 'system', 'events'],
      by: 'system',
    },
    {
      title: 'Operating systems',
      description: 'Events by `os`.',
      unit: 'short',
      kind: 'ranking',
      width: 6,
      sql: topValues('os', 'system'),
      columns: ['system', 'events'],
    },
    {
      title: 'Browsers',
      description: 'Events by `browser`.',
      unit: 'short',
      kind: 'ranking',
      width: 6,
      sql: topValues('browser', 'client'),
      columns: ['client', 'events'],
    },
    {
      title: 'Devices',
      description: 'Events by `device`.',
      unit: 'short',
      kind: 'ranking',
      width: 6,
      sql: topValues('device', 'kind'),
      columns: ['kind', 'events'],
    },
    {
      title: 'Countries',
      description: 'Events by `country`.',
      unit: 'short',
      kind: 'ranking',
      width: 6,
      sql: topValues('country', 'place'),
      columns: ['place', 'events'],
    },
    {
      title: 'Top pages',
      description: 'By `path` without its query string: events, and different addresses among them.',
      unit: 'short',
      kind: 'table',
      width: 12,
      sql: `SELECT cutQueryString(path) AS page, count() AS events, uniqIf(ip, ip != '') AS addresses
FROM events
WHERE ${chosenEvents} AND path != ''
GROUP BY page
ORDER BY events DESC
LIMIT 50`,
      columns: ['page', 'events', 'addresses'],
      units: { page: 'none' },
    },
    {
      title: 'Where visitors come from',
      description: 'By the host in `referrer`.',
      unit: 'short',
      kind: 'table',
      width: 12,
      sql: `SELECT domainWithoutWWW(referrer) AS site, count() AS events, uniqIf(ip, ip != '') AS addresses
FROM events
WHERE ${chosenEvents} AND referrer != ''
GROUP BY site
ORDER BY events DESC
LIMIT 50`,
      columns: ['site', 'events', 'addresses'],
      units: { site: 'none' },
    },
  ],
};
