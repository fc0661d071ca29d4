import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FencedError } from '../../src/buffer/buffer.ts';
import { InvariantError } from '../../src/errors.ts';
import { decodeNote, encodeNote } from '../../src/streamer/protocol/plan.ts';
import {
  alterPartition,
  createObserver,
  createSink,
  type DeliverySite,
  openDeliverySite,
} from '../support/delivery.ts';

let site: DeliverySite;

beforeEach(async () => {
  site = await openDeliverySite();
});

afterEach(async () => {
  await site.close();
});

const committed = () => site.committed();

/** A commit with nothing in flight. */
const delivered = (offset: number) => ({ offset, topicId: site.topicId, plan: undefined });

describe('the protocol', () => {
  test('writes the plan of a batch down before it inserts it, and the end afterwards', async () => {
    await site.append('1', '2', '3', '4', '5');
    const { sink, inserts } = createSink();
    await site.deliver(sink, () => inserts.length === 2);
    expect(inserts.map(({ rows }) => rows)).toEqual([
      ['1', '2', '3'],
      ['4', '5'],
    ]);
    for (const { token, note } of inserts) expect(decodeNote(note)?.plan?.token).toBe(token);
    expect(await committed()).toMatchObject(delivered(5));
  });

  test('the next batch starts where the one before ended, across owners', async () => {
    await site.append('1', '2');
    const { sink, inserts } = createSink();
    await site.deliver(sink, async () => inserts.length === 1);
    await site.append('3');
    await site.deliver(sink, () => inserts.length === 2);
    expect(inserts.map(({ rows }) => rows)).toEqual([['1', '2'], ['3']]);
    expect(await committed()).toMatchObject(delivered(3));
  });

  test('a token names the topic, its id, the partition and the range', async () => {
    await site.append('1', '2', '3', '4');
    const { sink, inserts } = createSink();
    await site.deliver(sink, () => inserts.length === 2);
    expect(inserts.map(({ token }) => token)).toEqual([
      `events:${site.topicId}:0:0:3`,
      `events:${site.topicId}:0:3:4`,
    ]);
  });
});

describe('an owner that stops between plan and end', () => {
  test('leaves the plan; the next inserts the same rows with the same token, whatever came after', async () => {
    await site.append('1', '2');
    const crash = createSink(() => {
      throw new FencedError('crash');
    });
    await site.deliver(crash.sink, () => crash.inserts.length === 1);
    await site.append('3', '4', '5');
    const next = createSink();
    const { observer, seen } = createObserver();
    await site.deliver(next.sink, () => next.inserts.length === 2, { observer });
    expect(next.inserts[0]).toMatchObject({
      token: crash.inserts[0]?.token,
      rows: ['1', '2'],
      how: { isReplay: true },
    });
    expect(next.inserts[1]).toMatchObject({ rows: ['3', '4', '5'], how: { isReplay: false } });
    expect(seen).toEqual(['replaying 0-2']);
    expect(await committed()).toMatchObject(delivered(5));
  });

  test('stays at the plan however many owners crash over it', async () => {
    await site.append('1', '2', '3', '4');
    const crash = createSink(() => {
      throw new FencedError('crash');
    });
    for (let owner = 1; owner <= 4; owner++) {
      await site.deliver(crash.sink, () => crash.inserts.length === owner);
      expect(await committed()).toMatchObject({ offset: 0, plan: { start: 0, end: 3, rows: 3 } });
    }
    expect(new Set(crash.inserts.map(({ token }) => token)).size).toBe(1);
  });

  test('finishes an insert in flight and commits its end when it is told to stop', async () => {
    await site.append('1');
    let isInserting = false;
    const { sink } = createSink(async (_batch, { signal }) => {
      isInserting = true;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    });
    await site.deliver(sink, () => isInserting);
    expect(await committed()).toMatchObject(delivered(1));
  });
});

describe('what must never happen stops delivery instead', () => {
  const changePlan = (change: object) =>
    site.withPartition(async (partition) => {
      const note = decodeNote((await partition.committed())?.plan ?? '');
      if (note?.plan === undefined) throw new Error('there is no plan');
      await partition.commit(note.plan.start, encodeNote({ ...note, plan: { ...note.plan, ...change } }));
    });

  async function leavePlan(): Promise<void> {
    await site.append('1', '2');
    const { sink, inserts } = createSink(() => {
      throw new FencedError('crash');
    });
    await site.deliver(sink, () => inserts.length === 1);
  }

  test.each([
    ['other bytes', { crc: 1 }, /says 2 rows with crc 1 in offsets 0 to 2, but it holds 2 rows/],
    ['fewer rows', { rows: 1 }, /says 1 rows/],
    ['an end that is not there', { end: 9 }, /the buffer ends at 2/],
  ])('a plan of %s: nothing is inserted', async (_, change, reason) => {
    await leavePlan();
    await changePlan(change);
    const { sink, inserts } = createSink();
    const error = await site.deliver(sink, () => false);
    expect(String(error)).toMatch(reason);
    expect(inserts).toEqual([]);
  });

  test('a plan whose records are all gone, although retention has not passed it', async () => {
    await leavePlan();
    const { sink, inserts } = createSink();
    const error = await site.deliver(sink, () => false, {
      // As after the topic was compacted.
      alter: (partition) =>
        alterPartition(partition, {
          read: async (from, options) => (from < 2 ? { blocks: [], next: 2 } : partition.read(from, options)),
        }),
    });
    expect(String(error)).toMatch(/says 2 rows .* but it holds 0 rows/);
    expect(inserts).toEqual([]);
    expect(await committed()).toMatchObject({ offset: 0, plan: { start: 0, end: 2 } });
  });

  test('a commit beyond the end of the buffer, as after a topic was made anew', async () => {
    await site.append('1');
    const error = await site.deliver(createSink().sink, () => false, {
      alter: (partition) => alterPartition(partition, { committed: async () => ({ offset: 7, plan: '' }) }),
    });
    expect(String(error)).toMatch(/ends at 1, but 7 was committed/);
  });

  test('metadata of somebody else', async () => {
    await site.append('1');
    await site.withPartition((partition) => partition.commit(0, 'hello'));
    const { sink, inserts } = createSink();
    expect(await site.deliver(sink, () => false)).toBeInstanceOf(InvariantError);
    expect(inserts).toEqual([]);
  });
});

test('an owner that was replaced cannot write a plan any more, so it inserts nothing new', async () => {
  await site.append('1');
  let takeOver: Promise<unknown> | undefined;
  const second = createSink();
  const first = createSink(async () => {
    // While the first inserts, a second owner takes over and finishes the plan; more events come.
    takeOver ??= site.deliver(second.sink, () => second.inserts.length === 1);
    await takeOver;
    await site.append('2');
  });
  await site.deliver(first.sink, () => false);
  expect(first.inserts).toHaveLength(1);
  expect(second.inserts.map(({ token }) => token)).toEqual(first.inserts.map(({ token }) => token));
  expect(await committed()).toMatchObject({ offset: 1, plan: undefined });
});
