import { pino } from 'pino';
import { expect, test } from 'vitest';
import {
  type BufferReader,
  BufferUnavailableError,
  type OwnedPartition,
} from '../../../src/buffer/buffer.ts';
import type { Backlog, DrainLock } from '../../../src/buffer/embedded/backlog.ts';
import { TakenOverError } from '../../../src/buffer/embedded/reader.ts';
import { InvariantError } from '../../../src/errors.ts';
import { DrainTask, type DrainTaskOptions } from '../../../src/spool/drain.ts';
import { waitUntil } from '../../support/kafka-fixture.ts';
import { catchUncaught } from '../../support/uncaught.ts';

const lease = { take: async () => true, release: async () => undefined } as unknown as DrainLock;

/** A task over a spool that is never empty, whose reader ends like this. */
function startTask(run: BufferReader['run']) {
  const seen = { opened: 0, failures: [] as string[] };
  let close: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const reader: Pick<BufferReader, 'run' | 'close'> = {
    async run(deliver) {
      await run(deliver);
      await closed;
    },
    close: async () => close(),
  };
  const observer = {
    ...{
      drained: () => undefined,
      unsure: () => undefined,
      delayed: () => undefined,
      emptied: () => undefined,
    },
    failed: (reason: string) => seen.failures.push(reason),
  };
  const options = {
    ...{ spoolId: 'spool', observer, log: pino({ level: 'silent' }) },
    backlog: { isEmpty: () => false, createLease: () => lease } as unknown as Backlog,
    writer: { topic: 'events', partitions: 1, state: () => ({ ok: true }), beginSeries: () => ({}) },
    openReader: async () => {
      seen.opened++;
      return reader as unknown as BufferReader;
    },
  } as unknown as DrainTaskOptions;
  return { task: new DrainTask(options), seen };
}

/** A partition with a commit that no drainer has written. */
const spoiled = {
  signal: new AbortController().signal,
  committed: async () => ({ offset: 0, plan: 'of another program' }),
} as unknown as OwnedPartition;

test('a plan that is none ends the process, and is not tried again', async () => {
  let seen: { readonly opened: number } | undefined;
  const errors = await catchUncaught(async () => {
    const started = startTask((deliver) => deliver(spoiled));
    seen = started.seen;
    await waitUntil(() => started.seen.opened === 1, 5_000);
    // Ends by itself, and does not hide the error from whoever stops the process.
    await started.task.close();
  });
  expect(errors).toEqual([expect.any(InvariantError)]);
  expect(seen?.opened).toBe(1);
});

test('a reader that ends is told: only that another process took over is not', async () => {
  const ends = [
    new TakenOverError('another took over'),
    new BufferUnavailableError('the disk is away'),
    new Error('a fault'),
  ];
  const { task, seen } = startTask(async () => {
    throw ends[Math.min(seen.opened, ends.length) - 1];
  });
  await waitUntil(() => seen.opened === 4, 20_000);
  await task.close();
  expect(seen.failures.slice(0, 3)).toEqual(['the disk is away', 'a fault', 'a fault']);
});
