/** What the collector admits, ClickHouse can hold: any event, as clients write them and as nobody should. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readStructure } from '../../src/clickhouse/inserts.ts';
import { createRowProbe, findRefusedRows, type RowProbe } from '../../src/clickhouse/rows/refused-rows.ts';
import { validateEvent } from '../../src/collector/admission.ts';
import { parseEvents } from '../../src/collector/parse-events.ts';
import type { ProblemCode } from '../../src/collector/problem.ts';
import { loadSchema } from '../../src/schema/schema.ts';
import { type DeliveryStore, openDeliveryStore } from '../support/delivery-store.ts';
import { byForm, runSeed } from '../support/faults/form.ts';
import { createRandom, type Random } from '../support/faults/random.ts';
import { sealedOf } from '../support/sealed-batch.ts';

const total = byForm({ full: 200_000, short: 6_000 });
const atOnce = 500;
const schema = loadSchema();
const limits = {
  ...{ maxBatchEvents: 1_000, maxBodyValues: 1e6, maxEventBytes: 262_144, maxEventDepth: 32 },
  ...{ maxEventKeys: 2_000, schema },
};
/** Refused for what ClickHouse itself refuses; of a key that is there twice it takes some, as one with an empty object. */
const exact: readonly ProblemCode[] = ['NUMBER_OUT_OF_RANGE'];

let store: DeliveryStore;
let probe: RowProbe;

beforeAll(async () => {
  store = await openDeliveryStore();
  const { database } = await store.createTables();
  probe = createRowProbe(store.clickhouse, await readStructure(store.clickhouse, { database }), {});
});
afterAll(async () => {
  await store?.close();
});

test(`${total} events: what is admitted becomes a row, and what is refused would not (seed ${runSeed})`, async () => {
  const random = createRandom(runSeed);
  const counts: Record<string, number> = {};
  for (let done = 0; done < total; done += atOnce) {
    const admitted: string[] = [];
    const refused: string[] = [];
    for (let n = 0; n < atOnce; n++) {
      const text = eventOf(random);
      const code = judge(text);
      counts[code ?? 'admitted'] = (counts[code ?? 'admitted'] ?? 0) + 1;
      if (code === undefined) admitted.push(text);
      else if (exact.includes(code)) refused.push(text);
    }
    expect(await refusedOf(admitted)).toEqual([]);
    const taken = new Set(refused);
    for (const text of await refusedOf(refused)) taken.delete(text);
    expect([...taken]).toEqual([]);
  }
  console.log(`admission: seed ${runSeed}, ${JSON.stringify(counts)}`);
  for (const code of [...exact, 'DUPLICATE_KEY', 'INVALID_KEY']) expect(counts[code]).toBeGreaterThan(0);
  expect(counts.admitted).toBeGreaterThan(total / 10);
}, 3_600_000);

function judge(text: string): ProblemCode | undefined {
  const posted = parseEvents(Buffer.from(text), 'json', limits);
  if ('code' in posted) return posted.code;
  const [event] = posted.events;
  return event === undefined ? 'EMPTY_BODY' : validateEvent(event, limits)?.code;
}

async function refusedOf(texts: readonly string[]): Promise<string[]> {
  if (texts.length === 0) return [];
  const batch = sealedOf(texts);
  const found = await findRefusedRows(batch.rows, [...texts.keys()], probe);
  return found.map(({ index }) => texts[index] as string);
}

const keys = [
  ...[
    'a',
    'b',
    'a.b',
    'b.a',
    'a.',
    '.',
    '',
    'a.b.c',
    'event',
    'user_id',
    'os',
    'bytes',
    'time',
    'A',
    'a b',
    'é',
  ],
  ...[
    '\\u0061',
    '\\ud800',
    '\\ud83d\\ude00',
    'a\\"b',
    'a\\\\',
    '__proto__',
    'constructor',
    'raw',
    'event.name',
  ],
];
const scalars = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '1',
    '-1',
    '255',
    '256',
    '65536',
    '1.5',
    '1e2',
    '1E+2',
    '1e-400',
    '1e308',
  ],
  ...['9007199254740993', '9223372036854775807', '9223372036854775808', '-9223372036854775808'],
  ...[
    '-9223372036854775809',
    '18446744073709551615',
    '18446744073709551616',
    '1e400',
    '-1e309',
    '1e19',
    '1e20',
  ],
  ...[
    '123456789012345678901234567890',
    '0.1234567890123456789012345',
    '123456789012345678901234567890.5',
    '2e9',
  ],
  ...[
    '""',
    '"x"',
    '"2024-01-15 10:20:30"',
    '"1"',
    '"a: b"',
    '"\\": "',
    '"\\\\"',
    '"\\ud83d"',
    '"\\udc00\\ud800"',
  ],
  ...[
    '"\\u0000"',
    '"\\ud83d\\ude00"',
    '"\\ufffd"',
    '"null"',
    '"10.0.0.1"',
    '[]',
    '{}',
    '[null]',
    '[{}]',
    '[[]]',
  ],
];
const typed: Readonly<Record<string, readonly string[]>> = {
  user_id: ['"u"', 'null', '""', '"\\ud800"', '5'],
  bytes: ['0', '9223372036854775807', '9223372036854775808', '1e18', '1e19', '1.0', 'null', '-1', '"1"'],
  status: ['200', '2e2', '65535', '65536', '200.0', 'null'],
  duration_ms: ['1.5', '1e308', '1e309', '18446744073709551616', '-0'],
  time: ['"2015-05-17T10:05:03Z"', '"2015-05-17T10:05:03.123456789+05:30"', '"0001-01-01T00:00:00Z"', 'null'],
};
const spaces = ['', '', '', ' ', '\n', '\t', '  '];

/** Text of an event, often one that somebody got wrong. */
function eventOf(random: Random): string {
  const members = [member('event', random.chance(0.02) ? '5' : '"x"', random)];
  for (const [name, values] of Object.entries(typed))
    if (random.chance(0.15)) members.push(member(name, random.pick(values), random));
  for (let n = random.integer(0, 4); n > 0; n--)
    members.push(member(random.pick(keys), anyValue(random, 3), random));
  if (random.chance(0.5)) members.reverse();
  return `{${members.join(',')}}`;
}

function member(key: string, value: string, random: Random): string {
  return `${random.pick(spaces)}"${key}"${random.pick(spaces)}:${random.pick(spaces)}${value}`;
}

function anyValue(random: Random, levels: number): string {
  if (levels === 0 || random.chance(0.6)) return random.pick(scalars);
  const size = random.integer(0, 3);
  if (random.chance(0.5))
    return `[${Array.from({ length: size }, () => anyValue(random, levels - 1)).join(`,${random.pick(spaces)}`)}]`;
  const names = Array.from({ length: size }, () => random.pick(keys));
  return `{${names.map((name) => member(name, anyValue(random, levels - 1), random)).join(',')}}`;
}
