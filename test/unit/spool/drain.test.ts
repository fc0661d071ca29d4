/** Draining against a buffer and a spool in memory that fail, or end the drainer, at any step. */

import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import {
  type AppendSeries,
  BufferUnavailableError,
  type Commit,
  OutcomeUnknownError,
  type OwnedPartition,
  type ResumableWriter,
  TicketLostError,
} from '../../../src/buffer/buffer.ts';
import type { EventBatch, RecordBlock } from '../../../src/buffer/records.ts';
import { drainPartition } from '../../../src/spool/drain.ts';
import { fc } from '../../support/fast-check.ts';
import { blockOf } from '../../support/records.ts';

vi.mock('../../../src/time.ts', async (original) => ({
  ...(await original<typeof import('../../../src/time.ts')>()),
  pause: () => Promise.resolve(),
}));

const partitions = 3;
const blockSize = 40;
const total = 400;

/** What happens at one step. A crash ends the drainer: before the step has its effect, or after. */
type Fault = 'none' | 'refused' | 'lost' | 'crash-before' | 'crash-after';

class Crash extends Error {}

/** The faults to come, one a step; none after the last. */
class Faults {
  readonly #left: Fault[];
  constructor(left: readonly Fault[]) {
    this.#left = [...left];
  }
  next(): Fault {
    return this.#left.shift() ?? 'none';
  }
}

/** A buffer that knows its tickets, and its stored values by partition. */
class MemoryBuffer {
  readonly stored: string[][] = Array.from({ length: partitions }, () => []);
  readonly tickets = new Map<string, number>();
  readonly #faults: Faults;
  #nextSeries = 0;

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  writer(): ResumableWriter {
    return {
      ...{ topic: 'memory', partitions, append: () => Promise.reject(new Error('unused')) },
      ...{ state: () => ({ ok: true }) as const, close: () => Promise.resolve() },
      beginSeries: () => this.#series(),
    };
  }

  #series(): AppendSeries {
    const series = this.#nextSeries++;
    const numbers = new Map<number, number>();
    const ticketOf = (partition: number) => `${series}/${partition}/${numbers.get(partition) ?? 0}`;
    return {
      reserve: async (partition) => {
        if (this.#faults.next() === 'refused') throw new BufferUnavailableError('away');
        return ticketOf(partition);
      },
      append: async (partition, batch, ticket) => {
        const fault = this.#faults.next();
        if (fault === 'crash-before') throw new Crash();
        if (fault === 'refused') throw new BufferUnavailableError('away');
        const offset = this.#store(partition, batch, ticket);
        if (fault === 'lost') throw new OutcomeUnknownError('lost');
        if (fault === 'crash-after') throw new Crash();
        if (ticket === ticketOf(partition)) numbers.set(partition, (numbers.get(partition) ?? 0) + 1);
        return offset;
      },
    };
  }

  #store(partition: number, batch: EventBatch, ticket: string): number {
    const known = this.tickets.get(ticket);
    if (known !== undefined) return known;
    const log = this.stored[partition] as string[];
    this.tickets.set(ticket, log.length);
    let start = 0;
    for (const end of batch.ends) {
      log.push(batch.bytes.toString('utf8', start, end));
      start = end;
    }
    return this.tickets.get(ticket) as number;
  }
}

/** The spool: blocks of numbered records, every third with an id, and what was committed. */
class MemorySpool {
  commit: Commit | undefined;
  readonly #faults: Faults;
  readonly #blocks: RecordBlock[] = [];

  constructor(faults: Faults) {
    this.#faults = faults;
    for (let from = 0; from < total; from += blockSize) {
      const numbers = Array.from({ length: blockSize }, (_, i) => from + i);
      const block = blockOf(
        numbers.map((n) => `${n} ${'x'.repeat(8_000)}`),
        from,
        Date.now(),
      );
      const headers = numbers.map((n) => (n % 3 === 0 ? ([['id', `id-${n}`]] as const) : undefined));
      this.#blocks.push({ ...block, headers });
    }
  }

  partition(): OwnedPartition {
    return {
      ...{ topic: 'spool', topicId: 'id', partition: 0, signal: new AbortController().signal },
      committed: async () => this.commit,
      bounds: async () => ({ start: 0, end: total }),
      read: async (from) => {
        const block = this.#blocks[Math.floor(from / blockSize)];
        if (block === undefined) return { blocks: [], next: from };
        return { blocks: [skip(block, from % blockSize)], next: (block.offsets[0] as number) + blockSize };
      },
      commit: async (offset, plan) => {
        const fault = this.#faults.next();
        if (fault === 'crash-before') throw new Crash();
        expect(offset).toBeGreaterThanOrEqual(this.commit?.offset ?? 0);
        this.commit = { offset, plan };
        if (fault === 'crash-after') throw new Crash();
      },
    };
  }
}

function skip(block: RecordBlock, count: number): RecordBlock {
  return {
    bytes: block.bytes,
    count: block.count - count,
    starts: Array.from(block.starts).slice(count),
    ends: Array.from(block.ends).slice(count),
    offsets: Array.from(block.offsets).slice(count),
    receivedAt: Array.from(block.receivedAt).slice(count),
    headers: block.headers?.slice(count) ?? [],
  };
}

/** Drains, beginning anew after each crash, until nothing is left. */
async function drainAll(buffer: MemoryBuffer, spool: MemorySpool) {
  const counts = { drained: 0, unsure: 0 };
  const context = {
    writer: buffer.writer(),
    spoolId: 'a-spool',
    log: pino({ level: 'silent' }),
    observer: {
      drained: (events: number) => {
        counts.drained += events;
      },
      unsure: (events: number) => {
        counts.unsure += events;
      },
      delayed: () => {},
    },
  };
  for (;;) {
    try {
      await drainPartition(spool.partition(), context, new AbortController().signal);
      return counts;
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
    }
  }
}

const numbersIn = (log: readonly string[]) => log.map((value) => Number(value.split(' ')[0]));

test('whatever fails and whenever it is killed, each record arrives once and in order', async () => {
  const fault = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Fault>('none') },
    { weight: 3, arbitrary: fc.constantFrom<Fault>('refused', 'lost', 'crash-before', 'crash-after') },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fault, { maxLength: 60 }), async (list) => {
      const faults = new Faults(list);
      const buffer = new MemoryBuffer(faults);
      const spool = new MemorySpool(faults);
      const { unsure } = await drainAll(buffer, spool);
      const logs = buffer.stored.map(numbersIn);
      expect(logs.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i));
      for (const log of logs) expect(log).toEqual([...log].sort((a, b) => a - b));
      expect(spool.commit).toEqual({ offset: total, plan: '' });
      expect(unsure).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test('a ticket that the buffer has forgotten is replaced, and its events are counted as unsure', async () => {
  const faults = new Faults([]);
  const buffer = new MemoryBuffer(faults);
  const spool = new MemorySpool(faults);
  const writer = buffer.writer();
  let forgets = 2;
  const forgetful: ResumableWriter = {
    ...writer,
    beginSeries() {
      const series = writer.beginSeries();
      return {
        reserve: (partition) => series.reserve(partition),
        append: async (partition, batch, ticket) => {
          if (forgets-- > 0) throw new TicketLostError('forgotten');
          return await series.append(partition, batch, ticket);
        },
      };
    },
  };
  buffer.writer = () => forgetful;
  const { drained, unsure } = await drainAll(buffer, spool);
  expect(drained).toBe(total);
  expect(unsure).toBeGreaterThan(0);
  expect(buffer.stored.flat()).toHaveLength(total);
});

test('a plan that does not fit the records stops the drain, and nothing is sent', async () => {
  const buffer = new MemoryBuffer(new Faults([]));
  const spool = new MemorySpool(new Faults(['crash-after']));
  await drainPartition(
    spool.partition(),
    {
      writer: buffer.writer(),
      spoolId: 's',
      log: pino({ level: 'silent' }),
      observer: { drained() {}, unsure() {}, delayed() {} },
    },
    new AbortController().signal,
  ).catch(() => {});
  const plan = JSON.parse(spool.commit?.plan ?? '');
  plan.batches[0][1]++;
  spool.commit = { offset: 0, plan: JSON.stringify(plan) };
  await expect(drainAll(buffer, spool)).rejects.toThrow('does not match the plan');
  expect(buffer.stored.flat()).toEqual([]);
});
