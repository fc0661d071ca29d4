/** An event that a schema takes, for people to try it out with. */
import { randomUUID } from 'node:crypto';
import { isRecord } from './columns.ts';
import type { EventSchema } from './schema.ts';

type Definition = Readonly<Record<string, unknown>>;

/** What is more telling than a made-up value, where a schema has such a property. */
const wellKnown: ReadonlyMap<string, string> = new Map([
  ['event', 'view'],
  ['os', 'linux'],
  ['browser', 'chrome'],
]);

/** Texts by the formats of JSON Schema (Validation, section 7.3). */
const formatted: ReadonlyMap<unknown, string> = new Map([
  ['date-time', '2026-01-02T03:04:05Z'],
  ['date', '2026-01-02'],
  ['time', '03:04:05Z'],
  ['duration', 'PT1S'],
  ['email', 'someone@example.com'],
  ['idn-email', 'someone@example.com'],
  ['hostname', 'example.com'],
  ['idn-hostname', 'example.com'],
  ['ipv4', '192.0.2.1'],
  ['ipv6', '2001:db8::1'],
  ['uri', 'https://example.com/'],
  ['url', 'https://example.com/'],
  ['iri', 'https://example.com/'],
  ['uri-reference', '/a'],
  ['iri-reference', '/a'],
  ['json-pointer', '/a'],
  ['regex', 'a'],
]);

/** Tried in turn where there is a pattern. */
const patternTries = [
  'a',
  'A',
  '1',
  'view',
  'abc',
  'ABC',
  '123',
  'ab',
  'AB',
  'a1',
  'A1',
  'a-1',
  '1.0',
  'v1',
  '1234',
];

/** Properties of an event for which nothing is required. */
const fewProperties = 3;
/** A definition may refer to itself. */
const mostDepth = 8;

/**
 * Makes an event of the properties that the schema requires, and of the optional ones that people know.
 * @returns undefined when what was made is not what the schema takes: it may want more than types, enums and formats say
 */
export function exampleEvent({ definition, validate }: EventSchema): Definition | undefined {
  const root = new Resolver(definition).resolve(definition);
  const properties = Object.keys(isRecord(root.properties) ? root.properties : {});
  const required = namesIn(root.required);
  const known = [...wellKnown.keys()].filter((name) => properties.includes(name));
  const attempts = [[...required, ...known], required, properties.slice(0, fewProperties), properties];
  for (const names of attempts) {
    const event = new Resolver(definition).object(root, new Set(names), 0);
    if (Object.keys(event).length > 0 && validate(event) === undefined) return event;
  }
  return undefined;
}

/** Makes values of definitions, which may refer to others of the same schema. */
class Resolver {
  readonly #root: Definition;

  constructor(root: Definition) {
    this.#root = root;
  }

  /** The definition with what it refers to, and the first of each choice. */
  resolve(definition: unknown, depth = 0): Definition {
    if (!isRecord(definition) || depth > mostDepth) return {};
    const { $ref, allOf, anyOf, oneOf } = definition;
    const parts = [
      ...(typeof $ref === 'string' ? [this.#find($ref)] : []),
      ...(Array.isArray(allOf) ? allOf : []),
      ...(Array.isArray(anyOf) ? anyOf.slice(0, 1) : []),
      ...(Array.isArray(oneOf) ? oneOf.slice(0, 1) : []),
    ].map((part) => this.resolve(part, depth + 1));
    return parts.reduce((whole, part) => merge(part, whole), definition);
  }

  object(definition: Definition, names: ReadonlySet<string>, depth: number): Definition {
    const properties: Definition = isRecord(definition.properties) ? definition.properties : {};
    const entries = [...names].map((name) => {
      const property = Object.hasOwn(properties, name) ? properties[name] : {};
      // The same event again, with the same id, would be taken for a repeat.
      const word = name === 'id' && depth === 0 ? randomUUID() : wellKnown.get(name);
      return [name, this.#value(property, word, depth + 1)] as const;
    });
    return Object.fromEntries(entries);
  }

  #value(property: unknown, word: string | undefined, depth: number): unknown {
    const definition = this.resolve(property, depth);
    const { const: constant, enum: choices, examples, default: usual, type } = definition;
    if (constant !== undefined) return constant;
    if (Array.isArray(choices)) return choices.includes(word) ? word : choices[0];
    if (Array.isArray(examples) && examples.length > 0) return examples[0];
    if (usual !== undefined) return usual;
    switch (Array.isArray(type) ? type.find((one) => one !== 'null') : type) {
      case 'integer':
      case 'number':
        return numberFor(definition);
      case 'boolean':
        return true;
      case 'null':
        return null;
      case 'array':
        return this.#array(definition, depth);
      case 'object':
        return depth > mostDepth ? {} : this.object(definition, new Set(namesIn(definition.required)), depth);
      default:
        return textFor(definition, word);
    }
  }

  #array({ items, prefixItems, minItems }: Definition, depth: number): unknown[] {
    const first = Array.isArray(prefixItems) ? prefixItems : [];
    const length = Math.min(Math.max(numberOr(minItems, 1), first.length), 100);
    if (depth > mostDepth) return [];
    return Array.from({ length }, (_, i) => this.#value(first[i] ?? items, undefined, depth + 1));
  }

  /** A reference within the schema, as `#/$defs/name`: others are none that it could be used with. */
  #find(reference: string): unknown {
    if (!reference.startsWith('#')) return undefined;
    const names = reference.slice(1).split('/').slice(1);
    return names.reduce<unknown>((at, name) => {
      const key = decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~');
      return isRecord(at) && Object.hasOwn(at, key) ? at[key] : undefined;
    }, this.#root);
  }
}

function merge(part: Definition, whole: Definition): Definition {
  const merged: Record<string, unknown> = { ...part, ...whole };
  if (isRecord(part.properties) && isRecord(whole.properties)) {
    merged.properties = { ...part.properties, ...whole.properties };
  }
  merged.required = [...namesIn(whole.required), ...namesIn(part.required)];
  return merged;
}

function namesIn(required: unknown): string[] {
  return Array.isArray(required) ? required.filter((name) => typeof name === 'string') : [];
}

function textFor({ format, pattern, minLength, maxLength }: Definition, word: string | undefined): string {
  if (format === 'uuid') return randomUUID();
  const text = formatted.get(format) ?? word ?? 'example';
  if (typeof pattern === 'string') {
    const expression = new RegExp(pattern, 'u');
    return [text, ...patternTries].find((candidate) => expression.test(candidate)) ?? text;
  }
  if (formatted.has(format)) return text;
  return text.padEnd(Math.min(numberOr(minLength, 0), 10_000), 'x').slice(0, numberOr(maxLength, 10_000));
}

function numberFor({
  type,
  minimum,
  maximum,
  exclusiveMinimum,
  exclusiveMaximum,
  multipleOf,
}: Definition): number {
  const step = numberOr(multipleOf, 1);
  const low = numberOr(minimum, Number.NEGATIVE_INFINITY);
  const over = numberOr(exclusiveMinimum, Number.NEGATIVE_INFINITY);
  const high = numberOr(maximum, Number.POSITIVE_INFINITY);
  const under = numberOr(exclusiveMaximum, Number.POSITIVE_INFINITY);
  const fits = (n: number) => n >= low && n > over && n <= high && n < under;
  const from = Math.ceil(Math.max(low, over) / step) * step;
  const to = Math.floor(Math.min(high, under) / step) * step;
  const whole = [step, 0, from, from + step, to, to - step].find(fits);
  if (whole !== undefined || type === 'integer') return whole ?? 0;
  return [low, high, (Math.max(low, over) + Math.min(high, under)) / 2].find(fits) ?? 0;
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}
