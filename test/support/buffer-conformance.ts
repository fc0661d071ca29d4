/** What every buffer must do, whatever stores the records: one suite, run against each adapter. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type BufferInspector,
  type BufferReader,
  type BufferWriter,
  FencedError,
  OffsetOutOfRangeError,
  type OwnedPartition,
} from '../../src/buffer/buffer.ts';
import { EventBatch, type RecordHeaders } from '../../src/buffer/records.ts';
import { holdPartitions, readRecords } from './buffer-reading.ts';

/** A fresh, empty topic, and how to open its two ends. */
export interface BufferFixture {
  /** Partitions of the topic, at least 2. */
  readonly partitions: number;
  createWriter(): Promise<BufferWriter>;
  createReader(group: string): Promise<BufferReader>;
  createInspector(group: string): Promise<BufferInspector>;
  /** Removes the topic; called after everything created was closed. */
  cleanup(): Promise<void>;
}

interface TestEvent {
  readonly value: string | Uint8Array;
  readonly receivedAt?: number;
  readonly headers?: RecordHeaders;
}

const waitMs = 30_000;
const startMs = 1_780_000_000_000;

/** Describes the suite for one kind of buffer; `createFixture` runs before each test. */
export function describeBuffer(
  name: string,
  createFixture: () => Promise<BufferFixture>,
  { timeoutMs = 120_000 }: { timeoutMs?: number } = {},
): void {
  describe(name, { timeout: timeoutMs }, () => {
    let fixture: BufferFixture;
    let writer: BufferWriter;
    let open: { close(): Promise<void> }[];

    beforeEach(async () => {
      fixture = await createFixture();
      writer = await fixture.createWriter();
      open = [writer];
    }, timeoutMs);

    afterEach(async () => {
      for (const end of open.reverse()) await end.close();
      await fixture.cleanup();
    }, timeoutMs);

    /** Opens a reader, and waits until it owns the partition. */
    async function own(partition: number, group: string = randomUUID()) {
      const reader = await fixture.createReader(group);
      open.push(reader);
      const held = holdPartitions(reader);
      return { reader, held, owned: await held.get(partition, waitMs) };
    }

    async function appendTexts(partition: number, count: number, prefix = 'event'): Promise<number> {
      const texts = Array.from({ length: count }, (_, i) => ({ value: `{"n":"${prefix}-${i}"}` }));
      return writer.append(partition, batchOf(texts));
    }

    describe('records', () => {
      it('come back byte for byte, whatever they contain', async () => {
        const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
        const values = [everyByte, Buffer.from('{}'), Buffer.from([0]), Buffer.from('{"ü":"\u{1f30a} ∂"}')];
        await writer.append(1, batchOf(values.map((value) => ({ value }))));
        const { owned } = await own(1);
        const records = await readRecords(owned, 0, values.length, waitMs);
        expect(records.map(({ value }) => value)).toEqual(values.map((value) => Buffer.from(value)));
      });

      it('may be large', async () => {
        const value = Buffer.from(JSON.stringify({ text: 'abcdefgh'.repeat(128 * 1024 - 2) }));
        const base = await writer.append(0, batchOf([{ value: '{"a":1}' }, { value }, { value: '{"b":2}' }]));
        const { owned } = await own(0);
        const records = await readRecords(owned, base, 3, waitMs);
        expect(records.map((record) => record.value.length)).toEqual([7, value.length, 7]);
        expect(records[1]?.value.equals(value)).toBe(true);
      });

      it('keep their headers, and only theirs', async () => {
        const headers: RecordHeaders = [
          ['id', 'a-1'],
          ['ua', 'Müller/1.0 "\u{1f30a}"'],
          ['empty', ''],
        ];
        await writer.append(
          0,
          batchOf([{ value: '{"n":0}' }, { value: '{"n":1}', headers }, { value: '{"n":2}' }]),
        );
        const { owned } = await own(0);
        const records = await readRecords(owned, 0, 3, waitMs);
        expect(records.map((record) => record.headers ?? [])).toEqual([[], headers, []]);
      });

      it('keep the time they were received at', async () => {
        const now = Date.now();
        const times = [now, now, now + 1, now - 5_000, now + 86_400_000 / 2];
        await writer.append(0, batchOf(times.map((receivedAt) => ({ value: '{}', receivedAt }))));
        const { owned } = await own(0);
        const records = await readRecords(owned, 0, times.length, waitMs);
        expect(records.map(({ receivedAt }) => receivedAt)).toEqual(times);
      });
    });

    describe('offsets', () => {
      it('are dense, in the order of appends, and equal the receipts', async () => {
        const sizes = [1, 3, 200, 1, 50];
        const bases: number[] = [];
        for (const [i, size] of sizes.entries()) bases.push(await appendTexts(0, size, `batch${i}`));
        expect(bases).toEqual([0, 1, 4, 204, 205]);
        const { owned } = await own(0);
        const records = await readRecords(owned, 0, 255, waitMs);
        expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: 255 }, (_, i) => i));
        const texts = sizes.flatMap((size, i) =>
          Array.from({ length: size }, (_, n) => textOf(`batch${i}`, n)),
        );
        expect(records.map(({ value }) => value.toString())).toEqual(texts);
      });

      it('are independent in each partition, also when appends run at once', async () => {
        const rounds = 10;
        const bases = await Promise.all(
          Array.from({ length: fixture.partitions }, async (_, partition) => {
            const own: number[] = [];
            for (let i = 0; i < rounds; i++) own.push(await appendTexts(partition, 7, `p${partition}r${i}`));
            return own;
          }),
        );
        for (const own of bases) expect(own).toEqual(Array.from({ length: rounds }, (_, i) => i * 7));
        const { held } = await own(0);
        for (let partition = 0; partition < fixture.partitions; partition++) {
          const records = await readRecords(await held.get(partition, waitMs), 0, rounds * 7, waitMs);
          const texts = records.map(({ value }) => value.toString());
          expect(texts[0]).toBe(textOf(`p${partition}r0`, 0));
          expect(texts.at(-1)).toBe(textOf(`p${partition}r${rounds - 1}`, 6));
        }
      });

      it('go on where they were after the writer was closed and opened again', async () => {
        expect(await appendTexts(0, 10)).toBe(0);
        await writer.close();
        writer = await fixture.createWriter();
        open.push(writer);
        expect(await appendTexts(0, 1)).toBe(10);
      });

      it('do not depend on the batch after its append has settled', async () => {
        const batch = batchOf([{ value: '{"first":1}' }]);
        await writer.append(0, batch);
        batch.clear();
        batch.add(Buffer.from('{"other":22}'), startMs);
        await writer.append(0, batch);
        const { owned } = await own(0);
        const records = await readRecords(owned, 0, 2, waitMs);
        expect(records.map(({ value }) => value.toString())).toEqual(['{"first":1}', '{"other":22}']);
      });
    });

    describe('reading', () => {
      it('starts at any offset, and says where to go on', async () => {
        await appendTexts(0, 100, 'a');
        await appendTexts(0, 100, 'b');
        const { owned } = await own(0);
        for (const from of [0, 1, 57, 99, 100, 150, 199]) {
          const { blocks, next } = await owned.read(from, { maxBytes: 1, maxWaitMs: waitMs });
          const [block] = blocks;
          expect(block?.offsets[0]).toBe(from);
          expect(next).toBe((blocks.at(-1)?.offsets[(blocks.at(-1)?.count ?? 0) - 1] ?? -1) + 1);
        }
        expect(await owned.read(200, { maxBytes: 1000, maxWaitMs: 0 })).toEqual({ blocks: [], next: 200 });
      });

      it('gives the same records again, block by block or at once', async () => {
        for (let i = 0; i < 20; i++) await appendTexts(0, 25, `batch${i}`);
        const { owned } = await own(0);
        const small = await readRecords(owned, 0, 500, waitMs, 100);
        const large = await readRecords(owned, 0, 500, waitMs, 32 * 1024 * 1024);
        expect(small).toEqual(large);
      });

      it('waits for records that are not there yet, and wakes soon after they are', async () => {
        const { owned } = await own(0);
        const before = performance.now();
        expect((await owned.read(0, { maxBytes: 1000, maxWaitMs: 300 })).blocks).toEqual([]);
        expect(performance.now() - before).toBeGreaterThan(250);
        const reading = owned.read(0, { maxBytes: 1000, maxWaitMs: waitMs });
        await pause(200);
        const appended = performance.now();
        await appendTexts(0, 3);
        const { blocks, next } = await reading;
        expect(performance.now() - appended).toBeLessThan(5_000);
        expect(blocks[0]?.offsets[0]).toBe(0);
        expect(next).toBeGreaterThan(0);
      });

      it('waits until there is enough, or until the time is over', async () => {
        await appendTexts(0, 3);
        const { owned } = await own(0);
        const minBytes = 64 * 1024;
        const little = await owned.read(0, { minBytes, maxBytes: 1024 ** 2, maxWaitMs: 100 });
        expect(little.next).toBe(3);
        const reading = owned.read(0, { minBytes, maxBytes: 1024 ** 2, maxWaitMs: 60_000 });
        for (let i = 0; i < 10; i++) {
          const values = Array.from({ length: 110 }, () => ({ value: randomBytes(80) }));
          await writer.append(0, batchOf(values));
        }
        expect((await reading).next).toBeGreaterThan(500);
      });

      it('refuses offsets outside what is stored', async () => {
        await appendTexts(0, 5);
        const { owned } = await own(0);
        expect(await owned.bounds()).toEqual({ start: 0, end: 5 });
        const options = { maxBytes: 1000, maxWaitMs: 1_000 };
        await expect(owned.read(6, options)).rejects.toThrow(OffsetOutOfRangeError);
        await expect(owned.read(1_000_000, options)).rejects.toMatchObject({ start: 0, end: 5 });
        expect((await owned.read(4, options)).next).toBe(5);
      });

      it('ends soon when the reader closes', async () => {
        const { reader, owned } = await own(0);
        const reading = owned.read(0, { maxBytes: 1000, maxWaitMs: 60_000 }).then(
          () => 'returned',
          (error: unknown) => error,
        );
        await pause(100);
        const before = performance.now();
        await reader.close();
        const result = await reading;
        expect(result === 'returned' || result instanceof FencedError).toBe(true);
        expect(performance.now() - before).toBeLessThan(20_000);
        expect(owned.signal.aborted).toBe(true);
      });
    });

    describe('commits', () => {
      const plans = {
        empty: '',
        short: '1:0:3',
        unicode: 'Plan für „\u{1f30a}“ \\ " \n ∂',
        long: 'x'.repeat(4000),
      };

      it('are absent at first', async () => {
        const { owned } = await own(0);
        expect(await owned.committed()).toBeUndefined();
      });

      it.each(Object.entries(plans))('keep offset and plan together: %s', async (_name, plan) => {
        await appendTexts(0, 10);
        const { owned } = await own(0);
        await owned.commit(3, plan);
        expect(await owned.committed()).toEqual({ offset: 3, plan });
        await owned.commit(7, '');
        expect(await owned.committed()).toEqual({ offset: 7, plan: '' });
      });

      it('belong to their partition and their group', async () => {
        await appendTexts(0, 10);
        await appendTexts(1, 10);
        const { held, owned, reader } = await own(0);
        await owned.commit(4, 'zero');
        const one = await held.get(1, waitMs);
        expect(await one.committed()).toBeUndefined();
        await one.commit(9, 'one');
        expect(await owned.committed()).toEqual({ offset: 4, plan: 'zero' });
        await reader.close();
        const other = await own(0);
        expect(await other.owned.committed()).toBeUndefined();
      });

      it('are there for the next reader of the group', async () => {
        await appendTexts(0, 10);
        const group = randomUUID();
        const first = await own(0, group);
        await first.owned.commit(0, 'plan 1');
        await first.owned.commit(6, 'plan 2');
        await first.reader.close();
        const second = await own(0, group);
        expect(await second.owned.committed()).toEqual({ offset: 6, plan: 'plan 2' });
        const records = await readRecords(second.owned, 6, 4, waitMs);
        expect(records.map(({ offset }) => offset)).toEqual([6, 7, 8, 9]);
      });

      it('of an owner that was replaced are refused and change nothing', async () => {
        for (let partition = 0; partition < fixture.partitions; partition++) await appendTexts(partition, 10);
        const group = randomUUID();
        const readerA = await fixture.createReader(group);
        open.push(readerA);
        const heldByA = holdPartitions(readerA);
        const ownedByA: OwnedPartition[] = [];
        for (let partition = 0; partition < fixture.partitions; partition++) {
          ownedByA.push(await heldByA.get(partition, waitMs));
        }
        for (const owned of ownedByA) await owned.commit(2, 'by A');
        const readerB = await fixture.createReader(group);
        open.push(readerB);
        const ownedByB = await holdPartitions(readerB).any(timeoutMs / 2);
        const stale = ownedByA[ownedByB.partition] as OwnedPartition;
        await expect(stale.commit(5, 'by A, too late')).rejects.toThrow(FencedError);
        expect(await ownedByB.committed()).toEqual({ offset: 2, plan: 'by A' });
        await ownedByB.commit(3, 'by B');
        await expect(stale.commit(9, 'by A, later still')).rejects.toThrow(FencedError);
        expect(await ownedByB.committed()).toEqual({ offset: 3, plan: 'by B' });
        await expect.poll(() => stale.signal.aborted, { timeout: waitMs }).toBe(true);
      });
    });

    describe('an inspector', () => {
      async function inspect(group: string = randomUUID()): Promise<BufferInspector> {
        const inspector = await fixture.createInspector(group);
        open.push(inspector);
        return inspector;
      }

      it('sees the ends of all partitions, and no commit where there is none', async () => {
        await appendTexts(1, 7);
        const inspector = await inspect();
        expect(inspector.topic).toBe(writer.topic);
        const { partitions, topicId } = await inspector.view();
        expect(topicId).toBe((await own(0)).owned.topicId);
        expect(partitions.map(({ partition, start, end }) => [partition, start, end])).toEqual(
          Array.from({ length: fixture.partitions }, (_, p) => [p, 0, p === 1 ? 7 : 0]),
        );
        expect(partitions.map(({ commit }) => commit)).toEqual(new Array(fixture.partitions).fill(undefined));
      });

      it('sees commits, plans and records of others as they come, and disturbs no owner', async () => {
        const group = randomUUID();
        const inspector = await inspect(group);
        const { owned } = await own(0, group);
        for (let end = 10; end <= 30; end += 10) {
          await appendTexts(0, 10, `to${end}`);
          await owned.commit(end - 5, `plan ${end}`);
          const [view] = (await inspector.view()).partitions;
          expect(view).toEqual({
            partition: 0,
            start: 0,
            end,
            commit: { offset: end - 5, plan: `plan ${end}` },
          });
        }
        expect(owned.signal.aborted).toBe(false);
        expect((await inspector.view()).partitions[1]?.commit).toBeUndefined();
        expect((await (await inspect()).view()).partitions[0]?.commit).toBeUndefined();
      });

      it('reads records from any offset, and nothing at the end', async () => {
        await appendTexts(0, 100, 'a');
        await appendTexts(0, 100, 'b');
        const inspector = await inspect();
        for (const from of [0, 57, 99, 100, 199]) {
          const { blocks } = await inspector.read(0, from, { maxBytes: 1 });
          const [block] = blocks;
          expect(block?.offsets[0]).toBe(from);
          const value = Buffer.from(block?.bytes.slice(block.starts[0], block.ends[0]) ?? []).toString();
          expect(value).toBe(textOf(from < 100 ? 'a' : 'b', from % 100));
        }
        let records = 0;
        for (let position = 0; position < 200; ) {
          const { blocks, next } = await inspector.read(0, position, { maxBytes: 1024 * 1024 });
          for (const block of blocks) records += block.count;
          position = next;
        }
        expect(records).toBe(200);
        expect(await inspector.read(0, 200, { maxBytes: 1000 })).toEqual({ blocks: [], next: 200 });
        await expect(inspector.read(0, 201, { maxBytes: 1000 })).rejects.toMatchObject({
          start: 0,
          end: 200,
        });
      });

      it('finds the first record of a time', async () => {
        const times = [0, 0, 1_000, 500, 2_000, 3_000].map((ms) => Date.now() - 60_000 + ms);
        await writer.append(0, batchOf(times.slice(0, 3).map((receivedAt) => ({ value: '{}', receivedAt }))));
        await writer.append(0, batchOf(times.slice(3).map((receivedAt) => ({ value: '{}', receivedAt }))));
        const inspector = await inspect();
        const [first = 0] = times;
        const found = [-1, 0, 1, 1_000, 1_001, 2_500, 3_001].map((ms) => inspector.offsetAt(0, first + ms));
        expect(await Promise.all(found)).toEqual([0, 0, 2, 2, 4, 5, 6]);
        expect(await inspector.offsetAt(1, first)).toBe(0);
      });

      it('closes while others go on', async () => {
        const inspector = await inspect();
        await inspector.view();
        await inspector.close();
        await expect(inspector.view()).rejects.toThrow();
        expect(await appendTexts(0, 1)).toBe(0);
      });
    });

    describe('the rest', () => {
      it('names topic and partitions, and tells topics apart', async () => {
        expect(writer.partitions).toBe(fixture.partitions);
        const { held, owned } = await own(0);
        expect(owned).toMatchObject({ topic: writer.topic, partition: 0 });
        expect(owned.topicId).not.toBe('');
        expect((await held.get(1, waitMs)).topicId).toBe(owned.topicId);
      });

      it('knows the lag of what it owns', async () => {
        await appendTexts(0, 10);
        const { reader, held, owned } = await own(0);
        for (let partition = 0; partition < fixture.partitions; partition++)
          await held.get(partition, waitMs);
        await owned.commit(4, '');
        await expect
          .poll(async () => (await reader.lag()).find(({ partition }) => partition === 0), {
            timeout: waitMs,
          })
          .toEqual({ topic: writer.topic, partition: 0, committed: 4, end: 10 });
        expect(await reader.lag()).toHaveLength(fixture.partitions);
        await owned.commit(10, '');
        await expect
          .poll(async () => (await reader.lag()).find(({ partition }) => partition === 0), {
            timeout: waitMs,
          })
          .toMatchObject({ committed: 10, end: 10 });
      });

      it('is ready while open', async () => {
        const { reader } = await own(0);
        expect(writer.state()).toEqual({ ok: true });
        expect(reader.state()).toEqual({ ok: true });
      });

      it('lets a reader run to its end when it closes, and closes once', async () => {
        const { reader, held } = await own(0);
        await Promise.all([reader.close(), reader.close()]);
        await expect(held.finished).resolves.toBeUndefined();
        await reader.close();
        const appending = appendTexts(0, 5);
        await Promise.all([writer.close(), writer.close()]);
        expect(await appending).toBe(0);
        await writer.close();
        await expect(appendTexts(0, 1)).rejects.toThrow();
      });

      it('ends run with the error of deliver', async () => {
        const reader = await fixture.createReader(randomUUID());
        open.push(reader);
        const running = reader.run(async () => {
          throw new Error('deliver failed');
        });
        await expect(running).rejects.toThrow('deliver failed');
      });
    });
  });
}

function batchOf(events: readonly TestEvent[]): EventBatch {
  const batch = new EventBatch();
  for (const { value, receivedAt = Date.now(), headers } of events) {
    batch.add(typeof value === 'string' ? Buffer.from(value) : value, receivedAt, headers);
  }
  return batch;
}

function textOf(prefix: string, index: number): string {
  return `{"n":"${prefix}-${index}"}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
