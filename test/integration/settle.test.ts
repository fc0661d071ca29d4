import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FencedError } from '../../src/buffer/buffer.ts';
import type { ClickHouse } from '../../src/clickhouse/client.ts';
import type { Tables } from '../../src/clickhouse/tables.ts';
import {
  type BlockOwner,
  type BlockTarget,
  blockOf,
  insertBlock,
} from '../../src/streamer/inserts/insert-block.ts';
import { missingToken, settleBatch } from '../../src/streamer/inserts/settle.ts';
import type { SealedBatch } from '../../src/streamer/protocol/batch.ts';
import type { Sink } from '../../src/streamer/protocol/delivery.ts';
import { type DeliverySite, openDeliverySite } from '../support/delivery.ts';
import {
  createRealSink,
  type DeliveryStore,
  openDeliveryStore,
  ownerOf,
  targetOf,
} from '../support/delivery-store.ts';
import { changeClient } from '../support/pipeline.ts';
import { bodyOf, sealedOf, type TestRecords } from '../support/sealed-batch.ts';

let store: DeliveryStore;
let tables: Tables;

beforeAll(async () => {
  store = await openDeliveryStore();
  tables = await store.createTables();
});

afterAll(async () => {
  await store?.close();
});

const good = '{"event":"a"}';
const bad = '{"event":"a","status":-1}';
/** Two months: two partitions of the table. */
const november = Date.UTC(2025, 10, 30);
const december = Date.UTC(2025, 11, 31);

/** A token that ClickHouse has not seen: rows inserted under it are there, and the plan's token is not known. */
const forgotten = () => `forgotten ${randomUUID()}`;

/** A batch of a topic of its own, and an owner. */
async function prepare(values: readonly string[], records: TestRecords = {}) {
  const topicId = records.topicId ?? randomUUID();
  const batch = sealedOf(values, { ...records, topicId });
  const owner = await ownerOf(batch, topicId);
  const target = targetOf(store.clickhouse, tables);
  return {
    topicId,
    batch,
    owner,
    insert: (rows = blockOf(batch).rows, token = batch.plan.token) =>
      insertBlock(target, { tokenFor: () => token, batch, rows }, owner),
    settle: () => settleBatch(target, batch, owner),
    stored: () => store.stored(tables, topicId),
  };
}

/** A ClickHouse that does not get what `isLost` says, as when the one who inserts is killed. */
function losing(isLost: (sql: string) => boolean): ClickHouse {
  return changeClient(store.clickhouse, {
    async insert(sql, body, options) {
      if (isLost(sql)) throw new FencedError('killed');
      await store.clickhouse.insert(sql, body, options);
    },
  });
}

/** Inserts what is not for `events` and is killed then; gives the insert of `events` that was under way. */
async function insertUntilEvents(
  batch: SealedBatch,
  owner: BlockOwner,
  insert = (target: BlockTarget): Promise<unknown> => insertBlock(target, blockOf(batch), owner),
): Promise<() => Promise<void>> {
  let late = async (): Promise<void> => {};
  let isRefused = false;
  const clickhouse = changeClient(store.clickhouse, {
    async insert(sql, body, options) {
      const isEvents = sql.includes(tables.events);
      // The first insert of a batch with bad rows is refused as a whole.
      if (isEvents && !isRefused && bodyOf(batch).includes(bad)) {
        isRefused = true;
        return await store.clickhouse.insert(sql, body, options);
      }
      if (!isEvents) return await store.clickhouse.insert(sql, body, options);
      const copy = Buffer.from(body);
      late = () => store.clickhouse.insert(sql, copy, options);
      throw new FencedError('killed');
    },
  });
  await insert(targetOf(clickhouse, tables)).catch((error: unknown) => {
    if (!(error instanceof FencedError)) throw error;
  });
  return late;
}

describe('a plan in doubt is settled: one row for each offset, when ClickHouse has', () => {
  const none = { events: [], deadLetters: [], repeats: [] };

  test.each<[string, number[]]>([
    ['all', [0, 1, 2, 3]],
    ['none', []],
    ['the first', [0, 1]],
    ['the last', [3]],
    ['all but one in the middle', [0, 1, 3]],
  ])('%s of its rows', async (_, there) => {
    const { insert, settle, stored } = await prepare([good, good, good, good], { offset: 10 });
    if (there.length > 0) await insert(there, forgotten());
    expect(await settle()).toMatchObject({ found: there.length, rows: 4 - there.length });
    expect(await stored()).toEqual({ ...none, events: [10, 11, 12, 13] });
    expect(await settle()).toMatchObject({ found: 4, rows: 0 });
    expect(await stored()).toEqual({ ...none, events: [10, 11, 12, 13] });
  });

  test.each<[string, number[]]>([
    ['its dead letters and repeats', [1, 3]],
    ['its dead letters and the first row', [0, 1]],
    ['its repeats and the last row', [3, 4]],
    ['everything', [0, 1, 2, 3, 4]],
  ])('%s', async (_, there) => {
    const { insert, settle, stored } = await prepare([good, bad, good, good, bad], {
      ids: ['x', undefined, 'y', 'x', undefined],
    });
    await insert(there, forgotten());
    expect(await settle()).toMatchObject({ found: there.length });
    expect(await stored()).toEqual({ events: [0, 2], deadLetters: [1, 4], repeats: [3] });
  });

  test('rows of another topic of the same name, which do not count', async () => {
    const former = await prepare([good, bad, good], { ids: ['x', undefined, 'x'] });
    await former.insert();
    const { settle, stored } = await prepare([good, bad, good], { ids: ['x', undefined, 'x'] });
    expect(await settle()).toMatchObject({ found: 0, rows: 1, repeats: 1 });
    expect(await stored()).toEqual({ events: [0], deadLetters: [1], repeats: [2] });
    expect(await former.stored()).toEqual({ events: [0], deadLetters: [1], repeats: [2] });
  });

  test('the token, but no longer the rows', async () => {
    const { topicId, insert, settle, stored } = await prepare([good, good, good]);
    await insert();
    await store.clickhouse.execute(`DELETE FROM ${tables.events} WHERE topic_id = {topicId:String}`, {
      params: { topicId },
    });
    await settle();
    expect(await stored()).toEqual({ ...none, events: [0, 1, 2] });
  });
});

describe('an insert that still runs on the server when its plan is settled lands no second row', () => {
  test.each<[string, string[], TestRecords]>([
    ['alone', [good, good], {}],
    ['after the repeats', [good, good, good], { ids: ['x', 'x', 'y'] }],
    ['after the dead letters', [good, bad, good], {}],
    ['of two months', [good, good, good], { receivedAt: [november, december, november] }],
  ])('%s', async (_, values, records) => {
    const { batch, owner, settle, stored } = await prepare(values, records);
    const land = await insertUntilEvents(batch, owner);
    await settle();
    const before = await stored();
    await land();
    expect(await stored()).toEqual(before);
    const { events, deadLetters, repeats } = before;
    expect([...events, ...deadLetters, ...repeats].sort()).toEqual(values.map((__, offset) => offset));
  });

  test('of two months, one of which is there', async () => {
    const receivedAt = [november, december, november, december];
    const { batch, owner, insert, settle, stored } = await prepare([good, good, good, good], { receivedAt });
    const land = await insertUntilEvents(batch, owner);
    await insert([0, 2]);
    await settle();
    await land();
    expect((await stored()).events).toEqual([0, 1, 2, 3]);
  });

  test('of what was missing, after its repeats and dead letters', async () => {
    const { batch, owner, insert, settle, stored } = await prepare([good, bad, good, good, good], {
      ids: ['x', undefined, 'x', 'y', 'z'],
    });
    await insert([0], forgotten());
    const land = await insertUntilEvents(batch, owner, (target) => settleBatch(target, batch, owner));
    await settle();
    await land();
    expect(await stored()).toEqual({ events: [0, 3, 4], deadLetters: [1], repeats: [2] });
  });

  test('nor does that of a second owner who settles it at once', async () => {
    for (let round = 0; round < 10; round++) {
      const { insert, settle, stored } = await prepare([good, bad, good, good, good], {
        ids: ['x', undefined, 'x', 'y', 'z'],
      });
      if (round % 2 === 1) await insert([0], forgotten());
      await Promise.all([settle(), settle(), settle()]);
      expect((await stored()).events).toEqual([0, 3, 4]);
      expect(await settle()).toMatchObject({ found: 5 });
    }
  });
});

test('what an owner refuses beyond what the one before refused is in the dead letters, too', async () => {
  const early = [
    { name: 'event', type: 'String' },
    { name: 'status', type: 'UInt16' },
  ];
  const mine = await store.createTables({ columns: early });
  const topicId = randomUUID();
  const batch = sealedOf([bad, '{"event":"a","n":"x"}', good], { topicId });
  const owner = await ownerOf(batch, topicId);
  let inserts = 0;
  const killed = losing((sql) => sql.includes(mine.events) && ++inserts > 1);
  await expect(insertBlock(targetOf(killed, mine), blockOf(batch), owner)).rejects.toThrow();
  expect(await store.stored(mine, topicId)).toMatchObject({ events: [], deadLetters: [0] });
  // Now `n` is a number: the second row is refused as well.
  await store.clickhouse.execute(`DROP TABLE ${mine.events} SYNC`);
  const later = [...early, { name: 'n', type: 'Nullable(Int64)' }];
  await store.createTables({ database: mine.database, columns: later });
  await insertBlock(targetOf(store.clickhouse, mine), blockOf(batch), owner);
  expect(await store.stored(mine, topicId)).toEqual({ events: [2], deadLetters: [0, 1], repeats: [] });
});

test('the token of a gap is the same for whoever finds it, and for nothing else', () => {
  const batch = sealedOf(['1', '2', '3', '4']);
  const token = missingToken(batch, [1, 3], 1);
  expect(missingToken(sealedOf(['1', '2', '3', '4']), [1, 3], 1)).toBe(token);
  const others = [
    missingToken(batch, [1, 2], 1),
    missingToken(batch, [1, 3], 2),
    missingToken(batch, [1], 1),
    missingToken(sealedOf(['1', '2', '3', '4'], { offset: 1 }), [1, 3], 1),
    missingToken(sealedOf(['1', '2', '3', '4'], { topicId: 'other' }), [1, 3], 1),
    batch.plan.token,
  ];
  expect(new Set([token, ...others]).size).toBe(7);
});

describe('whole owners, one after another', () => {
  const values = [good, good, bad, good, good, bad, good];

  /** Inserts through the real sink, then dies before the end is committed. */
  const dyingAfter = (sink: Sink): Sink => ({
    ...sink,
    async insert(...how) {
      await sink.insert(...how);
      throw new FencedError('killed');
    },
  });

  async function deliverAll(settleAfterMs: number, between: (site: DeliverySite) => Promise<void>) {
    const mine = await store.createTables();
    const site = await openDeliverySite();
    try {
      await site.append(...values);
      await site.appendWithIds('{"event":"x"}', '{"event":"y"}', '{"event":"x"}');
      const first = createRealSink(store.clickhouse, mine);
      await site.deliver(dyingAfter(first.sink), () => first.inserted.length > 0);
      await between(site);
      const second = createRealSink(store.clickhouse, mine, settleAfterMs);
      await site.deliver(second.sink, async () => second.inserted.length >= 4);
      expect(await site.committed()).toMatchObject({ offset: 10, plan: undefined });
      expect(await store.stored(mine, site.topicId)).toEqual({
        events: [0, 1, 3, 4, 6, 7, 8],
        deadLetters: [2, 5],
        repeats: [9],
      });
      return second;
    } finally {
      await site.close();
    }
  }

  test('a plan that is there is not inserted twice by its token', async () => {
    await deliverAll(1_800_000, async () => {});
  });

  test('a plan older than ClickHouse remembers is settled by asking', async () => {
    const { settled } = await deliverAll(0, async () => {});
    expect(settled).toEqual([{ reason: expect.stringMatching(/^the plan is \d+ s old/), found: 3 }]);
  });

  test('a plan of an earlier version, whose crc was taken over other bytes, is settled by asking', async () => {
    const { settled } = await deliverAll(1_800_000, async (site) => {
      await site.withPartition(async (partition) => {
        const { offset, plan } = (await partition.committed()) as { offset: number; plan: string };
        const note = JSON.parse(plan);
        await partition.commit(offset, JSON.stringify({ ...note, v: 2, plan: { ...note.plan, crc: 7 } }));
      });
    });
    expect(settled).toEqual([{ reason: expect.stringContaining('earlier version'), found: 3 }]);
  });

  test('after ClickHouse was killed, the plan is settled by asking', async () => {
    const { settled } = await deliverAll(1_800_000, () => store.restart());
    expect(settled).toEqual([{ reason: expect.stringMatching(/^ClickHouse was started/), found: 3 }]);
  });
});
