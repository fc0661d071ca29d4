import { describe, expect, it } from 'vitest';
import { type Batch, createLineSplitter } from '../../../src/replay/batch.ts';
import { createSchedule } from '../../../src/replay/pacing.ts';
import { type ReadOptions, readBatches } from '../../../src/replay/read-batches.ts';
import { fc } from '../../support/fast-check.ts';

const never = new AbortController().signal;
const limits = { maxEvents: 500, maxBytes: 1024 ** 2, windowMs: Number.POSITIVE_INFINITY };

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(
  content: string | Buffer,
  options: Partial<ReadOptions> = {},
  chunk = 7,
): Promise<Batch[]> {
  const defaults = {
    format: 'auto',
    skip: 0,
    limits,
    schedule: createSchedule({}),
    needsTime: false,
  } as const;
  const batches: Batch[] = [];
  const chunks = cut(Buffer.from(content), chunk);
  for await (const batch of readBatches(chunks, { ...defaults, signal: never, ...options }))
    batches.push(batch);
  return batches;
}

function textOf(batches: readonly Batch[]): string[] {
  return batches.map(({ body }) => body.toString());
}

const logLine = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "-"';

describe('lines', () => {
  it('are the same however the file is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' })),
        fc.integer({ min: 1, max: 50 }),
        (texts, size) => {
          const content = Buffer.from(texts.join('\n'));
          const splitter = createLineSplitter(1000);
          const lines = [];
          for (let at = 0; at < content.length; at += size)
            lines.push(...splitter.push(content.subarray(at, at + size)));
          lines.push(...splitter.finish());
          const expected = content.toString().split('\n');
          if (expected.at(-1) === '') expected.pop();
          const withoutReturn = expected.map((text) => text.replace(/\r$/, '').replace(/^\ufeff/, ''));
          expect(lines.map(({ bytes }) => bytes.toString().replace(/^\ufeff/, ''))).toEqual(withoutReturn);
          expect(lines.map(({ number }) => number)).toEqual(expected.map((_, index) => index + 1));
          expect(lines.at(-1)?.end ?? 0).toBe(content.length);
        },
      ),
    );
  });

  it('that are too long are named, not kept', () => {
    const splitter = createLineSplitter(10);
    const lines = [
      ...splitter.push(Buffer.from('a\n0123456789')),
      ...splitter.push(Buffer.from('0\nb')),
      ...splitter.finish(),
    ];
    expect(lines.map(({ bytes, isTooLong }) => [bytes.toString(), isTooLong])).toEqual([
      ['a', false],
      ['', true],
      ['b', false],
    ]);
  });
});

describe('batches', () => {
  it('hold NDJSON as it is, without blank lines, line ends and byte order mark', async () => {
    const content = '\ufeff{"event": "a" ,"n":1.0}\r\n\n  \n{"event":"ü"}\n{broken';
    const [batch] = await read(content);
    expect(batch?.body.toString()).toBe('{"event": "a" ,"n":1.0}\n{"event":"ü"}\n{broken');
    expect(batch).toMatchObject({ lines: [1, 4, 5], afterLine: 0, lastLine: 5, unreadable: 0 });
    expect(batch?.end).toBe(Buffer.byteLength(content));
  });

  it('hold lines of an access log as events, and say which could not be read', async () => {
    const [batch] = await read(`${logLine}\nhello\n${logLine}\n`);
    expect(batch).toMatchObject({ lines: [1, 3], unreadable: 1, faults: [{ line: 2, code: 'UNREADABLE' }] });
    expect(
      batch?.body
        .toString()
        .split('\n')
        .map((line) => JSON.parse(line).ip),
    ).toEqual(['1.2.3.4', '1.2.3.4']);
  });

  it('end at the most events, and at the most bytes', async () => {
    const content = '{"a":1}\n{"a":2}\n{"a":3}\n{"a":4}\n{"a":5}\n';
    expect(textOf(await read(content, { limits: { ...limits, maxEvents: 2 } }))).toEqual([
      '{"a":1}\n{"a":2}',
      '{"a":3}\n{"a":4}',
      '{"a":5}',
    ]);
    const small = await read(content, { limits: { ...limits, maxBytes: 17 } });
    expect(small.map(({ lines }) => lines)).toEqual([[1, 2], [3, 4], [5]]);
    const tiny = await read(content, { limits: { ...limits, maxBytes: 1 } });
    expect(tiny).toHaveLength(5);
  });

  it('hold what is due together, and are due with their last event', async () => {
    const content = '{}\n'.repeat(10);
    const batches = await read(content, {
      schedule: createSchedule({ rate: 20 }),
      limits: { ...limits, windowMs: 100 },
    });
    expect(batches.map(({ lines, dueMs }) => [lines.length, dueMs])).toEqual([
      [3, 100],
      [3, 250],
      [3, 400],
      [1, 450],
    ]);
  });

  it('take the time of NDJSON from the events', async () => {
    const times = ['2015-05-17T10:00:00Z', '2015-05-17T10:00:10Z'];
    const content = times.map((time) => JSON.stringify({ event: 'a', time })).join('\n');
    const schedule = createSchedule({ speed: 10 });
    const batches = await read(`${content}\n{"time":5}\nnone`, {
      schedule,
      needsTime: true,
      limits: { ...limits, windowMs: 100 },
    });
    expect(batches.map(({ lines, dueMs }) => [lines, dueMs])).toEqual([
      [[1], 0],
      [[2, 3, 4], 1000],
    ]);
  });

  it('leave out skipped lines but count them', async () => {
    const [batch] = await read('{"a":1}\n{"a":2}\n{"a":3}\n', { skip: 2 });
    expect(batch).toMatchObject({ lines: [3], lastLine: 3 });
    const [nothing] = await read('{"a":1}\n', { skip: 5 });
    expect(nothing).toMatchObject({ lines: [], lastLine: 1 });
  });

  it('of an empty file are none', async () => {
    expect(await read('')).toEqual([]);
  });

  it('are not made of a JSON array', async () => {
    await expect(read('\n[{"a":1}]')).rejects.toThrow('JSON array');
  });

  it('do not wait for a pipe that has no more now', async () => {
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"a":1}\n{"a"');
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      yield Buffer.from(':2}\n');
    }
    const options = {
      format: 'auto',
      skip: 0,
      limits,
      schedule: createSchedule({}),
      needsTime: false,
      signal: never,
    } as const;
    const batches = [];
    for await (const batch of readBatches(slow(), options)) batches.push(batch);
    expect(textOf(batches)).toEqual(['{"a":1}', '{"a":2}']);
  });
});
