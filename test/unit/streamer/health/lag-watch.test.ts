import { pino } from 'pino';
import { expect, test } from 'vitest';
import {
  type BufferReader,
  BufferUnavailableError,
  type PartitionLag,
} from '../../../../src/buffer/buffer.ts';
import { InvariantError } from '../../../../src/errors.ts';
import { LagWatch } from '../../../../src/streamer/health/delivery-watch.ts';

function open(ageMs = 1_000) {
  const clock = { steady: 0, wall: 0 };
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
  const answer: { lag: () => Promise<PartitionLag[]>; asked: number } = { lag: async () => [], asked: 0 };
  const reader = {
    lag() {
      answer.asked++;
      return answer.lag();
    },
  } as unknown as BufferReader;
  const watch = new LagWatch(reader, log, { ageMs, clock: () => ({ ...clock }) });
  /** What the buffer says after `seconds`: up to which offset partition 0 is committed, and where it ends. */
  async function see(seconds: number, committed: number, end: number): Promise<boolean> {
    clock.steady += seconds * 1_000;
    answer.lag = async () => [{ topic: 'events', partition: 0, committed, end }];
    await watch.sample();
    return watch.state().ok;
  }
  return { watch, answer, lines, see };
}

test('records that wait for a minute, none of which is delivered, are told, and that it is over', async () => {
  const { see, lines, watch } = open();
  expect(await see(0, 5, 9)).toBe(true);
  expect(await see(59, 5, 20)).toBe(true);
  expect(await see(1, 5, 30)).toBe(false);
  expect(await see(60, 5, 90)).toBe(false);
  expect(watch.state()).toMatchObject({
    detail: expect.stringContaining('events/0: 85 records wait, and none was delivered for 120 s'),
  });
  expect(await see(1, 6, 90)).toBe(true);
  expect(lines).toEqual([expect.stringContaining('60 s'), 'records that waited are delivered again']);
});

test('lag is no trouble as long as it moves, and neither is a topic without records to deliver', async () => {
  const { see } = open();
  for (let i = 0; i < 10; i++) expect(await see(50, i, i + 1_000)).toBe(true);
  for (let i = 0; i < 10; i++) expect(await see(50, 2_000, 2_000)).toBe(true);
});

test('a batch may wait as long as it is told to', async () => {
  const { see } = open(600_000);
  expect([await see(0, 0, 1), await see(1_199, 0, 1), await see(1, 0, 1)]).toEqual([true, true, false]);
});

test('one look at a time, however long it takes', async () => {
  const { watch, answer } = open();
  let finish: (lags: PartitionLag[]) => void = () => {};
  answer.lag = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const first = watch.sample();
  await watch.sample();
  expect(answer.asked).toBe(1);
  finish([]);
  await first;
  answer.lag = async () => [];
  await watch.sample();
  expect(answer.asked).toBe(2);
});

test('a buffer that cannot be asked is told once; what is a fault of the program is thrown', async () => {
  const { watch, answer, lines } = open();
  answer.lag = () => Promise.reject(new BufferUnavailableError('Kafka does not tell the lag: cut'));
  await watch.sample();
  await watch.sample();
  answer.lag = async () => [];
  await watch.sample();
  expect(lines).toEqual([
    expect.stringContaining('Kafka does not tell the lag: cut'),
    'the lag can be read again',
  ]);
  for (const fault of [new InvariantError('no'), new TypeError('x')]) {
    answer.lag = () => Promise.reject(fault);
    await expect(watch.sample()).rejects.toBe(fault);
  }
});
