import { describe, expect, test } from 'vitest';
import type { BufferInspector, PartitionView } from '../../../src/buffer/buffer.ts';
import type { ClickHouse } from '../../../src/clickhouse/client.ts';
import { nameTables } from '../../../src/clickhouse/tables.ts';
import { createReceiptLookup } from '../../../src/receipts/receipt-lookup.ts';
import { encodeNote } from '../../../src/streamer/protocol/plan.ts';

const view: PartitionView = { partition: 0, start: 5, end: 20, commit: { offset: 10, plan: '' } };

/** A lookup whose buffer is `view`, and whose ClickHouse answers with `rows` when `gate` opens. */
function createLookup(
  options: { rows?: object[]; gate?: Promise<void>; isReplicated?: boolean; note?: string } = {},
) {
  const asked: string[] = [];
  let views = 0;
  const inspector: BufferInspector = {
    topic: 'events',
    isDense: true,
    view: async () => {
      views++;
      const commit = { offset: 10, plan: options.note ?? '' };
      return { topicId: 't', partitions: [{ ...view, commit }] };
    },
    read: async (_partition, from) => ({
      blocks: [
        { count: 1, bytes: Buffer.alloc(0), starts: [0], ends: [0], offsets: [from], receivedAt: [42] },
      ],
      next: from + 1,
    }),
    offsetAt: async () => 0,
    close: async () => {},
  };
  const clickhouse = {
    query: async (sql: string) => {
      asked.push(sql);
      await options.gate;
      if (sql.includes('system.tables'))
        return options.isReplicated ? [{ engine: 'ReplicatedMergeTree' }] : [{ engine: 'MergeTree' }];
      return options.rows ?? [];
    },
    execute: async (sql: string) => void asked.push(sql),
    close: async () => {},
  } as unknown as ClickHouse;
  const lookup = createReceiptLookup({
    openInspector: async () => inspector,
    createClickHouse: () => clickhouse,
    tables: nameTables({ database: 'd', cluster: undefined }),
    columns: new Set(['os']),
  });
  return { lookup, asked, views: () => views };
}

describe('a lookup', () => {
  test('tells what is in no table apart: delivered and gone, accepted, never there', async () => {
    const { lookup } = createLookup();
    expect(await lookup.find({ partition: 0, offset: 9 })).toMatchObject({ state: 'unknown' });
    expect(await lookup.find({ partition: 0, offset: 10 })).toEqual({ state: 'accepted' });
    expect(await lookup.find({ partition: 0, offset: 19 })).toEqual({ state: 'accepted' });
    expect(await lookup.find({ partition: 0, offset: 20 })).toMatchObject({ state: 'unknown' });
    expect(await lookup.find({ partition: 1, offset: 0 })).toMatchObject({ state: 'unknown' });
  });

  test('does not take a commit of a former topic of the same name for its own', async () => {
    const noteOf = (topicId: string) =>
      encodeNote({ topicId, ids: undefined, settleUntil: undefined, plan: undefined });
    const former = createLookup({ note: noteOf('former') });
    expect(await former.lookup.find({ partition: 0, offset: 9 })).toEqual({ state: 'accepted' });
    const own = createLookup({ note: noteOf('t') });
    expect(await own.lookup.find({ partition: 0, offset: 9 })).toMatchObject({ state: 'unknown' });
  });

  test('says which column a dead letter was refused for, and nothing of what the event holds', async () => {
    const row = {
      source: 'dead_letter',
      received_at: 'r',
      at: 'a',
      number: 27,
      reason: 'cannot parse "s3cret"',
    };
    const find = (column: string) =>
      createLookup({ rows: [{ ...row, column }] }).lookup.find({ partition: 0, offset: 9 });
    const told = { state: 'dead_letter', refused_at: 'a', code: 27 };
    expect(await find('os')).toEqual({ ...told, column: 'os' });
    expect(await find('s3cret')).toEqual({ ...told, column: '' });
  });

  test('asks a replica to catch up before it says that a row is gone', async () => {
    const { lookup, asked } = createLookup({ isReplicated: true });
    await lookup.find({ partition: 0, offset: 9 });
    expect(asked.filter((sql) => sql.startsWith('SYSTEM SYNC REPLICA'))).toHaveLength(3);
    expect(asked.at(-1)).toContain('SELECT');
  });

  test('narrows the search by the time of the record', async () => {
    const { lookup, asked } = createLookup();
    await lookup.find({ partition: 0, offset: 12 });
    expect(asked[0]).toContain('fromUnixTimestamp64Milli(toInt64(42)');
  });

  test('uses one view for many receipts that it holds, and takes a new one for what it does not', async () => {
    const { lookup, views } = createLookup();
    for (let i = 0; i < 5; i++) await lookup.find({ partition: 0, offset: 12 });
    expect(views()).toBe(1);
    await lookup.find({ partition: 0, offset: 20 });
    expect(views()).toBe(2);
  });

  test('refuses more than sixteen at a time, and takes more afterwards', async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { lookup } = createLookup({ gate });
    const running = Array.from({ length: 16 }, () => lookup.find({ partition: 0, offset: 12 }));
    expect(await lookup.find({ partition: 0, offset: 12 })).toMatchObject({ state: 'overloaded' });
    open();
    expect(await Promise.all(running)).toEqual(new Array(16).fill({ state: 'accepted' }));
    expect(await lookup.find({ partition: 0, offset: 12 })).toEqual({ state: 'accepted' });
    await lookup.close();
    expect(await lookup.find({ partition: 0, offset: 12 })).toMatchObject({ state: 'unavailable' });
  });
});
