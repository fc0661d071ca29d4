/** Several processes on one embedded log, and processes that are killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Environment, logPath } from '../../src/buffer/embedded/environment.ts';
import { openEmbeddedInspector } from '../../src/buffer/embedded/inspector.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { EventBatch } from '../../src/buffer/records.ts';
import { holdPartitions, readRecords } from '../support/buffer-reading.ts';

interface Acknowledgement {
  readonly partition: number;
  readonly base: number;
  readonly count: number;
  readonly seq: number;
}

describe('embedded log, several processes', () => {
  let options: { dir: string; topic: string; partitions: number; maxBytes: number; retentionMs: number };
  let children: ChildProcess[];

  beforeEach(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-log-'));
    options = { dir, topic: 'events', partitions: 2, maxBytes: 1024 ** 3, retentionMs: 86_400_000 };
    children = [];
  });

  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(options.dir, { recursive: true, force: true });
  });

  function startWriter(name: string, batches: number) {
    const argument = JSON.stringify({ ...options, name, size: 5, batches });
    const child = spawn(process.execPath, [supportFile('embedded-writer.mjs'), argument], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const closed = once(child, 'close');
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    const acknowledged = () => parseAcknowledgements(Buffer.concat(chunks).toString());
    return { child, closed, acknowledged };
  }

  /** Reads everything, as `partition -> values`. */
  async function readAll(): Promise<string[][]> {
    const reader = await openEmbeddedReader({ ...options, group: 'check' });
    try {
      const held = holdPartitions(reader);
      const all: string[][] = [];
      for (let partition = 0; partition < options.partitions; partition++) {
        const owned = await held.get(partition, 10_000);
        const { start, end } = await owned.bounds();
        expect(start).toBe(0);
        const records = await readRecords(owned, 0, end, 30_000);
        expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: end }, (_, i) => i));
        all.push(records.map(({ value }) => value.toString()));
      }
      return all;
    } finally {
      await reader.close();
    }
  }

  it('gives every record of three writers an offset of its own, in the order of each', async () => {
    const batches = 400;
    const writers = ['a', 'b', 'c'].map((name) => ({ name, ...startWriter(name, batches) }));
    for (const { closed } of writers) expect((await closed)[0]).toBe(0);
    const stored = await readAll();
    expect(stored.flat()).toHaveLength(3 * batches * 5);
    for (const { name, acknowledged } of writers) {
      expect(acknowledged()).toHaveLength(batches);
      for (const acknowledgement of acknowledged()) expectStored(stored, name, acknowledgement);
      for (const values of stored) {
        const sequence = values.filter((value) => value.startsWith(`${name}:`)).map(sequenceOf);
        expect(sequence).toEqual(sequence.toSorted((a, b) => a - b));
      }
    }
    const writersInTurn = stored[0]?.map((value) => value[0]).join('');
    expect(writersInTurn).toMatch(/a.*b.*a|b.*a.*b|c.*a.*c|a.*c.*a|b.*c.*b|c.*b.*c/);
  });

  it('has everything that was acknowledged when writers are killed in mid-append', async () => {
    const acknowledged: { name: string; list: Acknowledgement[] }[] = [];
    for (let round = 0; round < 5; round++) {
      const writers = ['a', 'b'].map((name) => ({
        name: `${name}${round}`,
        ...startWriter(`${name}${round}`, 0),
      }));
      await expect
        .poll(() => writers.every((w) => w.acknowledged().length > 20), { timeout: 20_000 })
        .toBe(true);
      for (const { child } of writers) child.kill('SIGKILL');
      for (const { closed } of writers) await closed;
      for (const { name, acknowledged: list } of writers) acknowledged.push({ name, list: list() });
      const stored = await readAll();
      for (const { name, list } of acknowledged) {
        for (const acknowledgement of list) expectStored(stored, name, acknowledgement);
      }
      for (const values of stored) expectWholeBatches(values);
    }
    const writer = await openEmbeddedWriter(options);
    const batch = new EventBatch();
    batch.add(Buffer.from('after'), Date.now());
    const stored = await readAll();
    expect(await writer.append(0, batch)).toBe(stored[0]?.length);
    await writer.close();
  });

  it('shows an inspector everything that was acknowledged, while others write', async () => {
    const writers = ['a', 'b'].map((name) => startWriter(name, 0));
    const counts = () => writers.map(({ acknowledged }) => acknowledged().length);
    await expect.poll(() => Math.min(...counts()), { timeout: 20_000 }).toBeGreaterThan(5);
    const inspector = await openEmbeddedInspector({ ...options, group: 'check' });
    for (let round = 0; round < 20; round++) {
      const before = counts();
      const ends = [0, 0];
      for (const { partition, base, count } of writers.flatMap(({ acknowledged }) => acknowledged()))
        ends[partition] = Math.max(ends[partition] ?? 0, base + count);
      const { partitions } = await inspector.view();
      for (const { partition, end } of partitions) {
        expect(end).toBeGreaterThanOrEqual(ends[partition] ?? 0);
        const { blocks } = await inspector.read(partition, end - 1, { maxBytes: 1 });
        expect(blocks[0]?.offsets[0]).toBe(end - 1);
      }
      await expect
        .poll(() => Math.min(...counts()), { timeout: 20_000 })
        .toBeGreaterThan(Math.min(...before));
    }
    await inspector.close();
  });

  it('frees the snapshot of a process that was killed', async () => {
    const writer = await openEmbeddedWriter(options);
    const path = logPath(options.dir, options.topic);
    const holder = spawn(process.execPath, [supportFile('embedded-snapshot-holder.mjs'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(holder);
    await once(holder.stdout, 'data');
    const environment = await Environment.acquire(path, 0);
    expect(environment.releaseDeadReaders()).toBe(0);
    holder.kill('SIGKILL');
    await once(holder, 'close');
    expect(environment.releaseDeadReaders()).toBe(1);
    await environment.release();
    await writer.close();
  });
});

function expectStored(
  stored: string[][],
  name: string,
  { partition, base, count, seq }: Acknowledgement,
): void {
  const expected = Array.from({ length: count }, (_, i) => `${name}:${seq}:${i}`);
  expect(stored[partition]?.slice(base, base + count)).toEqual(expected);
}

/** A batch is one transaction: all of it or nothing. */
function expectWholeBatches(values: string[]): void {
  const indices = values.map((value) => Number(value.split(':')[2]));
  expect(indices).toEqual(indices.map((_, i) => i % 5));
}

function sequenceOf(value: string): number {
  const [, seq, index] = value.split(':');
  return Number(seq) * 5 + Number(index);
}

function parseAcknowledgements(text: string): Acknowledgement[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter(Boolean).map((line) => {
    const [partition = -1, base = -1, count = -1, seq = -1] = line.split(' ').map(Number);
    return { partition, base, count, seq };
  });
}

function supportFile(name: string): string {
  return fileURLToPath(new URL(`../support/${name}`, import.meta.url));
}
