/** The schema that events are checked against: that of the user, with what the columns of the table add to it. */
import { isRecord } from './columns.ts';

/** What a double makes of both ends of Int64. The upper one is one too many: the collector looks at the digits. */
const int64 = 2 ** 63;

/**
 * A copy in which null counts as absent for every property that is not required, as ClickHouse stores it, and integers
 * have the bounds of their columns.
 */
export function admittedSchema(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
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
