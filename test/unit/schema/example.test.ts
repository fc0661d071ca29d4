import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exampleEvent } from '../../../src/schema/example.ts';
import { loadSchema } from '../../../src/schema/schema.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-example-'));

function load(schema: object) {
  const path = join(directory, `${Math.random()}.json`);
  writeFileSync(path, JSON.stringify({ type: 'object', ...schema }));
  return loadSchema(path);
}

test('the bundled schema has the event of the documentation', () =>
  expect(exampleEvent(loadSchema())).toEqual({ event: 'view', os: 'linux', browser: 'chrome' }));

const text = { type: 'string' };

test.each<object>([
  { required: ['a'], properties: { a: text } },
  { properties: { a: text, b: { type: 'integer' } } },
  { required: ['a'], properties: { a: { enum: ['x', 'y'] } } },
  { required: ['a'], properties: { a: { const: 7 } } },
  { required: ['a'], properties: { a: { type: 'string', minLength: 5, maxLength: 6 } } },
  { required: ['event'], properties: { event: { type: 'string', maxLength: 2 } } },
  { required: ['event'], properties: { event: { type: 'string', enum: ['click', 'buy'] } } },
  { required: ['a'], properties: { a: { type: 'string', pattern: '^[A-Z]{2}$' } } },
  ...['date-time', 'date', 'time', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uri', 'uuid'].map(
    (format) => ({
      ...{ required: ['a'], properties: { a: { type: 'string', format } } },
    }),
  ),
  { required: ['a'], properties: { a: { type: 'integer', minimum: 10, maximum: 12, multipleOf: 5 } } },
  { required: ['a'], properties: { a: { type: 'integer', maximum: -3 } } },
  { required: ['a'], properties: { a: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 } } },
  { required: ['a'], properties: { a: { type: ['null', 'boolean'] } } },
  { required: ['a'], properties: { a: { type: 'array', items: { type: 'integer' }, minItems: 3 } } },
  {
    required: ['a'],
    properties: {
      a: { type: 'object', required: ['b'], properties: { b: { $ref: '#/$defs/shop' } } },
    },
    $defs: { shop: { type: 'string', examples: ['corner'] } },
  },
  { allOf: [{ required: ['a'], properties: { a: { type: 'integer' } } }], properties: { b: text } },
  { required: ['constructor', 'a'], properties: { constructor: text, a: text }, additionalProperties: false },
])('%j has an event that it takes', (schema) => {
  const loaded = load(schema);
  const event = exampleEvent(loaded);
  expect(event).toBeDefined();
  expect(loaded.validate(event)).toBeUndefined();
});

test('an id is another one each time: the same one again would be a repeat', () => {
  const schema = load({ required: ['id'], properties: { id: { type: 'string' } } });
  expect(exampleEvent(schema)).not.toEqual(exampleEvent(schema));
});

test('there is none where a schema wants what cannot be guessed', () => {
  const secret = { type: 'string', pattern: '^open sesame$' };
  expect(exampleEvent(load({ required: ['a'], properties: { a: secret } }))).toBeUndefined();
});
