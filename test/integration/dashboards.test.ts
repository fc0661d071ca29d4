/** The analysts' dashboards on a real ClickHouse: every statement, over a shop's events and, where it is, a real log. */
import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMix } from '../../src/bench/payload.ts';
import { quoteText } from '../../src/clickhouse/client.ts';
import { insertSettings } from '../../src/clickhouse/inserts.ts';
import type { Tables } from '../../src/clickhouse/tables.ts';
import { createUserAgentNames, parseLogLine } from '../../src/replay/access-log.ts';
import { analysts } from '../../tools/dashboards/dashboards.ts';
import { sources } from '../../tools/dashboards/sources.ts';
import { type DeliveryStore, openDeliveryStore } from '../support/delivery-store.ts';
import { fillIn, readDashboards, readGrafanaFile, type View } from '../support/grafana.ts';
import { accessLog } from '../support/program.ts';

const fromMs = Date.UTC(2026, 0, 31, 8);
const view: View = {
  fromMs,
  toMs: fromMs + 3_600_000,
  intervalSeconds: 60,
  events: ['view', 'click', 'search', 'api_call', 'purchase', 'error', 'heartbeat', "it's"],
};
let store: DeliveryStore;
let tables: Tables;

const ask = <Row = Record<string, unknown>>(sql: string, at: View = view) =>
  store.clickhouse.query<Row>(fillIn(sql, at), {
    settings: { output_format_json_quote_64bit_integers: 0, database: tables.database },
  });

/** Events of a shop, within the hour; then lines of a log; then what is no row of `events`. */
async function fill(): Promise<void> {
  const log = existsSync(accessLog) ? gunzipSync(readFileSync(accessLog)).toString('utf8').split('\n') : [];
  const names = createUserAgentNames();
  const lines = log.flatMap((line) => {
    const read = parseLogLine(line, names);
    return read.ok ? [JSON.stringify(read.event)] : [];
  });
  const events = [...createMix(3_000), ...lines, `{"event":"it's","ip":"192.0.2.1","bytes":5}`];
  const place = (offset: number) => ({ topic: 'events', topic_id: 't', partition: 0, offset });
  const receivedAt = (i: number) => fromMs + Math.floor((i * 3_599_000) / events.length);
  const rows = events.map(
    (event, i) =>
      `${JSON.stringify({ received_at: receivedAt(i), ...place(i) }).slice(0, -1)},"data":${event}}`,
  );
  await store.clickhouse.insert(
    `INSERT INTO ${tables.events} FORMAT JSONEachRow`,
    Buffer.from(rows.join('\n')),
    { settings: insertSettings },
  );
  const refused = (i: number) =>
    `(${fromMs + i}, now64(3), 'events', 't', 0, ${100_000 + i}, '', 117, 'score', ${quoteText(`cannot convert Int64 value ${i} to UInt8 in "x"`)}, '{}')`;
  await store.clickhouse.execute(
    `INSERT INTO ${tables.deadLetters} (received_at, refused_at, topic, topic_id, partition, offset, event_id, code, \`column\`, reason, raw) SELECT fromUnixTimestamp64Milli(c1), c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 FROM values(${[1, 2, 3].map(refused).join(', ')})`,
  );
  await store.clickhouse.execute(
    `INSERT INTO ${tables.repeats} (topic, topic_id, partition, offset, received_at, event_id, earlier_offset) VALUES ('events', 't', 0, 200000, fromUnixTimestamp64Milli(${fromMs}), 'a', 1)`,
  );
}

/** The plan of a statement, which must leave out the months before and after. */
async function planOf(sql: string): Promise<string> {
  const plan = await ask<{ explain: string }>(`EXPLAIN indexes = 1 ${sql}`);
  const text = plan.map(({ explain }) => explain).join('\n');
  expect(text, 'the time is looked up').toMatch(
    /Condition: and\(\(toYYYYMM\(received_at\) in .*202601.*202601/,
  );
  return text;
}

beforeAll(async () => {
  store = await openDeliveryStore();
  tables = await store.createTables();
  await fill();
});

afterAll(() => store?.close());

describe.each(readDashboards('analysts'))('$title', ({ uid, panels, templating }) => {
  test.each(panels)('$title', async ({ title, type, targets }) => {
    const panel = analysts.find((one) => one.uid === uid)?.panels.find((one) => one.title === title);
    const sql = targets[0]?.rawSql ?? '';
    const rows = await ask(sql);
    expect(rows.length).toBeGreaterThan(0);
    expect(Object.keys(rows[0] ?? {})).toEqual(panel?.columns);
    if (panel?.by !== undefined) expect(typeof rows[0]?.[panel.by]).toBe('string');
    if (type === 'timeseries') {
      const values = Object.entries(rows[0] ?? {}).filter(([name]) => name !== 'time' && name !== panel?.by);
      for (const [, value] of values) expect(typeof value).toBe('number');
      const times = rows.map((row) => String(row.time));
      expect(times).toEqual([...times].sort());
      expect(times.every((time) => time >= '2026-01-31 08:00:00' && time < '2026-01-31 09:00:00')).toBe(true);
    }
    if (type === 'stat') expect(Number(Object.values(rows[0] ?? {})[0])).toBeGreaterThan(0);
  });

  test.each(panels)('$title: nothing at another time, nothing without events', async ({ type, targets }) => {
    const earlier = { ...view, fromMs: fromMs - 7_200_000, toMs: fromMs - 3_600_000, events: [] };
    const rows = await ask(targets[0]?.rawSql ?? '', earlier);
    const numbers = rows.flatMap((row) => Object.values(row).map(Number));
    // A number of nothing is one row with 0, or NULL for the sum and the share.
    if (type === 'stat') expect(numbers).toEqual([0]);
    else expect(rows).toEqual([]);
  });

  test.each(panels)('$title: the time is looked up, not computed for every row', async ({ targets }) => {
    const plan = await planOf(targets[0]?.rawSql ?? '');
    if (plan.includes('.events')) expect(plan).toMatch(/PrimaryKey\s+Keys:\s+event\s+received_at/);
  });

  test('the variable lists the events of the time shown', async () => {
    const query = templating.list.find(({ name }) => name === 'event')?.query;
    const rows = await ask<{ event: string }>(String(query));
    await planOf(String(query));
    expect(rows.map(({ event }) => event).sort()).toEqual([...view.events].sort());
  });
});

test('numbers are right', async () => {
  const sqlOf = (uid: string, title: string) =>
    readDashboards('analysts')
      .find((one) => one.uid === uid)
      ?.panels.find((panel) => panel.title === title)?.targets[0]?.rawSql ?? '';
  const only = { ...view, events: ["it's"] };
  expect(await ask(sqlOf('millrace-traffic', 'Events'), only)).toEqual([{ events: 1 }]);
  expect(await ask(sqlOf('millrace-traffic', 'Unique addresses'), only)).toEqual([{ addresses: 1 }]);
  expect(await ask(sqlOf('millrace-traffic', 'Bytes sent'), only)).toEqual([{ bytes_sent: 5 }]);
  expect(await ask(sqlOf('millrace-errors', 'Why events were refused'))).toMatchObject([
    { why: 'cannot convert Int64 value … to UInt8 in …', not_taken_by: 'score', events: 3 },
  ]);
});

test('the query of the documentation works', async () => {
  const page = readFileSync(new URL('../../docs/dashboards.md', import.meta.url), 'utf8');
  const sql = /```sql\n(.*?)```/s.exec(page)?.[1] ?? '';
  const rows = await ask(sql);
  expect(rows.length).toBeGreaterThan(3);
  expect(rows[0]).toMatchObject({ currency: expect.stringMatching(/^(EUR|USD|JPY)$/) });
  await planOf(sql);
});

test('the SQL of the user is understood', async () => {
  const script = readGrafanaFile('clickhouse-user.sql').replace(/--.*$/gm, '');
  const statements = script
    .split(';')
    .map((text) => text.trim())
    .filter(Boolean);
  expect(statements.length).toBe(6);
  for (const statement of statements)
    await ask('SELECT formatQuery({sql:String})'.replace('{sql:String}', () => quoteText(statement)));
  const columns = /GRANT SELECT\((.*?)\)\s+ON dead_letters/s.exec(script)?.[1]?.split(', ') ?? [];
  const real = await ask<{ name: string }>(
    `SELECT name FROM system.columns WHERE database = '${tables.database}' AND table = 'dead_letters' AND name != 'raw'`,
  );
  expect(columns.sort()).toEqual(real.map(({ name }) => name).sort());
  const settings = [...script.matchAll(/^ {2}(\w+) = /gm)].map(([, name]) => name);
  const known = await ask<{ name: string }>('SELECT name FROM system.settings');
  expect(known.map(({ name }) => name)).toEqual(expect.arrayContaining(settings));
});

test('the metrics of ClickHouse are there', async () => {
  const names = Object.values(sources).map(({ name }) => name);
  const all = (prefix: string) =>
    names
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
      .sort();
  const found = (sql: string) =>
    ask<{ name: string }>(sql).then((rows) => rows.map(({ name }) => name).sort());
  const list = (wanted: readonly string[]) => wanted.map((name) => quoteText(name)).join(', ');
  const gauges = all('ClickHouseMetrics_');
  const counters = all('ClickHouseProfileEvents_');
  expect(await found(`SELECT metric AS name FROM system.metrics WHERE metric IN (${list(gauges)})`)).toEqual(
    gauges,
  );
  expect(
    await found(
      `SELECT event AS name FROM system.events WHERE event IN (${list(counters)}) SETTINGS system_events_show_zero_values = 1`,
    ),
  ).toEqual(counters);
});
