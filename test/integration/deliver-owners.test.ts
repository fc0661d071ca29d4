/** What passes from one owner of a partition to the next: ids, open plans, topics, the right to insert. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FencedError, OffsetOutOfRangeError, type OwnedPartition } from '../../src/buffer/buffer.ts';
import { type CommitNote, decodeNote, encodeNote } from '../../src/streamer/protocol/plan.ts';
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
  vi.restoreAllMocks();
  await site.close();
});

const crashing = () =>
  createSink(() => {
    throw new FencedError('crash');
  });

describe('repeats', () => {
  test('are found within a batch and across batches', async () => {
    await site.appendWithIds('a', undefined, 'a', 'b', 'a', undefined, 'b');
    const { sink, inserts } = createSink();
    await site.deliver(sink, () => inserts.length === 3);
    expect(inserts.map(({ repeats }) => repeats)).toEqual([[[2, 0]], [[4, 2]], [[6, 3]]]);
  });

  test('are found across owners, in the batch in flight as well', async () => {
    await site.appendWithIds(undefined, 'a', 'b');
    const first = createSink();
    await site.deliver(first.sink, () => first.inserts.length === 1);
    await site.appendWithIds('b', 'c', 'c');
    const second = crashing();
    await site.deliver(second.sink, () => second.inserts.length === 1);
    await site.appendWithIds('a', 'c', 'd');
    const third = createSink();
    await site.deliver(third.sink, () => third.inserts.length === 2);
    expect(second.inserts[0]?.repeats).toEqual([
      [3, 2],
      [5, 4],
    ]);
    expect(third.inserts[0]).toMatchObject({
      repeats: second.inserts[0]?.repeats,
      token: second.inserts[0]?.token,
    });
    expect(third.inserts[0]?.how.doubt).toBeUndefined();
    expect(third.inserts[1]?.repeats).toEqual([
      [6, 1],
      [7, 5],
    ]);
  });

  test('are the same after a crash over the very first batch', async () => {
    await site.appendWithIds('a', 'b', 'a');
    const first = crashing();
    await site.deliver(first.sink, () => first.inserts.length === 1);
    expect((await site.committed())?.ids?.offset).toBeUndefined();
    const second = createSink();
    await site.deliver(second.sink, () => second.inserts.length === 1);
    expect(second.inserts[0]).toMatchObject({ repeats: [[2, 0]], token: first.inserts[0]?.token });
    expect(second.inserts[0]?.how.doubt).toBeUndefined();
  });

  test('a new owner reads ids from the mark in the note, and nothing before it', async () => {
    await site.appendWithIds(undefined, undefined, undefined);
    await site.appendWithIds(undefined, 'a', 'b');
    const first = createSink();
    await site.deliver(first.sink, () => first.inserts.length === 2);
    expect(await site.committed()).toMatchObject({ offset: 6, ids: { offset: 4 } });
    const reads: number[] = [];
    await site.appendWithIds('a');
    const second = createSink();
    await site.deliver(second.sink, () => second.inserts.length === 1, {
      alter: (partition) =>
        alterPartition(partition, {
          read(from, options) {
            reads.push(from);
            return partition.read(from, options);
          },
        }),
    });
    expect(Math.min(...reads)).toBe(4);
    expect(second.inserts[0]?.repeats).toEqual([[6, 4]]);
  });

  test('are not looked for without a window', async () => {
    await site.appendWithIds('a', 'a', 'a');
    const { sink, inserts } = createSink();
    await site.deliver(sink, () => inserts.length === 1, { ids: { windowMs: 0 } });
    expect(inserts[0]?.repeats).toEqual([]);
    expect((await site.committed())?.ids).toBeUndefined();
  });

  test('of a plan that count otherwise now make its token doubtful', async () => {
    await site.appendWithIds('a', 'a', 'b');
    const first = crashing();
    await site.deliver(first.sink, () => first.inserts.length === 1);
    const second = createSink();
    await site.deliver(second.sink, () => second.inserts.length === 1, { ids: { windowMs: 0 } });
    expect(second.inserts[0]?.how).toMatchObject({
      isReplay: true,
      doubt: expect.stringContaining('count as repeats'),
    });
  });
});

describe('retention', () => {
  /** A partition of which everything before `state.start` is gone; it gives one block a read. */
  function expiring(state: { start: number }, onRead: (from: number) => void = () => {}) {
    return (partition: OwnedPartition): OwnedPartition =>
      alterPartition(partition, {
        async bounds() {
          const { start, end } = await partition.bounds();
          return { start: Math.max(start, state.start), end };
        },
        async read(from, options) {
          onRead(from);
          const { end } = await partition.bounds();
          const { topic, partition: number } = partition;
          if (from < state.start)
            throw new OffsetOutOfRangeError(topic, number, { from, start: state.start, end });
          return await partition.read(from, { ...options, maxBytes: 1 });
        },
      });
  }

  async function leavePlan(): Promise<string | undefined> {
    await site.append('0', '1', '2', '3', '4');
    const { sink, inserts } = crashing();
    await site.deliver(sink, () => inserts.length === 1);
    return inserts[0]?.token;
  }

  test('that passed a part of an open plan: the rest is settled, what is nowhere is counted', async () => {
    const token = await leavePlan();
    const next = createSink();
    // Of three records one was inserted before it expired, one survives: one is lost.
    next.state.delivered = 2;
    const { observer, seen } = createObserver();
    const alter = expiring({ start: 2 });
    await site.deliver(next.sink, () => next.inserts.length === 2, { observer, alter });
    expect(next.inserts[0]).toMatchObject({ token, rows: ['2'] });
    expect(next.inserts[0]?.how).toMatchObject({ isReplay: true, doubt: 'retention has passed it' });
    expect(next.counted).toEqual([expect.objectContaining({ start: 0, end: 3 })]);
    expect(next.inserts[1]?.rows).toEqual(['3', '4']);
    expect(seen).toEqual(['replaying 0-3', 'expired 0-2: 1 lost']);
    expect(await site.committed()).toMatchObject({ offset: 5, plan: undefined });
  });

  test('that passed a plan which was inserted before: nothing is lost', async () => {
    await leavePlan();
    const next = createSink();
    next.state.delivered = 3;
    const { observer, seen } = createObserver();
    await site.deliver(next.sink, () => next.inserts.length === 1, {
      observer,
      alter: expiring({ start: 3 }),
    });
    expect(next.inserts.map(({ rows }) => rows)).toEqual([['3', '4']]);
    expect(seen).toEqual(['replaying 0-3']);
  });

  test('that passed a plan and more: both are counted, once', async () => {
    await leavePlan();
    const next = createSink();
    next.state.delivered = (start) => (start === 0 ? 1 : 0);
    const { observer, seen } = createObserver();
    await site.deliver(next.sink, () => next.inserts.length === 1, {
      observer,
      alter: expiring({ start: 4 }),
    });
    expect(next.inserts.map(({ rows }) => rows)).toEqual([['4']]);
    expect(seen).toEqual(['replaying 0-3', 'expired 0-3: 2 lost', 'expired 3-4: 1 lost']);
    const again = createObserver();
    const idle = createSink();
    await site.append('5');
    await site.deliver(idle.sink, () => idle.inserts.length === 1, { observer: again.observer });
    expect(again.seen).toEqual([]);
  });

  test('that passes a plan while it is read again is noticed', async () => {
    await leavePlan();
    const state = { start: 0 };
    const next = createSink();
    next.state.delivered = 2;
    const { observer, seen } = createObserver();
    const alter = expiring(state, () => {
      state.start = 1;
    });
    await site.deliver(next.sink, () => next.inserts.length === 2, { observer, alter });
    expect(next.inserts[0]).toMatchObject({ rows: ['1', '2'], how: { doubt: 'retention has passed it' } });
    expect(seen.at(-1)).toBe('expired 0-1: 1 lost');
  });

  test('that passed the position with nothing in flight', async () => {
    await site.append('0', '1', '2', '3');
    const next = createSink();
    const { observer, seen } = createObserver();
    await site.withPartition((partition) =>
      partition.commit(
        1,
        encodeNote({ topicId: partition.topicId, ids: undefined, settleUntil: undefined, plan: undefined }),
      ),
    );
    await site.deliver(next.sink, () => next.inserts.length === 1, {
      observer,
      alter: expiring({ start: 3 }),
    });
    expect(next.inserts.map(({ rows }) => rows)).toEqual([['3']]);
    expect(seen).toEqual(['expired 1-3: 2 lost']);
  });

  test('that passed what ClickHouse has, after the commit was set back: nothing is lost', async () => {
    await site.append('0', '1', '2', '3');
    const next = createSink();
    next.state.delivered = 3;
    const { observer, seen } = createObserver();
    await site.deliver(next.sink, () => next.inserts.length === 1, {
      observer,
      alter: (partition) =>
        alterPartition(expiring({ start: 3 })(partition), {
          committed: async () => ({ offset: 0, plan: '' }),
        }),
    });
    expect(next.inserts.map(({ rows }) => rows)).toEqual([['3']]);
    expect(seen).toEqual([]);
  });

  test('that passed the position while the commit was forgotten: ClickHouse knows what is lost', async () => {
    await site.append('0', '1', '2', '3');
    const next = createSink();
    next.state.last = 0;
    const { observer, seen } = createObserver();
    await site.deliver(next.sink, () => next.inserts.length === 1, {
      observer,
      alter: expiring({ start: 3 }),
    });
    expect(next.inserts.map(({ rows }) => rows)).toEqual([['3']]);
    expect(seen[0]).toBe('expired 1-3: 2 lost');
  });

  test('that passes a running reader: what was read before is delivered, only what is gone is counted', async () => {
    await site.append('0', '1', '2', '3', '4');
    await site.append('5', '6');
    await site.append('7', '8');
    const state = { start: 0 };
    const alter = expiring(state, (from) => {
      if (from === 5) state.start = 7;
    });
    const { sink, inserts } = createSink();
    const { observer, seen } = createObserver();
    await site.deliver(sink, () => inserts.length === 3, { observer, alter });
    expect(inserts.map(({ rows }) => rows)).toEqual([
      ['0', '1', '2'],
      ['3', '4'],
      ['7', '8'],
    ]);
    expect(seen).toEqual(['expired 5-7: 2 lost']);
    expect(await site.committed()).toMatchObject({ offset: 9, plan: undefined });
  });
});

describe('a commit that was lost or set back', () => {
  test('is noticed: each batch up to what ClickHouse has is settled by asking, the others are not', async () => {
    await site.append('0', '1', '2', '3', '4', '5', '6', '7');
    const { sink, inserts, state } = createSink();
    state.last = 4;
    const { observer, seen } = createObserver();
    await site.deliver(sink, () => inserts.length === 3, { observer });
    expect(seen).toEqual(['regressed 0, 4 is there']);
    expect(inserts.map(({ how }) => how.doubt?.includes('up to offset 4') ?? false)).toEqual([
      true,
      true,
      false,
    ]);
    expect(inserts.map(({ note }) => decodeNote(note)?.settleUntil)).toEqual([5, 5, undefined]);
  });

  test('set forward by hand: what that skips is told, once', async () => {
    await site.append('0', '1', '2', '3', '4', '5');
    await site.withPartition((partition) => partition.commit(4, ''));
    const { sink, inserts, state } = createSink();
    state.last = 1;
    sink.findLastDelivered = async (_, from) => (from > 1 ? undefined : 1);
    const { observer, seen } = createObserver();
    await site.deliver(sink, () => inserts.length === 1, { observer });
    expect(seen).toEqual(['skipped 2-4']);
    expect(inserts.map(({ rows }) => rows)).toEqual([['4', '5']]);
    await site.append('6');
    await site.deliver(sink, () => inserts.length === 2, { observer });
    expect(seen).toEqual(['skipped 2-4']);
  });

  test('is not forgotten by the next owner, who finds the plan of a batch that is to be settled', async () => {
    await site.append('0', '1', '2');
    const first = crashing();
    first.state.last = 2;
    await site.deliver(first.sink, () => first.inserts.length === 1);
    const second = createSink();
    const { observer, seen } = createObserver();
    await site.deliver(second.sink, () => second.inserts.length === 1, { observer });
    expect(second.inserts[0]?.how).toMatchObject({
      isReplay: true,
      doubt: expect.stringContaining('offset 2'),
    });
    expect(seen).toEqual(['replaying 0-3']);
    expect((await site.committed())?.settleUntil).toBeUndefined();
  });
});

describe('a topic of the same name made anew', () => {
  /** The same partition with commits of its own, the last of them of a topic that is gone. */
  function withFormer(note: Partial<CommitNote>) {
    const commits = [
      {
        offset: 1,
        plan: encodeNote({
          topicId: 'former',
          ids: undefined,
          settleUntil: undefined,
          plan: undefined,
          ...note,
        }),
      },
    ];
    const alter = (partition: OwnedPartition) =>
      alterPartition(partition, {
        committed: async () => commits.at(-1),
        commit: async (offset, plan) => void commits.push({ offset, plan }),
      });
    return { alter, commits };
  }

  test('is read from its start, though the former one was committed further', async () => {
    await site.append('0', '1');
    const { alter, commits } = withFormer({ ids: { offset: 0, logTime: 1 } });
    const { sink, inserts, counted } = createSink();
    const { observer, seen } = createObserver();
    await site.deliver(sink, () => inserts.length === 1, { observer, alter });
    expect(inserts[0]).toMatchObject({ rows: ['0', '1'], token: `events:${site.topicId}:0:0:2` });
    expect(seen).toEqual(['topic changed from former: 0 lost']);
    expect(counted).toEqual([]);
    expect(commits[1]).toEqual({
      offset: 0,
      plan: encodeNote({ topicId: site.topicId, ids: undefined, settleUntil: undefined, plan: undefined }),
    });
  });

  test('with a plan in flight: it is not inserted from other records, and what of it is nowhere is counted', async () => {
    await site.append('0', '1', '2', '3');
    const plan = { start: 1, end: 3, rows: 2, crc: 5, repeatsCrc: 0, token: 'former token', sealedAt: 1 };
    const { alter } = withFormer({ plan });
    const { sink, inserts, counted, state } = createSink();
    state.delivered = 1;
    const { observer, seen } = createObserver();
    await site.deliver(sink, () => inserts.length === 2, { observer, alter });
    expect(inserts.map(({ rows }) => rows)).toEqual([['0', '1', '2'], ['3']]);
    expect(inserts.map(({ how }) => how.isReplay)).toEqual([false, false]);
    expect(counted).toEqual([{ topicId: 'former', start: 1, end: 3 }]);
    expect(seen).toEqual(['topic changed from former: 1 lost']);
  });
});

describe('the right to insert', () => {
  /** Lets so much time pass as if the process had been stopped. */
  function stopFor(ms: number): void {
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
  }

  test('is asked for again after a stop; whoever was replaced meanwhile sends nothing', async () => {
    await site.append('1');
    const second = createSink();
    let outcome: unknown;
    const first = createSink(async (_, __, { lease }) => {
      await site.deliver(second.sink, () => second.inserts.length === 1);
      stopFor(3_001);
      outcome = await lease.hold().catch((error: unknown) => error);
    });
    await site.deliver(first.sink, () => false);
    expect(outcome).toBeInstanceOf(FencedError);
    expect(await site.committed()).toMatchObject({ offset: 1, plan: undefined });
  });

  test('is still there after a stop when nobody else came', async () => {
    await site.append('1');
    let outcome: unknown = 'not asked';
    const { sink, inserts } = createSink(async (_, partition, { lease }) => {
      const before = await partition.committed();
      stopFor(60_000);
      outcome = await lease.hold();
      expect(await partition.committed()).toEqual(before);
    });
    await site.deliver(sink, () => inserts.length === 1);
    expect(outcome).toBeUndefined();
    expect(await site.committed()).toMatchObject({ offset: 1, plan: undefined });
  });
});
