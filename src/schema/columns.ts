/** How a property of the JSON Schema becomes a typed column in ClickHouse. */

/** A declared property and its ClickHouse type. */
export interface Column {
  readonly name: string;
  /** Type of the path within the JSON column. */
  readonly type: string;
}

/** Columns of the table that no property may be named after. */
const reserved = new Set([
  'event_id',
  'received_at',
  'stored_at',
  'topic',
  'topic_id',
  'partition',
  'offset',
  'data',
]);

/**
 * The column of one property; undefined for a type without one (objects, mixed types), which stays a
 * dynamic path.
 *
 * Text that is absent reads as '', as is usual in ClickHouse; numbers and times that are absent read as NULL,
 * since 0 and 1970 would spoil averages.
 * @throws Error when the name is reserved or cannot be a path
 */
export function columnOf(name: string, property: unknown): Column | undefined {
  if (reserved.has(name)) throw new Error(`property '${name}' has the name of a fixed column; rename it`);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw new Error(`property '${name}' must consist of letters, digits and '_' to become a column`);
  }
  if (!isRecord(property)) return undefined;
  if (typeof property.column === 'string') return { name, type: property.column };
  const type = typeOf(property);
  return type === undefined ? undefined : { name, type };
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function typeOf(property: Record<string, unknown>): string | undefined {
  const { type } = property;
  if (Array.isArray(type) && type.length === 2 && type.includes('null')) {
    const own = typeOf({ ...property, type: type.find((name) => name !== 'null') });
    return own === 'String' ? 'Nullable(String)' : own;
  }
  switch (type) {
    case 'string':
      return property.format === 'date-time' ? "Nullable(DateTime64(3, 'UTC'))" : 'String';
    case 'integer':
      return `Nullable(${integerType(property.minimum, property.maximum)})`;
    case 'number':
      return 'Nullable(Float64)';
    case 'boolean':
      return 'Nullable(Bool)';
    case 'array': {
      const item = isRecord(property.items) ? typeOf(property.items) : undefined;
      return item === undefined ? undefined : `Array(${item})`;
    }
    default:
      return undefined;
  }
}

function integerType(minimum: unknown, maximum: unknown): string {
  if (typeof minimum !== 'number' || minimum < 0 || typeof maximum !== 'number') return 'Int64';
  if (maximum < 2 ** 8) return 'UInt8';
  if (maximum < 2 ** 16) return 'UInt16';
  return maximum < 2 ** 32 ? 'UInt32' : 'Int64';
}
