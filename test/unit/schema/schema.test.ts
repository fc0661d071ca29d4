import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { columnOf } from '../../../src/schema/columns.ts';
import { loadSchema } from '../../../src/schema/schema.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-schema-'));

function write(schema: unknown): string {
  const path = join(directory, `${Math.random()}.json`);
  writeFileSync(path, typeof schema === 'string' ? schema : JSON.stringify(schema));
  return path;
}

describe('the bundled schema', () => {
  const schema = loadSchema();

  test('declares the id of an event', () => expect(schema.hasId).toBe(true));

  test.each([
    [{ event: 'view' }],
    [{ event: 'view', os: 'linux', browser: 'chrome' }],
    [{ event: 'view', anything: { else: [1, null] } }],
    [{ event: 'view', time: '2015-05-17T10:05:03.000Z', status: 200, bytes: 0 }],
    [{ event: 'view', time: '2015-05-17T10:05:03+02:00' }],
    [{ event: 'view', time: null, os: null, status: null, bytes: null }],
  ])('takes %j', (event) => expect(schema.validate(event)).toBeUndefined());

  test.each([
    [{}, '/event', 'is required'],
    [{ event: 1 }, '/event', 'must be string'],
    [{ event: '' }, '/event', 'fewer than 1'],
    [{ event: 'a', os: 5 }, '/os', 'must be string'],
    [{ event: null }, '/event', 'must be string'],
    [{ event: 'a', os: true }, '/os', 'must be string or null'],
    [{ event: 'a', bytes: 1e19 }, '/bytes', 'must be <= 9223372036854776000'],
    [{ event: 'a', status: 1.5 }, '/status', 'must be integer'],
    [{ event: 'a', time: 'yesterday' }, '/time', 'such as 2026-01-31T08:00:00Z'],
    [{ event: 'a', time: '2015-05-17t10:05:03z' }, '/time', 'such as 2026-01-31T08:00:00Z'],
    [{ event: 'a', time: '2015-02-30T10:05:03Z' }, '/time', 'such as 2026-01-31T08:00:00Z'],
    [[], '', 'must be object'],
    [null, '', 'must be object'],
    ['text', '', 'must be object'],
  ])('refuses %j at %j: %s', (event, path, reason) => {
    const mismatch = schema.validate(event);
    expect(mismatch?.path).toBe(path);
    expect(mismatch?.reason).toContain(reason);
  });
});

test.each([
  [{ type: 'string' }, true],
  [{ type: 'integer' }, false],
  [undefined, false],
])('an id declared as %j is an id of events: %s', (id, hasId) => {
  const properties = { event: { type: 'string' }, ...(id === undefined ? {} : { id }) };
  expect(loadSchema(write({ type: 'object', properties })).hasId).toBe(hasId);
});

describe('columns', () => {
  test.each([
    [{ type: 'string' }, 'String'],
    [{ type: 'string', column: 'LowCardinality(String)' }, 'LowCardinality(String)'],
    [{ type: 'string', format: 'date-time' }, "Nullable(DateTime64(3, 'UTC'))"],
    [{ type: 'integer' }, 'Nullable(Int64)'],
    [{ type: 'integer', minimum: 0, maximum: 255 }, 'Nullable(UInt8)'],
    [{ type: 'integer', minimum: 0, maximum: 999 }, 'Nullable(UInt16)'],
    [{ type: 'number' }, 'Nullable(Float64)'],
    [{ type: 'boolean' }, 'Nullable(Bool)'],
    [{ type: 'array', items: { type: 'string' } }, 'Array(String)'],
    [{ type: ['string', 'null'] }, 'Nullable(String)'],
    [{ type: ['null', 'number'] }, 'Nullable(Float64)'],
  ])('%j is %s', (property, type) => expect(columnOf('name', property)).toEqual({ name: 'name', type }));

  test.each([[{ type: 'object' }], [{ type: ['string', 'number'] }], [{}], [true]])(
    '%j stays dynamic',
    (property) => expect(columnOf('name', property)).toBeUndefined(),
  );
});

test("a property that is named as something every object has is an event's own, or is not there", () => {
  const properties = { constructor: { type: 'string' }, toString: { type: 'integer' } };
  const optional = loadSchema(write({ type: 'object', properties }));
  expect(optional.validate({ a: 1 })).toBeUndefined();
  expect(optional.validate({ constructor: 1 })).toMatchObject({ path: '/constructor' });
  const required = loadSchema(write({ type: 'object', properties, required: ['toString'] }));
  expect(required.validate({ constructor: 'a' })).toEqual({ path: '/toString', reason: 'is required' });
  expect(required.validate({ toString: 1 })).toBeUndefined();
});

describe('a schema that cannot be used', () => {
  test.each([
    ['{', 'JSON'],
    [{ type: 'string' }, 'it must have "type": "object"'],
    [
      { type: 'object', properties: { offset: { type: 'integer' } } },
      "'offset' has the name of a fixed column",
    ],
    [{ type: 'object', properties: { 'a.b': { type: 'string' } } }, "'a.b' must consist of letters"],
    [{ type: 'object', properties: { a: { type: 'nothing' } } }, 'type'],
  ])('%j', (schema, reason) => expect(() => loadSchema(write(schema))).toThrow(reason));

  test('a missing file is named', () => expect(() => loadSchema('/no/such.json')).toThrow('/no/such.json'));
});
