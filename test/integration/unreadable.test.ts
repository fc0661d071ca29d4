/** Records that cannot be read are dead letters by name, once each, whatever is killed; their neighbours are rows. */

import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FencedError } from '../../src/buffer/buffer.ts';
import type { Tables } from '../../src/clickhouse/tables.ts';
import { replayLetters } from '../../src/dead-letters/replay-letters.ts';
import { blockOf, insertBlock } from '../../src/streamer/inserts/insert-block.ts';
import { settleBatch } from '../../src/streamer/inserts/settle.ts';
import {
  createRealSink,
  type DeliveryStore,
  openDeliveryStore,
  ownerOf,
  targetOf,
} from '../support/delivery-store.ts';
import { changeClient } from '../support/pipeline.ts';
import { sealedOf } from '../support/sealed-batch.ts';

const log = pino({ level: 'silent' });
const good = '{"event":"good"}';
/** Refused by ClickHouse. */
const bad = '{"event":"bad","status":-1}';
const reason = 'BATCH_DAMAGED: the record batch of offsets 1 to 2, 99 bytes as stored, cannot be read: why';
/** What is kept of a batch, at its last offset; the others are empty. An event would be taken by ClickHouse. */
const values = [good, '', good, bad, good];
const unreadable = [undefined, reason, reason];

let store: DeliveryStore;
let tables: Tables;

beforeAll(async () => {
  store = await openDeliveryStore();
  tables = await store.createTables();
});

afterAll(async () => {
  await store?.close();
});

/** The batch of a topic of its own, and its owner. */
async function prepare() {
  const topicId = randomUUID();
  const batch = sealedOf(values, { topicId, unreadable });
  return { topicId, batch, owner: await ownerOf(batch, topicId) };
}

async function expectStored(topicId: string): Promise<void> {
  expect(await store.stored(tables, topicId)).toEqual({
    events: [0, 4],
    deadLetters: [1, 2, 3],
    repeats: [],
  });
  const letters = await store.letters(tables, topicId);
  expect(letters.slice(0, 2)).toMatchObject([
    { offset: 1, code: 0, column: '', reason, raw: Buffer.from('') },
    { offset: 2, code: 0, column: '', reason, raw: Buffer.from(good) },
  ]);
  expect(letters[2]?.code).not.toBe(0);
}

test('in one attempt, and settled again by another owner', async () => {
  const { topicId, batch, owner } = await prepare();
  const target = targetOf(store.clickhouse, tables);
  const result = await insertBlock(target, blockOf(batch), owner);
  expect(result).toMatchObject({ rows: 2, repeats: 0 });
  expect(result.refused.map(({ index }) => index)).toEqual([1, 2, 3]);
  await expectStored(topicId);
  expect(await settleBatch(target, batch, owner)).toMatchObject({ found: 5, rows: 0, refused: [] });
  await expectStored(topicId);
});

test('settled when ClickHouse has nothing of them', async () => {
  const { topicId, batch, owner } = await prepare();
  expect(await settleBatch(targetOf(store.clickhouse, tables), batch, owner)).toMatchObject({
    found: 0,
    rows: 2,
  });
  await expectStored(topicId);
});

test.each([1, 2, 3, 4])(
  'killed before insert %d of the attempt, and done again by the next owner',
  async (lost) => {
    const { topicId, batch, owner } = await prepare();
    let inserts = 0;
    const dying = changeClient(store.clickhouse, {
      async insert(sql, body, options) {
        if (!sql.includes('FUNCTION null') && ++inserts === lost) throw new FencedError('killed');
        await store.clickhouse.insert(sql, body, options);
      },
    });
    await expect(insertBlock(targetOf(dying, tables), blockOf(batch), owner)).rejects.toThrow('killed');
    const { sink, inserted } = createRealSink(store.clickhouse, tables);
    await sink.insert(batch, owner.partition, { lease: owner.lease, isReplay: true });
    expect(inserted).toHaveLength(1);
    await expectStored(topicId);
  },
);

test('a replay never makes a row of them, though ClickHouse would take the bytes', async () => {
  const { topicId, batch, owner } = await prepare();
  await insertBlock(targetOf(store.clickhouse, tables), blockOf(batch), owner);
  const options = { clickhouse: store.clickhouse, tables, cluster: undefined, dryRun: false, log };
  const result = await replayLetters({ ...options, skipDuplicatePaths: false, filter: { code: 0 } });
  expect(result.replayed).toBe(0);
  expect(result.refused.groups()[0]).toMatchObject({
    code: 0,
    reason: expect.stringMatching(/^BATCH_DAMAGED: /),
  });
  await expectStored(topicId);
});

test('records whose time is none are delivered, once', async () => {
  const topicId = randomUUID();
  const times = [2 ** 53 - 1, -(2 ** 53) + 1, -1, 0, 2 ** 52, 4_102_444_800_000, 10_413_791_999_999, 1e15];
  const batch = sealedOf([...times.map(() => good), bad], { topicId, receivedAt: [...times, 2 ** 53 - 1] });
  const { partition, lease } = await ownerOf(batch, topicId);
  const { sink, failures } = createRealSink(store.clickhouse, tables);
  await sink.insert(batch, partition, { lease, isReplay: false });
  expect(failures).toEqual([]);
  const offsets = times.map((_, offset) => offset);
  expect(await store.stored(tables, topicId)).toEqual({
    events: offsets,
    deadLetters: [times.length],
    repeats: [],
  });
  await sink.insert(batch, partition, { lease, isReplay: true, doubt: 'a test' });
  expect(await store.stored(tables, topicId)).toMatchObject({ events: offsets });
});
