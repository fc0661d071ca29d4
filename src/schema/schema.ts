/**
 * The schema of events: compiled for validation, and read for the columns of the table.
 *
 * The schema that events are checked against: that of the user, with what the columns of the table add to it.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ErrorObject } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { type Column, columnOf, isRecord } from './columns.ts';

const bundledSchema = fileURLToPath(new URL('../../schemas/event.json', import.meta.url));

/** Why an event does not match: the JSON Pointer of the value and the reason. */
interface Mismatch {
  readonly path: string;
  readonly reason: string;
}

/** A loaded schema. */
export interface EventSchema {
  /** File that it came from. */
  readonly file: string;
  /** What it says, as it was read. */
  readonly definition: Readonly<Record<string, unknown>>;
  /** Typed columns, in the order of the schema. */
  readonly columns: readonly Column[];
  /** Properties whose numbers, or those of their arrays, go into columns of Int64. */
  readonly signed: ReadonlySet<string>;
  /** Whether it declares a text property `id`: then that is the id of an event. */
  readonly hasId: boolean;
  /** Checks a parsed event; undefined when it matches. */
  validate(event: unknown): Mismatch | undefined;
}

/**
 * Loads and compiles a schema.
 * @param file path; the bundled schema when undefined
 * @throws OperatorError exit 78 when the file cannot be read, is no valid schema, or names a reserved property
 */
export function loadSchema(file: string = bundledSchema): EventSchema {
  const fail = (reason: string): OperatorError =>
    new OperatorError(`the schema ${file} cannot be used: ${reason}`, exitCodes.configuration);
  let schema: unknown;
  try {
    schema = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw fail(messageOf(error));
  }
  if (!isRecord(schema) || schema.type !== 'object' || !isRecord(schema.properties)) {
    throw fail('it must have "type": "object" and "properties"');
  }
  try {
    const columns = Object.entries(schema.properties).flatMap(
      ([name, property]) => columnOf(name, property) ?? [],
    );
    const validate = createAjv(schema).compile(admittedSchema(schema));
    return {
      file,
      definition: schema,
      columns,
      signed: new Set(columns.filter(({ type }) => /\bInt64\b/.test(type)).map(({ name }) => name)),
      hasId: isText(schema.properties.id),
      validate: (event) => (validate(event) ? undefined : describe(validate.errors?.[0])),
    };
  } catch (error) {
    throw fail(messageOf(error));
  }
}

function isText(property: unknown): boolean {
  return isRecord(property) && property.type === 'string';
}

function createAjv(schema: object): Ajv2020 {
  const ajv = new Ajv2020({
    strict: true,
    allowUnionTypes: true,
    allErrors: false,
    ownProperties: namesInherited(schema),
  });
  addFormats.default(ajv);
  // RFC 3339 lets 't' and 'z' be lower case; ClickHouse's best_effort parser does not, so neither do we.
  const dateTime = ajv.formats['date-time'];
  const isDateTime = (text: string): boolean =>
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(text) &&
    typeof dateTime === 'object' &&
    'validate' in dateTime &&
    typeof dateTime.validate === 'function' &&
    (dateTime.validate as (text: string) => boolean)(text);
  ajv.addFormat('date-time', isDateTime);
  ajv.addKeyword({ keyword: 'column', schemaType: 'string' });
  return ajv;
}

/**
 * Whether a property may be named as something that every object has, as `constructor`. Only then it is looked whether a
 * property is an event's own: that costs time.
 */
function namesInherited(schema: object): boolean {
  const text = JSON.stringify(schema);
  return Object.getOwnPropertyNames(Object.prototype).some((name) => text.includes(JSON.stringify(name)));
}

function describe(error: ErrorObject | undefined): Mismatch {
  if (error === undefined) return { path: '', reason: 'does not match the schema' };
  if (error.keyword === 'required') {
    return { path: `${error.instancePath}/${error.params.missingProperty}`, reason: 'is required' };
  }
  if (error.keyword === 'type') {
    const types: string[] = [error.params.type].flat();
    return { path: error.instancePath, reason: `must be ${types.join(' or ')}` };
  }
  if (error.keyword === 'format' && error.params.format === 'date-time')
    return { path: error.instancePath, reason: 'must be a time with a zone, such as 2026-01-31T08:00:00Z' };
  return { path: error.instancePath, reason: error.message ?? 'does not match the schema' };
}

/** What a double makes of both ends of Int64. The upper one is one too many: the collector looks at the digits. */
const int64 = 2 ** 63;

/**
 * A copy in which null counts as absent for every property that is not required, as ClickHouse stores it, and integers
 * have the bounds of their columns.
 */
function admittedSchema(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const properties = isRecord(schema.properties) ? schema.properties : {};
  const admitted = Object.entries(properties).map(([name, property]) => {
    const bounded = isRecord(property) ? boundedIntegers(property) : property;
    return [name, required.has(name) || !isRecord(bounded) ? bounded : orNull(bounded)];
  });
  return { ...schema, properties: Object.fromEntries(admitted) };
}

function boundedIntegers(property: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { type, items, minimum, maximum } = property;
  if (isRecord(items)) return { ...property, items: boundedIntegers(items) };
  if (type !== 'integer' && !(Array.isArray(type) && type.includes('integer'))) return { ...property };
  return {
    ...property,
    minimum: Math.max(-int64, typeof minimum === 'number' ? minimum : -int64),
    maximum: Math.min(int64, typeof maximum === 'number' ? maximum : int64),
  };
}

function orNull(property: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { type, enum: values } = property;
  if (type === undefined) return { ...property };
  const types = Array.isArray(type) ? type : [type];
  return {
    ...property,
    type: [...new Set([...types, 'null'])],
    ...(Array.isArray(values) ? { enum: [...new Set([...values, null])] } : {}),
  };
}
