import { describe, expect, test } from 'vitest';
import { validateEvent } from '../../../src/collector/admission.ts';
import { parseEvents } from '../../../src/collector/parse-events.ts';
import { loadSchema } from '../../../src/schema/schema.ts';
import { fc } from '../../support/fast-check.ts';

const schema = loadSchema();
const limits = { maxBatchEvents: 1_000, maxBodyValues: 1e6, maxEventBytes: 1e6, maxEventDepth: 32 };

function check(text: string, maxEventKeys = 1_000) {
  const posted = parseEvents(Buffer.from(text), 'json', limits);
  if ('code' in posted) throw new Error(posted.detail);
  const [event] = posted.events;
  if (event === undefined) throw new Error('no event');
  return validateEvent(event, { ...limits, schema, maxEventKeys });
}

const open = '{"event":"x",';

describe('an event that no row can hold is refused with its place', () => {
  test.each([
    ['"n":18446744073709551616', 'NUMBER_OUT_OF_RANGE', '/n is an integer that does not fit in 64 bits'],
    ['"n":-9223372036854775809', 'NUMBER_OUT_OF_RANGE', '/n is an integer'],
    ['"o":{"a/b~":[1,1e400]}', 'NUMBER_OUT_OF_RANGE', '/o/a~1b~0/1 is a number too large for a double'],
    ['"n":-1E999', 'NUMBER_OUT_OF_RANGE', '/n'],
    ['"duration_ms":18446744073709551616', 'NUMBER_OUT_OF_RANGE', '/duration_ms'],
    ['"bytes":9223372036854775808', 'NUMBER_OUT_OF_RANGE', '/bytes is an integer'],
    ['"a":1,"a":2', 'DUPLICATE_KEY', '/a appears twice'],
    ['"a":1,"b":"x: y","a":1', 'DUPLICATE_KEY', '/a'],
    ['"a":null,"a":1', 'DUPLICATE_KEY', '/a'],
    [String.raw`"a":1,"\u0061":2`, 'DUPLICATE_KEY', '/a'],
    ['"o":[{"k":1 , "k" : 2}]', 'DUPLICATE_KEY', '/o/0/k'],
    ['"":1,"":2', 'DUPLICATE_KEY', '/ appears twice'],
    ['"event":"y"', 'DUPLICATE_KEY', '/event'],
    ['"__proto__":1,"__proto__":2', 'DUPLICATE_KEY', '/__proto__'],
    ['"a.b":1,"a":{"b":2}', 'DUPLICATE_KEY', '/a/b would be stored at the path a.b'],
    ['"a":{"b":{"c":1}},"a.b":{"c":2}', 'DUPLICATE_KEY', 'a.b.c'],
    ['"o":[{"a.":1,"a":{"":2}}]', 'DUPLICATE_KEY', '/o/0/a/'],
    [String.raw`"a\ud800":1`, 'INVALID_KEY', '/a\ufffd is a key with half a surrogate pair'],
  ])('%s', (rest, code, detail) => {
    const problem = check(`${open}${rest}}`);
    expect(problem?.code).toBe(code);
    expect(problem?.detail).toContain(detail);
  });

  test.each([33, 100_000])('a key of %d dots, each of which is a level', (dots) => {
    expect(check(`{"event":"x","a":{},"${'.'.repeat(dots)}":1}`)?.code).toBe('TOO_DEEP');
  });

  test('an integer of any length', () => {
    expect(check(`{"event":"x","n":-${'9'.repeat(250_000)}}`)?.code).toBe('NUMBER_OUT_OF_RANGE');
  });

  test('too many keys, wherever they are', () => {
    expect(check('{"event":"x","o":[{"a":1},{"a":{"b":{"c":1}}}]}', 5)).toMatchObject({
      code: 'TOO_MANY_KEYS',
      detail: 'the event has 6 keys, counting those of nested objects; the limit is 5',
    });
    expect(check('{"event":"x","o":[{"a":1},{"a":1}]}', 5)).toBeUndefined();
  });
});

describe('an event that a row can hold is taken', () => {
  test.each([
    '"n":18446744073709551615,"m":-9223372036854775808,"f":1e308,"g":1e-400,"h":1e19,"i":18446744073709551616.0',
    '"bytes":9223372036854775807',
    '"a.b":1,"a":{"c":2}',
    '"a":1,"a.b":2',
    '"a":null,"a.b":1,"c.d":null,"c":{"d":1}',
    String.raw`"a":"\"b\":","c\"\":":1,"d":"\\","e":"\\\":"`,
    String.raw`"a":"cut \ud83d","\ud83d\ude00":1`,
    `"a":"${String.raw`\": `.repeat(50)}", "b" : "x:y" , "c":1000000,"d":1e6,"e":-0`,
    `"long":"${'x'.repeat(100)}\\\\","b\\"":"${'y'.repeat(100)}\\""`,
  ])('%s', (rest) => expect(check(`${open}${rest}}`)).toBeUndefined());
});

test('a key twice is found however the event is written, and nothing else is', () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const object = fc.dictionary(
    fc.string({ maxLength: 6 }).filter((key) => !key.includes('.')),
    value.filter((inner) => !JSON.stringify(inner).includes('.')),
    { maxKeys: 8 },
  );
  const space = fc.constantFrom('', ' ', '\n');
  fc.assert(
    fc.property(object, space, fc.nat(), fc.boolean(), (properties, gap, at, isTwice) => {
      const members = Object.entries(properties).map(
        ([key, inner]) => `${JSON.stringify(key)}${gap}:${gap}${JSON.stringify(inner)}`,
      );
      const names = Object.keys(properties).filter((key) => key !== 'event');
      const twice = names[at % Math.max(1, names.length)];
      const own = members.filter((_, i) => Object.keys(properties)[i] !== 'event');
      if (isTwice && twice !== undefined) own.push(`${JSON.stringify(twice)}:0`);
      const text = `{"event":"x"${own.map((member) => `,${gap}${member}`).join('')}}`;
      const problem = check(text);
      if (problem?.code === 'INVALID_EVENT' || problem?.code === 'NUMBER_OUT_OF_RANGE') return;
      expect([text, problem?.code]).toEqual([
        text,
        isTwice && twice !== undefined ? 'DUPLICATE_KEY' : undefined,
      ]);
    }),
    { numRuns: 3_000 },
  );
});
