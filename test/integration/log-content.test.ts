/** What ClickHouse says of an event is for the analysts: no word of an event in logs, status pages and traces. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ClickHouseError } from '../../src/clickhouse/errors.ts';
import type { Tables } from '../../src/clickhouse/tables.ts';
import { createClickHouseSink } from '../../src/streamer/inserts/clickhouse-sink.ts';
import { StreamerObserver } from '../../src/streamer/observer.ts';
import { type DeliveryStore, openDeliveryStore, ownerOf } from '../support/delivery-store.ts';
import { sealedOf } from '../support/sealed-batch.ts';

let store: DeliveryStore;
let tables: Tables;

beforeAll(async () => {
  store = await openDeliveryStore();
});

afterAll(async () => {
  await store?.close();
});

/** Content that must not be seen, wherever ClickHouse quotes it. */
const secret = 'SECRET_TEXT_OF_AN_EVENT';
const refused = [
  `{"event":"a","status":"${secret}"}`,
  `{"event":"a","status":70000,"note":"${secret}"}`,
  `{"event":"a","${secret}":1,"${secret}":2}`,
  `{"event":"a","${secret}":{"b":1},"${secret}.b":2}`,
  `{"event":"a","time":"${secret}"}`,
  `{"event":"a","note":"(while reading path ${secret})","status":-1}`,
  `{"event":"a","note":"(${secret}) (version 1)","status":-1}`,
  `${secret}`,
  `x (while reading path ${secret}) (${secret}) (version 1)`,
  `{"event":"a","note":"${secret}"`,
  `{"event":"a","n":1e999,"note":"${secret}"}`,
];

/** A sink with a real observer and a log that is kept. */
function createSite() {
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const observer = new StreamerObserver(log);
  const sink = createClickHouseSink({
    clickhouse: store.clickhouse,
    tables,
    observer,
    settleAfterMs: 1_800_000,
    log,
  });
  return { lines, log, observer, sink };
}

describe('a row that ClickHouse refuses', () => {
  test.each(refused)('%s', async (value) => {
    tables = await store.createTables();
    const topicId = randomUUID();
    const batch = sealedOf(['{"event":"good"}', value], { topicId });
    const owner = await ownerOf(batch, topicId);
    const { lines, observer, sink } = createSite();
    await sink.insert(batch, owner.partition, { lease: owner.lease, isReplay: false });
    const [letter] = await store.letters(tables, topicId);
    expect(letter?.reason).not.toBe('');
    expect(lines.join('')).toMatch(/"reason":"Code: \d+ \([A-Z_]+\)[a-z, ]*"/);
    expect(lines.join('')).toContain('"offset":1');
    expect(`${lines.join('')}${JSON.stringify(observer.clickhouseState())}`).not.toContain(secret);
  });
});

test('a batch that the table refuses as a whole: the log says what to do, and quotes nothing', async () => {
  tables = await store.createTables();
  await store.clickhouse.execute(
    `ALTER TABLE ${tables.events} ADD COLUMN picky UInt8 DEFAULT toUInt8(data.note::String)`,
  );
  const topicId = randomUUID();
  const batch = sealedOf([`{"event":"a","note":"${secret}"}`], { topicId });
  const owner = await ownerOf(batch, topicId);
  const { lines, log, observer, sink } = createSite();
  let error: unknown;
  const inserted = sink.insert(batch, owner.partition, { lease: owner.lease, isReplay: false });
  while (!lines.some((line) => line.includes('did not accept a batch')))
    await new Promise((next) => setTimeout(next, 20));
  const state = JSON.stringify(observer.clickhouseState());
  const text = lines.join('');
  expect(text).toContain('the columns of Millrace accept every row');
  expect(text).toMatch(/Code: \d+/);
  expect(text).toContain('events');
  expect(`${text}${state}`).not.toContain(secret);
  await store.clickhouse.execute(`ALTER TABLE ${tables.events} DROP COLUMN picky`);
  await inserted;
  try {
    await store.clickhouse.insert(
      `INSERT INTO ${tables.events} (data) FORMAT JSONEachRow`,
      Buffer.from(`{"data":${secret}`),
    );
  } catch (thrown) {
    error = thrown;
  }
  // Whoever logs the error itself, with its stack, shows no more.
  expect(error).toBeInstanceOf(ClickHouseError);
  log.error({ err: error }, 'logged');
  expect(lines.join('')).not.toContain(secret);
  expect((error as ClickHouseError).detail).toContain('DB::Exception');
});
