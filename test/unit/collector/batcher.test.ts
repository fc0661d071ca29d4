import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  BufferUnavailableError,
  type BufferWriter,
  type DependencyState,
  OutcomeUnknownError,
  RecordsRefusedError,
} from '../../../src/buffer/buffer.ts';
import { type EventBatch, idHeader, partitionOf } from '../../../src/buffer/records.ts';
import { Batcher } from '../../../src/collector/batcher.ts';
import type { EventRun, Waiter } from '../../../src/collector/open-batch.ts';
import type { Spool } from '../../../src/collector/spool.ts';
import { InvariantError } from '../../../src/errors.ts';
import { fc } from '../../support/fast-check.ts';
import { catchUncaught } from '../../support/uncaught.ts';

interface Append {
  readonly partition: number;
  readonly texts: string[];
  readonly finish: (offset: number) => void;
  readonly fail: (error: Error) => void;
}

/** A writer whose appends end when the test says so. */
function createWriter(partitions: number) {
  const appends: Append[] = [];
  const condition: { state: DependencyState } = { state: { ok: true } };
  const writer: BufferWriter = {
    topic: 'events',
    partitions,
    append: (partition: number, batch: EventBatch) =>
      new Promise((finish, fail) => {
        appends.push({ partition, texts: textsOf(batch), finish, fail });
      }),
    state: () => condition.state,
    close: async () => {},
  };
  return { writer, appends, condition };
}

function createWaiter() {
  const log: string[] = [];
  const waiter: Waiter = {
    added: 0,
    stored: (partition, offset, { first, count }: EventRun) =>
      log.push(`${first}+${count} at ${partition}/${offset}`),
    spooled: (spool, offset, { first, count }: EventRun) =>
      log.push(`${first}+${count} in ${spool}/${offset}`),
    failed: (error, { first, count }: EventRun) =>
      log.push(`${first}+${count} failed: ${(error as Error).message}`),
  };
  return { waiter, log };
}

const observer = { appended: () => {}, appendFailed: () => {} };
const limits = { maxBytes: 100, maxEvents: 4 };
const roomy = { maxBytes: 10_000, maxEvents: 1_000 };

/** Time that passes only when the test says so. */
function createClock() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const clock = {
    now: 1e6,
    /** Lets time pass once the event loop had its turn, and then all that is due happen. */
    async pass(milliseconds: number) {
      await turn();
      clock.now += milliseconds;
      vi.advanceTimersByTime(milliseconds);
      await turn();
    },
  };
  vi.spyOn(performance, 'now').mockImplementation(() => clock.now);
  return clock;
}

describe('Batcher', () => {
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test('events that come fast share appends, and all are told', async () => {
    const clock = createClock();
    const { writer, appends } = createWriter(4);
    const batcher = new Batcher(writer, roomy, { observer, appendIntervalMs: 20 });
    const waiters = [];
    for (let i = 0; i < 300; i++) {
      const waiter = createWaiter();
      waiters.push(waiter);
      batcher.add(Buffer.from(String(i)), 0, waiter.waiter);
      await clock.pass(1);
      for (const append of appends) append.finish(0);
    }
    await clock.pass(20);
    for (const append of appends) append.finish(0);
    await batcher.drain();
    expect(appends.flatMap(({ texts }) => texts).map(Number)).toEqual(waiters.map((_, i) => i));
    expect(appends.length).toBeLessThan(50);
    for (const { log } of waiters) expect(log).toHaveLength(1);
  });

  test('a batch that is full by bytes is sent at once, however fast events come', async () => {
    const clock = createClock();
    const { writer, appends } = createWriter(1);
    const batcher = new Batcher(
      writer,
      { maxBytes: 100, maxEvents: 1_000 },
      { observer, appendIntervalMs: 1_000 },
    );
    const add = async (bytes: number) => {
      batcher.add(Buffer.alloc(bytes, 'x'), 0, createWaiter().waiter);
      await clock.pass(1);
      for (const append of appends) append.finish(0);
    };
    for (let i = 0; i < 2_000; i++) await add(1);
    await clock.pass(1_000);
    const before = appends.length;
    await add(60);
    await add(60);
    await add(60);
    await turn();
    expect(
      appends
        .slice(before)
        .map(({ texts }) => texts.map((text) => text.length))
        .slice(0, 1),
    ).toEqual([[60]]);
  });

  test('a broken invariant is told as an unknown outcome, and ends the process', async () => {
    const { writer, appends } = createWriter(1);
    const batcher = new Batcher(writer, limits, { observer });
    const { waiter, log } = createWaiter();
    const errors = await catchUncaught(async () => {
      batcher.add(Buffer.from('a'), 0, waiter);
      await turn();
      appends[0]?.fail(new InvariantError('broken'));
      await batcher.drain();
    });
    expect(log).toEqual(['0+1 failed: broken']);
    expect(errors).toEqual([expect.any(InvariantError)]);
  });

  test('many events for a partition that is busy do not let those for others be sent alone', async () => {
    const clock = createClock();
    const { writer, appends } = createWriter(2);
    const batcher = new Batcher(writer, roomy, { observer, appendIntervalMs: 20 });
    const idOf = (wanted: number) => {
      for (let i = 0; ; i++)
        if (partitionOf(String(i), 2) === wanted) return [[idHeader, String(i)]] as const;
    };
    const [slow, quick] = [idOf(0), idOf(1)];
    for (let i = 0; i < 300; i++) {
      batcher.add(Buffer.from('event'), 0, createWaiter().waiter, i < 100 ? slow : quick);
      await clock.pass(1);
      for (const { partition, finish } of appends) if (partition === 1) finish(0);
    }
    await clock.pass(20);
    const toQuick = appends.filter(({ partition }) => partition === 1);
    expect(toQuick.flatMap(({ texts }) => texts)).toHaveLength(200);
    expect(toQuick.length).toBeLessThan(50);
  });

  test('a timer that is a little early is not followed by another', async () => {
    const clock = createClock();
    const { writer, appends } = createWriter(100);
    const batcher = new Batcher(writer, roomy, { observer, appendIntervalMs: 20 });
    for (let i = 0; i < 50; i++) {
      batcher.add(Buffer.from('event'), 0, createWaiter().waiter);
      await clock.pass(1);
    }
    expect(vi.getTimerCount()).toBe(1);
    const before = appends.length;
    // Timers and `performance.now` are not the same clock.
    vi.advanceTimersByTime(20);
    expect([appends.length, vi.getTimerCount()]).toEqual([before + 1, 0]);
  });

  test('events that wait no longer leave no timer behind', async () => {
    const clock = createClock();
    const { writer } = createWriter(100);
    const batcher = new Batcher(writer, roomy, { observer, appendIntervalMs: 20 });
    const add = () => batcher.add(Buffer.from('event'), 0, createWaiter().waiter);
    for (let i = 0; i < 50; i++) {
      add();
      await clock.pass(1);
    }
    expect(vi.getTimerCount()).toBe(1);
    for (let i = 0; i < 32; i++) add();
    await clock.pass(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a spool that was closed is not asked any more', async () => {
    const clock = createClock();
    const { writer, appends } = createWriter(100);
    const { spool, state } = createSpool();
    let asked = 0;
    const counted: Spool = { ...spool, isOpen: () => ++asked > 0 && state.isOpen };
    const batcher = new Batcher(writer, roomy, { observer, spool: counted, appendIntervalMs: 20 });
    const add = () => batcher.add(Buffer.from('event'), 0, createWaiter().waiter);
    for (let i = 0; i < 50; i++) {
      add();
      await clock.pass(1);
    }
    for (const append of appends) append.finish(0);
    state.isOpen = true;
    add();
    await clock.pass(0);
    await batcher.drain();
    expect(vi.getTimerCount()).toBe(1);
    const before = asked;
    await clock.pass(20);
    expect(asked).toBe(before);
  });

  test('requests of one turn share an append; the next batch grows while it is in flight', async () => {
    const { writer, appends } = createWriter(1);
    const batcher = new Batcher(writer, limits, { observer });
    const [a, b, c] = [createWaiter(), createWaiter(), createWaiter()];
    batcher.add(Buffer.from('a'), 0, a.waiter);
    batcher.add(Buffer.from('b'), 0, b.waiter);
    await turn();
    batcher.add(Buffer.from('c'), 0, c.waiter);
    await turn();
    expect(appends.map(({ texts }) => texts)).toEqual([['a', 'b']]);
    appends[0]?.finish(7);
    await turn();
    expect([a.log, b.log]).toEqual([['0+1 at 0/7'], ['0+1 at 0/8']]);
    expect(appends[1]?.texts).toEqual(['c']);
    appends[1]?.finish(9);
    await batcher.drain();
    expect(c.log).toEqual(['0+1 at 0/9']);
    expect(batcher.isEmpty).toBe(true);
  });

  test('partitions take turns, one append in flight in each', async () => {
    const { writer, appends } = createWriter(2);
    const batcher = new Batcher(writer, limits, { observer });
    for (const text of ['a', 'b', 'c']) {
      batcher.add(Buffer.from(text), 0, createWaiter().waiter);
      await turn();
    }
    expect(appends.map(({ partition }) => partition)).toEqual([0, 1]);
    appends[1]?.finish(0);
    await turn();
    expect(appends.map(({ partition, texts }) => [partition, ...texts])).toEqual([
      [0, 'a'],
      [1, 'b'],
      [1, 'c'],
    ]);
  });

  test('events join a batch in flight while its writer leaves it open', async () => {
    const { writer, appends } = createWriter(2);
    const given: EventBatch[] = [];
    const append = writer.append.bind(writer);
    writer.append = (partition, batch) => {
      batch.isOpen = true;
      given.push(batch);
      return append(partition, batch);
    };
    const batcher = new Batcher(writer, limits, { observer });
    const { waiter, log } = createWaiter();
    const id = idFor(0, 2);
    for (const text of ['a', 'b', 'c']) {
      batcher.add(Buffer.from(text), 0, waiter, text === 'b' ? [[idHeader, id]] : undefined);
      await turn();
    }
    const [batch] = given as [EventBatch];
    expect([given.length, textsOf(batch)]).toEqual([1, ['a', 'b', 'c']]);
    batch.isOpen = false;
    batcher.add(Buffer.from('d'), 0, waiter);
    await turn();
    expect(appends.map(({ partition, texts }) => [partition, ...texts])).toEqual([
      [0, 'a'],
      [1, 'd'],
    ]);
    appends[0]?.finish(7);
    appends[1]?.finish(9);
    await batcher.drain();
    expect(log).toEqual(['0+3 at 0/7', '3+1 at 1/9']);
  });

  test('a large request is cut into parts, and each is told where it is', async () => {
    const { writer, appends } = createWriter(2);
    const batcher = new Batcher(writer, limits, { observer });
    const { waiter, log } = createWaiter();
    for (let i = 0; i < 6; i++) batcher.add(Buffer.from(`${i}`), 0, waiter);
    await turn();
    appends[1]?.finish(50);
    appends[0]?.fail(new Error('gone'));
    await batcher.drain();
    expect(log).toEqual(['4+2 at 1/50', '0+4 failed: gone']);
  });

  test('an event larger than a batch goes alone', async () => {
    const { writer, appends } = createWriter(3);
    const batcher = new Batcher(writer, limits, { observer });
    const { waiter } = createWaiter();
    for (const size of [60, 500, 60]) batcher.add(Buffer.alloc(size, 'x'), 0, waiter);
    await turn();
    expect(appends.map(({ texts }) => texts.map((text) => text.length))).toEqual([[60], [500], [60]]);
  });

  test('a failed append does not stop the next', async () => {
    const { writer, appends } = createWriter(1);
    const batcher = new Batcher(writer, limits, { observer });
    const [a, b] = [createWaiter(), createWaiter()];
    batcher.add(Buffer.from('a'), 0, a.waiter);
    await turn();
    batcher.add(Buffer.from('b'), 0, b.waiter);
    appends[0]?.fail(new Error('away'));
    await turn();
    appends[1]?.finish(3);
    await batcher.drain();
    expect([a.log, b.log]).toEqual([['0+1 failed: away'], ['0+1 at 0/3']]);
  });

  test('what waits fails at once when the buffer is found to be away', async () => {
    const { writer, appends, condition } = createWriter(1);
    const batcher = new Batcher(writer, { maxBytes: 100, maxEvents: 1 }, { observer });
    const { waiter, log } = createWaiter();
    for (let i = 0; i < 3; i++) batcher.add(Buffer.from(`plain ${i}`), 0, waiter);
    for (let i = 0; i < 2; i++) batcher.add(Buffer.from(`keyed ${i}`), 0, waiter, [[idHeader, 'x']]);
    await turn();
    condition.state = { ok: false, detail: 'Kafka cannot be reached' };
    appends[0]?.fail(new OutcomeUnknownError('lost'));
    await batcher.drain();
    expect(appends).toHaveLength(1);
    expect(log.sort()).toEqual([
      ...['0+1', '1+1', '2+1'].map((part) => `${part} failed: Kafka cannot be reached`),
      '3+1 failed: lost',
      '4+1 failed: Kafka cannot be reached',
    ]);
  });

  test('after an append that failed late, the next one waits until it is known whether the buffer is away', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
    const { writer, appends, condition } = createWriter(1);
    const batcher = new Batcher(writer, limits, { observer });
    const [a, b, c] = [createWaiter(), createWaiter(), createWaiter()];
    batcher.add(Buffer.from('a'), 0, a.waiter);
    await turn();
    batcher.add(Buffer.from('b'), 0, b.waiter);
    vi.advanceTimersByTime(10_000);
    appends[0]?.fail(new OutcomeUnknownError('lost'));
    await turn();
    expect([a.log, b.log]).toEqual([['0+1 failed: lost'], []]);
    condition.state = { ok: false, detail: 'Kafka cannot be reached' };
    vi.advanceTimersByTime(5_000);
    await batcher.drain();
    expect(b.log).toEqual(['0+1 failed: Kafka cannot be reached']);
    condition.state = { ok: true };
    batcher.add(Buffer.from('c'), 0, c.waiter);
    await turn();
    expect(appends.map(({ texts }) => texts)).toEqual([['a'], ['c']]);
  });

  describe('events with an id', () => {
    test('go to the partition of their id, the others to any that is idle', async () => {
      const { writer, appends } = createWriter(3);
      const batcher = new Batcher(writer, limits, { observer });
      const { waiter, log } = createWaiter();
      const id = idFor(1, 3);
      batcher.add(Buffer.from('a'), 0, waiter);
      batcher.add(Buffer.from('b'), 0, waiter, [[idHeader, id]]);
      batcher.add(Buffer.from('c'), 0, waiter);
      await turn();
      expect(appends.map(({ partition, texts }) => [partition, ...texts])).toEqual([
        [0, 'a', 'c'],
        [1, 'b'],
      ]);
      appends[0]?.finish(10);
      appends[1]?.finish(20);
      await batcher.drain();
      expect(log.sort()).toEqual(['0+1 at 0/10', '1+1 at 1/20', '2+1 at 0/11']);
    });

    test('wait for their partition and take turns there with the others', async () => {
      const { writer, appends } = createWriter(1);
      const batcher = new Batcher(writer, { maxBytes: 100, maxEvents: 1 }, { observer });
      const { waiter } = createWaiter();
      for (let i = 0; i < 3; i++) batcher.add(Buffer.from(`plain ${i}`), 0, waiter);
      for (let i = 0; i < 3; i++) batcher.add(Buffer.from(`keyed ${i}`), 0, waiter, [[idHeader, 'x']]);
      await turn();
      for (let i = 0; i < 6; i++) {
        appends[i]?.finish(i);
        await turn();
      }
      expect(appends.map(({ texts }) => texts[0])).toEqual([
        ...['keyed 0', 'plain 0', 'keyed 1', 'plain 1', 'keyed 2', 'plain 2'],
      ]);
    });

    test('their headers count against the size of a batch', async () => {
      const { writer, appends } = createWriter(1);
      const batcher = new Batcher(writer, limits, { observer });
      const { waiter } = createWaiter();
      for (let i = 0; i < 3; i++) batcher.add(Buffer.from('a'), 0, waiter, [[idHeader, 'é'.repeat(30)]]);
      await turn();
      expect(appends[0]?.texts).toHaveLength(1);
    });

    test('fail as the others do while the number of partitions is not known', async () => {
      const { writer } = createWriter(0);
      const batcher = new Batcher(writer, limits, { observer });
      const { waiter, log } = createWaiter();
      batcher.add(Buffer.from('a'), 0, waiter);
      batcher.add(Buffer.from('b'), 0, waiter, [[idHeader, 'x']]);
      await batcher.drain();
      expect(log).toEqual([
        '0+1 failed: the buffer has not been reached yet',
        '1+1 failed: the buffer has not been reached yet',
      ]);
    });
  });

  describe('with a spool', () => {
    test('everything goes there while it is open, one append at a time', async () => {
      const { writer, appends } = createWriter(2);
      const { spool, state } = createSpool();
      const batcher = new Batcher(writer, limits, { observer, spool });
      const { waiter, log } = createWaiter();
      state.isOpen = true;
      batcher.add(Buffer.from('a'), 0, waiter);
      batcher.add(Buffer.from('b'), 0, waiter, [[idHeader, 'x']]);
      await batcher.drain();
      expect(state.texts).toEqual(['a', 'b']);
      expect(state.mostInFlight).toBe(1);
      expect(log).toEqual(['0+1 in here/0', '1+1 in here/1']);
      state.isOpen = false;
      batcher.add(Buffer.from('c'), 0, waiter);
      await turn();
      expect(appends.map(({ texts }) => texts)).toEqual([['c']]);
    });

    test('so it does while the number of partitions is not known', async () => {
      const { writer } = createWriter(0);
      const { spool, state } = createSpool();
      const batcher = new Batcher(writer, limits, { observer, spool });
      const { waiter } = createWaiter();
      batcher.add(Buffer.from('a'), 0, waiter, [[idHeader, 'x']]);
      batcher.add(Buffer.from('b'), 0, waiter);
      await batcher.drain();
      expect(state.texts).toEqual(['a', 'b']);
    });

    test.each([
      ['did not take', new BufferUnavailableError('away'), '0+1 in here/0', 0],
      ['may have taken', new OutcomeUnknownError('lost'), '0+1 failed: lost', 1],
      ['will never take', new RecordsRefusedError('too large'), '0+1 failed: too large', 1],
    ])('events that the buffer %s', async (_, error, outcome, failures) => {
      const { writer, appends } = createWriter(1);
      const { spool } = createSpool();
      const failed: unknown[] = [];
      const batcher = new Batcher(writer, limits, {
        observer: { ...observer, appendFailed: (_events, reason) => failed.push(reason) },
        spool,
      });
      const { waiter, log } = createWaiter();
      batcher.add(Buffer.from('a'), 0, waiter);
      await turn();
      appends[0]?.fail(error);
      await batcher.drain();
      expect(log).toEqual([outcome]);
      expect(failed).toHaveLength(failures);
    });

    test('no event overtakes one that is on its way there', async () => {
      const { writer, appends } = createWriter(1);
      const { spool, state } = createSpool();
      let finish: (offset: number) => void = () => {};
      const slow: Spool = { ...spool, append: () => new Promise((resolve) => (finish = resolve)) };
      const batcher = new Batcher(writer, limits, { observer, spool: slow });
      const [a, b] = [createWaiter(), createWaiter()];
      batcher.add(Buffer.from('a'), 0, a.waiter, [[idHeader, 'x']]);
      await turn();
      appends[0]?.fail(new BufferUnavailableError('away for a moment'));
      await turn();
      batcher.add(Buffer.from('b'), 0, b.waiter, [[idHeader, 'x']]);
      await turn();
      expect(appends).toHaveLength(1);
      state.isOpen = true;
      finish(0);
      await turn();
      expect(a.log).toEqual(['0+1 in here/0']);
      finish(1);
      await batcher.drain();
      expect(b.log).toEqual(['0+1 in here/1']);
    });

    test('when it is nearly drained, events wait for that, and then go to the buffer', async () => {
      const { writer, appends } = createWriter(1);
      const { spool, state } = createSpool();
      const batcher = new Batcher(writer, limits, { observer, spool });
      const { waiter, log } = createWaiter();
      Object.assign(state, { isOpen: true, holdMs: 50 });
      batcher.add(Buffer.from('a'), 0, waiter);
      await turn();
      expect([state.texts, appends]).toEqual([[], []]);
      Object.assign(state, { isOpen: false, holdMs: 0 });
      await expect.poll(() => appends.length).toBe(1);
      appends[0]?.finish(7);
      await batcher.drain();
      expect(log).toEqual(['0+1 at 0/7']);
    });

    test('when that takes longer, they go there after all', async () => {
      const { writer } = createWriter(1);
      const { spool, state } = createSpool();
      const batcher = new Batcher(writer, limits, { observer, spool });
      const { waiter, log } = createWaiter();
      Object.assign(state, { isOpen: true, holdMs: 50 });
      batcher.add(Buffer.from('a'), 0, waiter);
      await turn();
      state.holdMs = 0;
      await batcher.drain();
      expect(log).toEqual(['0+1 in here/0']);
    });

    test('when it is full, events fail with its reason', async () => {
      const { writer } = createWriter(1);
      const { spool, state } = createSpool();
      const batcher = new Batcher(writer, limits, { observer, spool });
      const { waiter, log } = createWaiter();
      state.isOpen = true;
      state.isFull = true;
      batcher.add(Buffer.from('a'), 0, waiter);
      await batcher.drain();
      expect(log).toEqual(['0+1 failed: the spool is full']);
    });
  });

  test('whatever happens, each event is told once, and where it is', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        async (steps, count) => {
          const places = new Map<string, string>();
          const { writer, place } = createStore(count, places);
          const { spool, state } = createSpool(places);
          const batcher = new Batcher(writer, limits, { observer, spool });
          const requests = Array.from({ length: 3 }, () => createRequest());
          for (const { request, id, next } of steps) {
            const target = requests[request] as ReturnType<typeof createRequest>;
            const text = `${request}:${target.waiter.added}`;
            const headers = id === undefined ? undefined : ([[idHeader, id]] as const);
            if (id !== undefined) place.set(text, partitionOf(id, count));
            batcher.add(Buffer.from(text), 0, target.waiter, headers);
            if (next === 'turn') await turn();
            if (next === 'open' || next === 'close') state.isOpen = next === 'open';
          }
          await batcher.drain();
          requests.forEach(({ waiter, told }, request) => {
            expect(told.map(([index]) => index).sort((a, b) => a - b)).toEqual(
              Array.from({ length: waiter.added }, (_, i) => i),
            );
            for (const [index, where] of told) {
              expect(places.get(`${request}:${index}`) ?? 'nowhere').toBe(where);
            }
          });
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** An id that belongs to a partition. */
function idFor(partition: number, partitions: number): string {
  for (let i = 0; ; i++) if (partitionOf(`id ${i}`, partitions) === partition) return `id ${i}`;
}

function textsOf(batch: EventBatch): string[] {
  return batch.ends.map((end, i) => batch.bytes.toString('utf8', batch.ends[i - 1] ?? 0, end));
}

/** A spool in memory; `places` learns where each text is. */
function createSpool(places = new Map<string, string>()) {
  const state = {
    ...{ isOpen: false, isFull: false, holdMs: 0 },
    ...{ texts: [] as string[], inFlight: 0, mostInFlight: 0 },
  };
  const spool: Spool = {
    id: 'here',
    isOpen: () => state.isOpen,
    holdMs: () => state.holdMs,
    state: () => ({ ok: true }),
    async append(batch) {
      state.mostInFlight = Math.max(state.mostInFlight, ++state.inFlight);
      await turn();
      state.inFlight--;
      if (state.isFull) throw new BufferUnavailableError('the spool is full');
      const offset = state.texts.length;
      state.texts.push(...textsOf(batch));
      for (const [i, text] of textsOf(batch).entries()) places.set(text, `here/${offset + i}`);
      return offset;
    },
  };
  return { spool, state };
}

/** A writer that stores, sometimes refuses, sometimes leaves it open; `place` says where a text must go. */
function createStore(partitions: number, places: Map<string, string>) {
  const place = new Map<string, number>();
  const ends = Array.from({ length: partitions }, () => 0);
  const busy = new Set<number>();
  let calls = 0;
  const writer: BufferWriter = {
    topic: 'events',
    partitions,
    async append(partition, batch) {
      expect(busy.has(partition)).toBe(false);
      busy.add(partition);
      const call = calls++;
      batch.isOpen = call % 2 === 1;
      for (let i = 0; i < call % 3; i++) await turn();
      batch.isOpen = false;
      const texts = textsOf(batch);
      for (const text of texts) expect(place.get(text) ?? partition).toBe(partition);
      busy.delete(partition);
      if (call % 5 === 3) throw new BufferUnavailableError('away');
      if (call % 7 === 4) throw new OutcomeUnknownError('lost');
      const offset = ends[partition] ?? 0;
      ends[partition] = offset + texts.length;
      for (const [i, text] of texts.entries()) places.set(text, `${partition}/${offset + i}`);
      return offset;
    },
    state: () => ({ ok: true }),
    close: async () => {},
  };
  return { writer, place };
}

/** A waiter that notes what it is told about each event. */
function createRequest() {
  const told: [index: number, where: string][] = [];
  const note = ({ first, count }: EventRun, where: (i: number) => string): void => {
    for (let i = 0; i < count; i++) told.push([first + i, where(i)]);
  };
  const waiter: Waiter = {
    added: 0,
    stored: (partition, offset, part) => note(part, (i) => `${partition}/${offset + i}`),
    spooled: (spool, offset, part) => note(part, (i) => `${spool}/${offset + i}`),
    failed: (_, part) => note(part, () => 'nowhere'),
  };
  return { waiter, told };
}

const step = fc.record({
  request: fc.nat(2),
  id: fc.option(fc.constantFrom('a', 'b', 'c', 'd'), { nil: undefined }),
  next: fc.constantFrom('nothing', 'nothing', 'turn', 'turn', 'open', 'close'),
});
