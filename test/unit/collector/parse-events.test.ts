import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type BodyType, type PostedEvents, parseEvents } from '../../../src/collector/parse-events.ts';
import { fc } from '../../support/fast-check.ts';

const limitsOf = (maxBatchEvents: number, maxBodyValues = 1e6) => ({ maxBatchEvents, maxBodyValues });

function parse(body: string | Buffer, type: BodyType = 'json', maxEvents = 1_000): PostedEvents {
  const result = parseEvents(Buffer.from(body), type, limitsOf(maxEvents));
  if ('code' in result) throw new Error(`${result.code}: ${result.detail}`);
  return result;
}

function refuse(body: string | Buffer, type: BodyType = 'json', maxEvents = 1_000): string {
  const result = parseEvents(Buffer.from(body), type, limitsOf(maxEvents));
  return 'code' in result ? result.code : 'accepted';
}

const texts = ({ events }: PostedEvents): string[] => events.map(({ bytes }) => bytes.toString());

/** JSON text with whitespace wherever JSON allows it. */
function spaced(value: unknown, space: string): string {
  if (Array.isArray(value))
    return `[${space}${value.map((item) => spaced(item, space)).join(`${space},${space}`)}${space}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(
    ([key, item]) => `${JSON.stringify(key)}${space}:${space}${spaced(item, space)}`,
  );
  return `{${space}${entries.join(`${space},${space}`)}${space}}`;
}

describe('one event', () => {
  test('keeps its own bytes, without the whitespace around them', () => {
    const result = parse(' {"event" : "ü",\n "n":1.0}\n');
    expect(result.isSingle).toBe(true);
    expect(texts(result)).toEqual(['{"event" : "ü",\n "n":1.0}']);
  });

  test('an object with both event and batch is one event', () => {
    expect(parse('{"event":"a","batch":[{"event":"b"}]}').isSingle).toBe(true);
  });
});

describe('batches', () => {
  test('an array, an envelope and NDJSON give the same events, byte for byte', () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue(), { minLength: 1, maxLength: 8 }),
        fc.constantFrom('', ' ', '\n\t ', '\r\n'),
        (values, space) => {
          const list = spaced(values, space);
          // Lines that begin with an array are taken for one.
          const lines = ['{}', ...values.map((value) => JSON.stringify(value))];
          const expected = values.map((value) => spaced(value, space));
          expect(texts(parse(list))).toEqual(expected);
          expect(texts(parse(`{"a]":[1,{"batch":2}],"batch"${space}:${list},"z":"}"}`))).toEqual(expected);
          expect(texts(parse(`${lines.join('\r\n')}\n\n`, 'ndjson'))).toEqual(lines);
          expect(parse(list).events.map(({ value }) => value)).toEqual(JSON.parse(JSON.stringify(values)));
        },
      ),
    );
  });

  test('an escaped or repeated key "batch" is found as JSON.parse finds it', () => {
    expect(texts(parse('{"\\u0062atch":[1,2]}'))).toEqual(['1', '2']);
    expect(texts(parse('{"batch":[1],"batch":[2,3]}'))).toEqual(['2', '3']);
  });

  test('in NDJSON an unreadable line is named by its index and the rest is kept', () => {
    const result = parse('{"event":"a"}\n\n{oops}\n{"event":"b"}', 'ndjson');
    expect(texts(result)).toEqual(['{"event":"a"}', '{"event":"b"}']);
    expect(result.events.map(({ index }) => index)).toEqual([0, 2]);
    expect(result.rejected).toMatchObject([{ index: 1, code: 'INVALID_JSON' }]);
  });

  test('text/plain is whichever form it holds', () => {
    expect(parse('{"event":"a"}', 'text').isSingle).toBe(true);
    expect(texts(parse('[1,2]', 'text'))).toEqual(['1', '2']);
    expect(texts(parse('{"event":"a"}\n{"event":"b"}', 'text'))).toHaveLength(2);
  });
});

describe('what clients send by mistake', () => {
  const mark = '\ufeff';

  test('a byte order mark is passed over, in every form', () => {
    expect(texts(parse(`${mark}{"event":"a"}`))).toEqual(['{"event":"a"}']);
    expect(texts(parse(`${mark}{"event":"a"}\n{"event":"b"}`, 'ndjson'))).toEqual([
      '{"event":"a"}',
      '{"event":"b"}',
    ]);
    expect(texts(parse(`${mark}[{"event":"a"}]`, 'text'))).toEqual(['{"event":"a"}']);
    expect(refuse(mark)).toBe('EMPTY_BODY');
  });

  test('JSON that says it is a form is taken, and a form is not', () => {
    expect(texts(parse(' {"event":"a"}', 'form'))).toEqual(['{"event":"a"}']);
    expect(texts(parse('{"event":"a"}\n{"event":"b"}', 'form'))).toHaveLength(2);
    expect(texts(parse('[{"event":"a"}]', 'form'))).toEqual(['{"event":"a"}']);
    expect(refuse('event=view&os=linux', 'form')).toBe('UNSUPPORTED_TYPE');
  });

  test.each(['ndjson', 'text'] as const)('an array over several lines is no NDJSON, as %s', (type) => {
    const array = '[\n{"event":"a"},\n{"event":"b"}\n';
    expect(refuse(array, type)).toBe('INVALID_JSON');
  });

  test('a body that is packed and does not say so is told what to say', () => {
    const packed = gzipSync('{"event":"a"}');
    expect(parseEvents(packed, 'json', limitsOf(1))).toMatchObject({
      detail: expect.stringContaining('Content-Encoding: gzip'),
    });
  });
});

describe('refused', () => {
  test.each([
    ['', 'json', 'EMPTY_BODY'],
    [' \n ', 'json', 'EMPTY_BODY'],
    ['[]', 'json', 'EMPTY_BODY'],
    ['{"batch":[]}', 'json', 'EMPTY_BODY'],
    ['{"event":', 'json', 'INVALID_JSON'],
    ['{"event":"a"}\n{"event":"b"}', 'json', 'INVALID_JSON'],
    ['[1,2,3]', 'json', 'TOO_MANY_EVENTS'],
    ['1\n2\n3', 'ndjson', 'TOO_MANY_EVENTS'],
  ] as const)('%j as %s: %s', (body, type, code) => {
    expect(refuse(body, type, 2)).toBe(code);
  });

  test('bytes that are not UTF-8, but not the replacement character itself', () => {
    expect(refuse(Buffer.from([0x22, 0xff, 0x22]))).toBe('INVALID_JSON');
    expect(refuse(Buffer.from('"\ufffd"'))).toBe('accepted');
  });

  test('no bytes make it throw', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom<BodyType>('json', 'ndjson', 'text'),
        (bytes, type) => {
          parseEvents(Buffer.from(bytes), type, limitsOf(10, 50));
        },
      ),
    );
  });
});

describe('many small values', () => {
  const refuseAt = (maxBodyValues: number, body: string, type: BodyType = 'json') => {
    const result = parseEvents(Buffer.from(body), type, limitsOf(1_000_000, maxBodyValues));
    return 'code' in result ? result.code : 'accepted';
  };

  test.each([
    ['numbers', `[${'1,'.repeat(2_000)}1]`],
    ['arrays', `[${'[],'.repeat(1_000)}1]`],
    ['objects within one event', `{"event":"a","x":[${'{},'.repeat(1_000)}1]}`],
    [
      'keys that look like numbers',
      `{${Array.from({ length: 2_000 }, (_, i) => `"${2 ** 32 + i}":1`).join(',')}}`,
    ],
    ['no JSON', `${'{'.repeat(2_000)}`],
  ])('are refused before they are parsed: %s', (_, body) => {
    expect(refuseAt(1_000, body)).toBe('TOO_MANY_VALUES');
    expect(refuseAt(1_000, body, 'text')).toBe('TOO_MANY_VALUES');
    expect(refuseAt(1_000, body, 'ndjson')).toBe('TOO_MANY_VALUES');
    expect(refuseAt(1_000_000, body)).not.toBe('TOO_MANY_VALUES');
  });

  test('are counted outside of strings only, wherever those end', () => {
    expect(refuseAt(1_000, `{"event":"${'[{,'.repeat(2_000)}"}`)).toBe('accepted');
    expect(refuseAt(1_000, `{"event":"\\\\\\"${'[{,'.repeat(2_000)}"}`)).toBe('accepted');
    expect(refuseAt(1_000, `["\\\\",${'1,'.repeat(2_000)}"\\\\"]`)).toBe('TOO_MANY_VALUES');
  });

  test.each(['"', '"\\', '{"a":"'])('cannot hide behind a line that ends within a string: %s', (broken) => {
    const lines = Array.from({ length: 20 }, () => `${broken}\n[${'1,'.repeat(200)}1]`).join('\n');
    expect(refuseAt(1_000, lines, 'ndjson')).toBe('TOO_MANY_VALUES');
    expect(refuseAt(1_000, lines, 'text')).toBe('TOO_MANY_VALUES');
  });

  test('are taken up to the limit', () => {
    const batch = (events: number) => `[${Array.from({ length: events }, () => '{"a":1,"b":2}').join(',')}]`;
    // Each event but the first has a comma before it.
    expect(refuseAt(1_500, batch(500))).toBe('accepted');
    expect(refuseAt(1_500, batch(501))).toBe('TOO_MANY_VALUES');
  });
});

describe('lines that are no JSON', () => {
  test('are refused one by one, and beyond a thousand with the whole body', () => {
    const good = '{"event":"a"}\n';
    const partly = parseEvents(Buffer.from(good + 'x\n'.repeat(1_000)), 'ndjson', limitsOf(20_000));
    expect(partly).toMatchObject({ events: [{ index: 0 }], rejected: { length: 1_000 } });
    expect(refuse(good + 'x\n'.repeat(1_001), 'ndjson', 20_000)).toBe('INVALID_JSON');
  });

  test('leave the stacks of other errors alone', () => {
    const before = Error.stackTraceLimit;
    expect(refuse('x\n{"a":1}', 'ndjson', 1)).toBe('TOO_MANY_EVENTS');
    expect(Error.stackTraceLimit).toBe(before);
  });

  test('and blank ones count for nothing', () => {
    expect(texts(parse(`\n \r\n\t\n{"a":1}\n\n \n\r\n{"a":2}\n \n`, 'ndjson', 2))).toEqual([
      '{"a":1}',
      '{"a":2}',
    ]);
  });
});
