/** What only the embedded log does: limits, retention, fencing between readers, damage. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  BufferFullError,
  FencedError,
  OffsetOutOfRangeError,
  type OwnedPartition,
} from '../../src/buffer/buffer.ts';
import { Environment, logPath } from '../../src/buffer/embedded/environment.ts';
import { decodeKey } from '../../src/buffer/embedded/log-blocks.ts';
import { readTotals, writeRetentionTime } from '../../src/buffer/embedded/open-log.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { removeDelivered } from '../../src/buffer/embedded/retention.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import { exitCodes, InvariantError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { holdPartitions, readRecords } from '../support/buffer-reading.ts';

const blockBytes = 1000 * 1000;

describe('embedded log', () => {
  let options: { dir: string; topic: string; partitions: number; maxBytes: number; retentionMs: number };
  let open: { close(): Promise<void> }[];

  beforeEach(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-log-'));
    options = { dir, topic: 'events', partitions: 1, maxBytes: 16 * 1024 ** 2, retentionMs: 60_000 };
    open = [];
  });

  afterEach(async () => {
    for (const end of open.reverse()) await end.close();
    await rm(options.dir, { recursive: true, force: true });
  });

  async function openWriter() {
    const writer = await openEmbeddedWriter(options);
    open.push(writer);
    return writer;
  }

  async function own(group = 'group') {
    const reader = await openEmbeddedReader({ ...options, group });
    open.push(reader);
    const held = holdPartitions(reader);
    return { reader, held, owned: await held.get(0, 5_000) };
  }

  async function useEnvironment() {
    const environment = await Environment.acquire(logPath(options.dir, options.topic), 0);
    open.push({ close: () => environment.release() });
    return environment;
  }

  describe('when full', () => {
    it('says so by a code', async () => {
      const writer = await openWriter();
      await expect(fill(writer)).rejects.toThrow(BufferFullError);
      expect(writer.state()).toMatchObject({ ok: false, code: 'FULL' });
    });

    it('tries again after a moment, also when the clock is set back meanwhile', async () => {
      const writer = await openWriter();
      await expect(fill(writer)).rejects.toThrow(BufferFullError);
      expect(writer.state().ok).toBe(false);
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 });
      try {
        await expect.poll(() => writer.state().ok, { timeout: 5_000 }).toBe(true);
      } finally {
        vi.useRealTimers();
      }
    });

    it('refuses records by name of the option while nothing is delivered, and goes on after a commit', async () => {
      const writer = await openWriter();
      const { owned } = await own();
      const error = await fill(writer).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(BufferFullError);
      expect(String(error)).toContain('--log-max-bytes');
      expect(writer.state()).toMatchObject({ ok: false, detail: expect.stringContaining('--log-max-bytes') });
      const { end } = await owned.bounds();
      expect(end).toBeGreaterThan(10);
      await owned.commit(end - 1, '');
      await expect.poll(() => writer.state().ok, { timeout: 5_000 }).toBe(true);
      expect(await writer.append(0, blockOf())).toBe(end);
      expect((await owned.bounds()).start).toBeGreaterThan(0);
      expect((await readRecords(owned, end - 1, 2, 5_000)).map(({ offset }) => offset)).toEqual([
        end - 1,
        end,
      ]);
    });

    it('makes room without a refusal when everything is delivered', async () => {
      const writer = await openWriter();
      const { owned } = await own();
      for (let i = 0; i < 60; i++) {
        expect(await writer.append(0, blockOf())).toBe(i);
        await owned.commit(i + 1, '');
      }
      const { start } = await owned.bounds();
      expect(start).toBeGreaterThan(40);
      await expect(owned.read(0, { maxBytes: 1, maxWaitMs: 0 })).rejects.toThrow(OffsetOutOfRangeError);
      const environment = await useEnvironment();
      environment.refresh();
      expect(readTotals(environment).usedBytes).toBeLessThanOrEqual(options.maxBytes);
    });

    it('keeps what one of two groups has not delivered', async () => {
      const writer = await openWriter();
      const slow = await own('slow');
      await slow.owned.commit(0, '');
      const fast = await own('fast');
      await expect(
        (async () => {
          for (let i = 0; i < 60; i++) {
            await writer.append(0, blockOf());
            await fast.owned.commit(i + 1, '');
          }
        })(),
      ).rejects.toThrow(BufferFullError);
      expect((await slow.owned.bounds()).start).toBe(0);
    });
  });

  describe('retention', () => {
    const never = { olderThanMs: 0, targetBytes: Number.MAX_SAFE_INTEGER };

    it('removes whole delivered blocks by age, in every partition', async () => {
      options.partitions = 2;
      const writer = await openWriter();
      const { owned, held } = await own();
      for (const partition of [0, 1]) {
        for (const receivedAt of [1_000, 2_000, 3_000]) {
          await writer.append(partition, batchOf([receivedAt - 500, receivedAt]));
        }
      }
      const environment = await useEnvironment();
      const remove = (olderThanMs: number) =>
        environment.write(() => removeDelivered(environment, 2, { ...never, olderThanMs }));
      await remove(10_000);
      expect(await owned.bounds()).toEqual({ start: 0, end: 6 });
      await owned.commit(3, '');
      await remove(10_000);
      expect(await owned.bounds()).toEqual({ start: 2, end: 6 });
      await owned.commit(6, '');
      await remove(2_001);
      expect(await owned.bounds()).toEqual({ start: 4, end: 6 });
      expect(await (await held.get(1, 5_000)).bounds()).toEqual({ start: 0, end: 6 });
      await (await held.get(1, 5_000)).commit(6, '');
      await remove(10_000);
      expect(await owned.bounds()).toEqual({ start: 6, end: 6 });
      expect(await (await held.get(1, 5_000)).bounds()).toEqual({ start: 6, end: 6 });
      expect(readTotals(environment)).toEqual({ usedBytes: 0, appended: 12 });
      expect(await writer.append(0, batchOf([4_000]))).toBe(6);
      expect((await readRecords(owned, 6, 1, 5_000))[0]?.offset).toBe(6);
    });

    it('takes many blocks in several transactions', async () => {
      const writer = await openWriter();
      const { owned } = await own();
      for (let i = 0; i < 600; i++) await writer.append(0, batchOf([1_000]));
      await owned.commit(600, '');
      const environment = await useEnvironment();
      const rounds: boolean[] = [];
      for (let more = true; more; rounds.push(more)) {
        ({ more } = await environment.write(() =>
          removeDelivered(environment, 1, { ...never, olderThanMs: 2_000 }),
        ));
      }
      expect(rounds).toEqual([true, true, false]);
      expect(await owned.bounds()).toEqual({ start: 600, end: 600 });
      expect([...environment.blocks.getKeys()]).toEqual([]);
    });

    it('runs by itself after the clock was set back', { timeout: 40_000 }, async () => {
      const writer = await openWriter();
      const { owned } = await own();
      await writer.append(0, batchOf([1_000]));
      await owned.commit(1, '');
      const environment = await useEnvironment();
      // As if it had just run, by a clock that was a day ahead.
      await environment.write(() => writeRetentionTime(environment, Date.now() + 86_400_000));
      await expect.poll(async () => (await owned.bounds()).start, { timeout: 30_000 }).toBe(1);
    });

    it('runs by itself', { timeout: 40_000 }, async () => {
      const writer = await openWriter();
      const { owned } = await own();
      await writer.append(0, batchOf([1_000]));
      await writer.append(0, batchOf([Date.now()]));
      await owned.commit(2, '');
      await expect.poll(async () => (await owned.bounds()).start, { timeout: 30_000 }).toBe(1);
    });
  });

  describe('readers', () => {
    it('fence an older one that does not stop, within its next commit', async () => {
      const writer = await openWriter();
      await writer.append(0, batchOf([1, 2, 3]));
      const older = await openEmbeddedReader({ ...options, group: 'group' });
      open.push(older);
      let release: () => void = () => undefined;
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      const owned = new Promise<OwnedPartition>((resolve) => {
        older
          .run(async (partition) => {
            resolve(partition);
            await released;
          })
          .catch(() => undefined);
      });
      await (await owned).commit(1, 'old plan');
      const newer = await own();
      await expect((await owned).commit(2, 'too late')).rejects.toThrow(FencedError);
      expect((await owned).signal.aborted).toBe(true);
      expect(await newer.owned.committed()).toEqual({ offset: 1, plan: 'old plan' });
      expect(older.state().ok).toBe(false);
      release();
    });

    it('end with exit code 69 when another took over', async () => {
      const older = await own();
      const newer = await own();
      await expect(older.held.finished).rejects.toMatchObject({
        exitCode: exitCodes.unavailable,
        message: expect.stringContaining('Another streamer'),
      });
      expect(newer.reader.state()).toEqual({ ok: true });
    });

    it('never commit backward, nor past the end', async () => {
      const writer = await openWriter();
      await writer.append(0, batchOf([1, 2, 3]));
      const { owned } = await own();
      await owned.commit(2, '');
      await expect(owned.commit(1, '')).rejects.toThrow(InvariantError);
      await expect(owned.commit(4, '')).rejects.toThrow(InvariantError);
      expect(await owned.committed()).toEqual({ offset: 2, plan: '' });
    });

    it('may come before any writer', async () => {
      const { owned } = await own();
      const reading = owned.read(0, { maxBytes: 1000, maxWaitMs: 10_000 });
      const writer = await openWriter();
      await writer.append(0, batchOf([5]));
      expect((await reading).next).toBe(1);
    });

    it('refuse a damaged block by partition and offset', async () => {
      const writer = await openWriter();
      await writer.append(0, batchOf([1, 2]));
      await writer.append(0, batchOf([3]));
      const environment = await useEnvironment();
      await environment.write(() => {
        for (const { key, value } of [...environment.blocks.getRange()]) {
          if (decodeKey(key).base !== 2) continue;
          value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
          environment.blocks.putSync(key, value);
        }
      });
      const { owned } = await own();
      expect(await readRecords(owned, 0, 2, 5_000, 1)).toHaveLength(2);
      await expect(owned.read(2, { maxBytes: 1, maxWaitMs: 0 })).rejects.toThrow(
        /events\/0 at offset 2.*checksum/,
      );
    });
  });

  it('stores what is added to a batch while it waits for the write lock', async () => {
    const writer = await openWriter();
    const { owned } = await own();
    const batch = batchOf([1_000]);
    const appending = writer.append(0, batch);
    expect(batch.isOpen).toBe(true);
    for (let i = 1; i < 50; i++) batch.add(Buffer.from(`{"t":${i}}`), 1_000 + i);
    expect(await appending).toBe(0);
    expect(batch.isOpen).toBe(false);
    expect(await writer.append(0, batchOf([2_000]))).toBe(50);
    const records = await readRecords(owned, 0, 51, 5_000);
    expect(records.map(({ receivedAt }) => receivedAt)).toEqual([
      ...Array.from({ length: 50 }, (_, i) => 1_000 + i),
      2_000,
    ]);
  });

  it('keeps the partitions and the identity that it was created with', async () => {
    const first = await own();
    const { topicId } = first.owned;
    await first.reader.close();
    const log = createLogger('test', 'silent');
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => undefined);
    const writer = await openEmbeddedWriter({ ...options, partitions: 7, log });
    open.push(writer);
    expect(writer.partitions).toBe(1);
    expect(warn).toHaveBeenCalledOnce();
    expect((await own()).owned.topicId).toBe(topicId);
    const other = await openEmbeddedReader({ ...options, topic: 'a.b/../c', group: 'group' });
    open.push(other);
    expect((await holdPartitions(other).get(0, 5_000)).topicId).not.toBe(topicId);
  });

  async function fill(writer: Awaited<ReturnType<typeof openWriter>>): Promise<void> {
    for (let i = 0; i < 60; i++) await writer.append(0, blockOf());
  }
});

function blockOf(): EventBatch {
  const batch = new EventBatch();
  batch.add(Buffer.alloc(blockBytes, 'x'), Date.now());
  return batch;
}

function batchOf(receivedAt: readonly number[]): EventBatch {
  const batch = new EventBatch();
  for (const time of receivedAt) batch.add(Buffer.from(`{"t":${time}}`), time);
  return batch;
}
