import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { classicEvent, createMix, createPayload } from '../../../src/bench/payload.ts';
import { loadSchema } from '../../../src/schema/schema.ts';
import { temporaryDirectory } from '../../support/program.ts';

const directory = temporaryDirectory();
afterAll(() => directory.remove());

function fileOf(text: string): string {
  const file = join(directory.path, 'events.ndjson');
  writeFileSync(file, text);
  return file;
}

describe('the payload', () => {
  test('classic is one event, alone or many times', () => {
    const single = createPayload('classic');
    expect(single).toMatchObject({ contentType: 'application/json', eventsPerPost: 1, bytesPerEvent: 48 });
    expect(single.bodies.map(String)).toEqual([classicEvent]);
    const batch = createPayload('classic', 100);
    expect(batch).toMatchObject({ contentType: 'application/x-ndjson', eventsPerPost: 100 });
    expect(batch.bodies.map(String)).toEqual([`${classicEvent}\n`.repeat(100)]);
  });

  test('mix has hundreds of bodies, none twice, and the same ones each time', () => {
    const { bodies } = createPayload('mix');
    expect(bodies).toHaveLength(500);
    expect(new Set(bodies.map(String)).size).toBe(500);
    expect(createPayload('mix').bodies.map(String)).toEqual(bodies.map(String));
    expect(createPayload('mix', 7).bodies.every((body) => String(body).split('\n').length === 8)).toBe(true);
  });

  test('from a file is cycled, and its last body filled up from the first events', () => {
    const file = fileOf('{"event":"a"}\n\n  {"event":"b"}\r\n{"event":"c"}');
    expect(createPayload(file).bodies.map(String)).toEqual([
      '{"event":"a"}',
      '{"event":"b"}',
      '{"event":"c"}',
    ]);
    expect(createPayload(file, 2).bodies.map(String)).toEqual([
      '{"event":"a"}\n{"event":"b"}\n',
      '{"event":"c"}\n{"event":"a"}\n',
    ]);
    expect(createPayload(file, 4).bodies.map(String)).toEqual([
      '{"event":"a"}\n{"event":"b"}\n{"event":"c"}\n{"event":"a"}\n',
    ]);
  });

  test.each([
    ['{"event":"a"}\nnonsense', 'line 2 of'],
    ['[1]', 'line 1 of'],
    ['\n\n', 'holds no events'],
    ['{}\n'.repeat(100_001), 'more than 100000 events'],
  ])('from a file with %j is refused', (text, message) => {
    expect(() => createPayload(fileOf(text))).toThrow(message);
  });

  test('from no file, or with no events a post, is refused', () => {
    expect(() => createPayload(join(directory.path, 'none'))).toThrow('cannot read');
    for (const count of [0, 1.5, 20_001])
      expect(() => createPayload('classic', count)).toThrow('a post takes');
  });
});

describe('the mix', () => {
  const events = createMix(5_000);

  test('is what the schema accepts', () => {
    const { validate } = loadSchema();
    expect(events.filter((event) => validate(JSON.parse(event)) !== undefined)).toEqual([]);
  });

  test('has no ids, and sizes from 60 bytes to 2 KB', () => {
    expect(events.some((event) => 'id' in JSON.parse(event))).toBe(false);
    const sizes = events.map((event) => Buffer.byteLength(event)).sort((a, b) => a - b);
    expect(sizes[0]).toBeGreaterThanOrEqual(55);
    expect(sizes[0]).toBeLessThan(100);
    expect(sizes.at(-1)).toBeGreaterThan(1_500);
    expect(sizes.at(-1)).toBeLessThanOrEqual(2_048);
  });
});
