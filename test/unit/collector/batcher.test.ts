import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { BufferWriter } from '../../../src/buffer/buffer.ts';
import type { EventBatch } from '../../../src/buffer/event-batch.ts';
import { Batcher, type Part, type Waiter } from '../../../src/collector/batcher.ts';

interface Append {
  readonly partition: number;
  readonly texts: string[];
  readonly finish: (offset: number) => void;
  readonly fail: (error: Error) => void;
}

/** A writer whose appends end when the test says so. */
function createWriter(partitions: number) {
  const appends: Append[] = [];
  const writer: BufferWriter = {
    topic: 'events',
    partitions,
    append: (partition: number, batch: EventBatch) =>
      new Promise((finish, fail) => {
        const starts = [0, ...batch.ends];
        const texts = batch.ends.map((end, i) => batch.bytes.toString('utf8', starts[i], end));
        appends.push({ partition, texts, finish, fail });
      }),
    state: () => ({ ok: true }),
    close: async () => {},
  };
  return { writer, appends };
}

function createWaiter() {
  const log: string[] = [];
  const waiter: Waiter = {
    added: 0,
    stored: (partition, offset, { first, count }: Part) =>
      log.push(`${first}+${count} at ${partition}/${offset}`),
    failed: (error, { first, count }: Part) =>
      log.push(`${first}+${count} failed: ${(error as Error).message}`),
  };
  return { waiter, log };
}

const observer = { appended: () => {}, appendFailed: () => {} };
const limits = { maxBytes: 100, maxEvents: 4 };

describe('Batcher', () => {
  test('requests of one turn share an append; the next batch grows while it is in flight', async () => {
    const { writer, appends } = createWriter(1);
    const batcher = new Batcher(writer, limits, observer);
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
    const batcher = new Batcher(writer, limits, observer);
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

  test('a large request is cut into parts, and each is told where it is', async () => {
    const { writer, appends } = createWriter(2);
    const batcher = new Batcher(writer, limits, observer);
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
    const batcher = new Batcher(writer, limits, observer);
    const { waiter } = createWaiter();
    for (const size of [60, 500, 60]) batcher.add(Buffer.alloc(size, 'x'), 0, waiter);
    await turn();
    expect(appends.map(({ texts }) => texts.map((text) => text.length))).toEqual([[60], [500], [60]]);
  });

  test('a failed append does not stop the next', async () => {
    const { writer, appends } = createWriter(1);
    const batcher = new Batcher(writer, limits, observer);
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
});
