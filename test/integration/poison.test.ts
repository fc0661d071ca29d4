/** Whatever a record holds, it becomes one row or one dead letter, and nothing else. */

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Tables } from '../../src/clickhouse/tables.ts';
import { blockOf, insertBlock } from '../../src/streamer/inserts/insert-block.ts';
import { openDeliverySite } from '../support/delivery.ts';
import {
  createRealSink,
  type DeliveryStore,
  openDeliveryStore,
  ownerOf,
  targetOf,
} from '../support/delivery-store.ts';
import { changeClient } from '../support/pipeline.ts';
import { bodyOf, sealedOf } from '../support/sealed-batch.ts';

let store: DeliveryStore;
let tables: Tables;

beforeAll(async () => {
  store = await openDeliveryStore();
  tables = await store.createTables();
});

afterAll(async () => {
  await store?.close();
});

const good = '{"event":"good"}';

/** Inserts values as one batch of a topic of its own; gives what is stored of it. */
async function insert(values: readonly (string | Uint8Array)[]) {
  const topicId = randomUUID();
  const batch = sealedOf(values, { topicId });
  const owner = await ownerOf(batch, topicId);
  const result = await insertBlock(targetOf(store.clickhouse, tables), blockOf(batch), owner);
  const letters = await store.letters(tables, topicId);
  for (const { offset, raw, reason } of letters) {
    expect(raw.equals(batch.rows.record(offset).raw)).toBe(true);
    expect(reason).not.toBe('');
  }
  return { result, letters, stored: await store.stored(tables, topicId) };
}

const offsets = (count: number) => Array.from({ length: count }, (_, offset) => offset);

/** What a collector takes as JSON, and ClickHouse does not; the path that it cannot read. */
const refusedJson: readonly [kind: string, json: string, column: string][] = [
  ['a number beyond any', '{"event":"a","n":1e999}', ''],
  ['an integer below its column', '{"event":"a","status":-1}', 'status'],
  ['an integer above its column', '{"event":"a","status":70000}', 'status'],
  ['an integer of 30 digits', `{"event":"a","n":${'9'.repeat(30)}}`, ''],
  ['a negative one', `{"event":"a","n":-${'9'.repeat(30)}}`, ''],
  ['a name twice', '{"event":"a","n":1,"n":2}', ''],
  ['the event twice', '{"event":"a","event":"b"}', ''],
  ['a path twice', '{"event":"a","a":{"b":1},"a.b":2}', ''],
  ['text that is no date', '{"event":"a","time":"never"}', 'time'],
  ['a 13th month', '{"event":"a","time":"2015-13-05T10:05:03Z"}', 'time'],
  ['a 30th of February', '{"event":"a","time":"2015-02-30T00:00:00Z"}', 'time'],
  ['an empty date', '{"event":"a","time":""}', 'time'],
  ['a number beyond dates', '{"event":"a","time":1e99}', ''],
  ['text for a number', '{"event":"a","duration_ms":"x"}', 'duration_ms'],
  ['an object for a number', '{"event":"a","duration_ms":{}}', 'duration_ms'],
];

/** What another producer may write: no JSON object, or more than one. */
const refusedBytes: readonly [kind: string, value: string | Uint8Array][] = [
  ['two values', '{"a":1}}\n{"b":2}'],
  ['two objects', '{"event":"a"}{"event":"b"}'],
  ['a line of rows', `${good}\n${good}`],
  ['nothing', ''],
  ['a space', ' '],
  ['an array', '[1]'],
  ['a number', '1'],
  ['text', '"x"'],
  ['a half', '{"event":"a"'],
  ['a comma at the end', '{"event":"a"},'],
  ['a row of values', "(1,'x')"],
  ['separated values', '1\t2\t3'],
  ['NULL of another format', '\\N'],
  ['a zero byte', Buffer.of(0)],
  ['zero bytes after it', '{"event":"a"}\0\0'],
  ['no UTF-8', Buffer.of(0xff, 0xfe, 0x80)],
  ['no UTF-8 within text', Buffer.from('{"event":"\xff"}', 'latin1')],
  ['a lone surrogate in UTF-8', Buffer.from('{"event":"\xed\xa0\x80"}', 'latin1')],
  ['the bytes of another row', bodyOf(sealedOf([good]))],
  ['objects 2,000 deep', `{"event":"a","n":${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}}`],
];

/** Odd, but taken. */
const takenJson: readonly [kind: string, json: string][] = [
  ['an object without properties', '{}'],
  ['null', 'null'],
  ['null between spaces', ' null\n'],
  ['no event', '{"n":1}'],
  ['null as the event', '{"event":null}'],
  ['spaces around', ' \n{"event":"a"}\t'],
  ['a zero character', '{"event":"a\\u0000b"}'],
  ['an empty name', '{"event":"a","":1}'],
  ['a lone high surrogate', '{"event":"a","s":"\\ud800"}'],
  ['a lone low surrogate as the event', '{"event":"\\udc00"}'],
  ['a lone surrogate in a name', '{"event":"a","\\ud800":1}'],
  ['names of columns', '{"event":"a","offset":7,"partition":9,"topic":"x","data":{"event":"b"}}'],
  ['the text of a row', '{"received_at":1,"topic":"x","partition":0,"offset":99,"data":{"event":"a"}}'],
  ['the largest integer', '{"event":"a","n":18446744073709551615}'],
  ['3,000 names', `{"event":"a",${offsets(3_000).map((i) => `"k${i}":1`)}}`],
];

describe('a bad record first, in the middle and last', () => {
  test.each([...refusedJson.map(([kind, json]) => [kind, json] as const), ...refusedBytes])(
    '%s: dead letters, and the others are rows',
    async (_, value) => {
      const { letters, stored } = await insert([value, good, value, good, value]);
      expect(stored).toEqual({ events: [1, 3], deadLetters: [0, 2, 4], repeats: [] });
      expect(new Set(letters.map(({ reason }) => reason)).size).toBe(1);
    },
  );

  test.each(refusedJson)(
    '%s: the dead letter names the path, where ClickHouse does',
    async (_, json, column) => {
      const { letters } = await insert([json]);
      expect(letters).toMatchObject([{ offset: 0, column }]);
      expect(letters[0]?.code).toBeGreaterThan(0);
    },
  );

  test.each(takenJson)('%s is a row', async (_, json) => {
    const { stored } = await insert([json, good, json, '[1]', json]);
    expect(stored).toEqual({ events: [0, 1, 2, 4], deadLetters: [3], repeats: [] });
  });
});

test('all kinds at once: each offset once', async () => {
  const bad = [...refusedJson.map(([, json]) => json), ...refusedBytes.map(([, value]) => value)];
  const taken = takenJson.map(([, json]) => json);
  const { stored } = await insert([...bad, ...taken, ...bad]);
  expect(stored).toEqual({
    events: taken.map((_, index) => bad.length + index),
    deadLetters: [
      ...bad.map((_, index) => index),
      ...bad.map((_, index) => bad.length + taken.length + index),
    ],
    repeats: [],
  });
});

test('5,000 bad records of many kinds among 10,000, and null beside them', async () => {
  const kinds = [...refusedJson.map(([, json]) => json), '[1]', '', '{"a":1}}\n{"b":2}'];
  const values = offsets(10_000).map((i) =>
    i % 2 === 1 ? (kinds[(i >> 1) % kinds.length] as string) : i % 100 === 0 ? 'null' : good,
  );
  const { stored } = await insert(values);
  expect(stored).toEqual({
    events: offsets(10_000).filter((i) => i % 2 === 0),
    deadLetters: offsets(10_000).filter((i) => i % 2 === 1),
    repeats: [],
  });
}, 60_000);

test('a good record behind a bad one stays good, however many bad ones there are', async () => {
  // The cast by which bad records are found reads some good ones as bad after such a number.
  const bad = '{"event":"a","time":1e99}';
  const values = [...offsets(150).map(() => '[1]'), bad, good, bad, bad, good, ' null ', bad, 'null', good];
  const { stored } = await insert(values);
  expect(stored.events).toEqual([151, 154, 155, 157, 158]);
  expect(stored.deadLetters).toHaveLength(values.length - 5);
});

test('records of 17 MiB, good and bad', async () => {
  const filler = 'x'.repeat(17 * 1024 ** 2);
  const { stored } = await insert([
    `{"event":"a","text":"${filler}"}`,
    good,
    `{"event":"a","status":-1,"text":"${filler}"}`,
    `{"event":"a","text":"${filler}`,
    good,
  ]);
  expect(stored).toEqual({ events: [0, 1, 4], deadLetters: [2, 3], repeats: [] });
});

test('when ClickHouse refuses every row, none is blamed for it', async () => {
  const topicId = randomUUID();
  const batch = sealedOf([good, '{"event":"a","status":-1}'], { topicId });
  // As a profile may have it: then no block in format Native can be read.
  const clickhouse = changeClient(store.clickhouse, {
    insert: (sql, rows, options) =>
      store.clickhouse.insert(sql, rows, {
        settings: { ...options?.settings, input_format_native_decode_types_in_binary_format: 1 },
      }),
  });
  const inserting = insertBlock(targetOf(clickhouse, tables), blockOf(batch), await ownerOf(batch, topicId));
  await expect(inserting).rejects.toThrow('even an empty event');
  expect(await store.stored(tables, topicId)).toEqual({ events: [], deadLetters: [], repeats: [] });
});

test('through a whole owner: bad records move no offset before they are dead letters', async () => {
  const site = await openDeliverySite();
  try {
    const values = refusedBytes.map(([, value]) => value);
    await site.append(...values, good);
    const { sink, inserted, failures } = createRealSink(store.clickhouse, tables);
    const count = values.length + 1;
    await site.deliver(sink, () => inserted.length >= Math.ceil(count / 3));
    expect(failures).toEqual([]);
    expect(await site.committed()).toMatchObject({ offset: count, plan: undefined });
    const { events, deadLetters } = await store.stored(tables, site.topicId);
    expect([events, deadLetters]).toEqual([[values.length], values.map((_, index) => index)]);
  } finally {
    await site.close();
  }
});
