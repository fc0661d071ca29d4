/** What is stored is what was posted: in `raw` byte for byte, in `data` value for value. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadSchema } from '../../src/schema/schema.ts';
import { fc } from '../support/fast-check.ts';
import { byForm, runSeed } from '../support/faults/form.ts';
import {
  createSite,
  type Program,
  post,
  query,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

const directory = temporaryDirectory();
let site: Site;
let program: Program;
let posted = 0;

beforeAll(async () => {
  site = await createSite(directory.path);
  program = await startProgram(['start', ...site.flags, '--log-partitions', '1']);
});

afterAll(async () => {
  await program?.kill();
  directory.remove();
});

/** Declared properties: `data` shows those that are absent, too. */
const typedPaths = new Set(loadSchema().columns.map(({ name }) => name));

interface Stored {
  readonly event: string;
  /** JSON text of `data`, without what typed paths add to it. */
  readonly data: string;
  readonly raw: string;
}

/** The rows of all events posted so far, once each of them is there. */
async function storedOf(event: string): Promise<Stored[]> {
  const counts = 'SELECT (SELECT count() FROM events) AS rows, (SELECT count() FROM dead_letters) AS letters';
  await until(`${posted} rows`, async () => {
    const [found] = await query<{ rows: number; letters: number }>(site.clickhouse, counts);
    return (found?.rows ?? 0) + (found?.letters ?? 0) === posted;
  });
  expect(await query(site.clickhouse, 'SELECT left(reason, 99) AS reason FROM dead_letters')).toEqual([]);
  const sql = `SELECT event, toString(data) AS data, raw FROM events WHERE event = '${event}' ORDER BY partition, offset`;
  return await query<Stored>(site.clickhouse, sql);
}

/** Posts events as given, each by itself and all at once, as clients that know nothing of each other do. */
async function postAll(texts: readonly string[]): Promise<void> {
  const answers = await Promise.all(texts.map((text) => post(site.collector, text)));
  for (const [i, answer] of answers.entries()) {
    if (answer.status !== 200) expect([answer.status, await answer.text(), texts[i]]).toEqual([200]);
  }
  posted += texts.length;
}

/** Texts that an engine may take for something else. */
const lookalikes = [
  ...['2024-01-15T10:20:30.123456+05:30', '01/02/2024', '01/02/2024 10:20 PM', '10 Jan 2024 3', 'May 5 2024'],
  ...['2024/01/15', '2024-01-15T24:00:00Z', '2024-01-01 00:00:00', '2024-01-15', '20240102', '00:30', '5/6'],
  ...['2262-04-11 23:47:16.854775807', '1', '1.5', '-0', '1e5', '18446744073709551616', '0x1F', '1_000'],
  ...['true', 'false', 'null', 'NULL', 'NaN', 'inf', '', ' ', '{}', '[]', '{"a":1}', '[1]'],
  ...['10.0.0.1', '::1', '61f0c404-5cb3-11e7-907b-a6006ad3dba0', 'POINT(1 2)', '\u0000', '\ufffd', '👩‍👧'],
  ...["'; DROP TABLE events; --", '\\', '"', '\\N', '\t\n', '\u2028', 'ﬀ', 'e\u0301', '\ufeff'],
];

describe('two clients within a second', () => {
  test('get back the texts that they posted', async () => {
    const texts = [
      '{"event":"survey","user_id":"ann","answer":"2024-05-01 10:00"}',
      '{"event":"survey","user_id":"bob","answer":"4"}',
    ];
    await postAll(texts);
    const rows = await storedOf('survey');
    expect(rows.map(({ raw }) => raw).sort()).toEqual(texts);
    const answers = await query(
      site.clickhouse,
      "SELECT user_id, data.answer AS answer FROM events WHERE event = 'survey' ORDER BY user_id",
    );
    expect(answers).toEqual([
      { user_id: 'ann', answer: '2024-05-01 10:00' },
      { user_id: 'bob', answer: '4' },
    ]);
  });

  test('get back every text that looks like something else, whatever came with it', async () => {
    const values = lookalikes.flatMap((text) => [text, [text], [[text]], { in: text }, [{ in: text }]]);
    await postAll(values.map((p) => JSON.stringify({ event: 'lookalike', p })));
    const rows = await storedOf('lookalike');
    expect(rows).toHaveLength(values.length);
    for (const { data, raw } of rows) expect(JSON.parse(data).p).toEqual(JSON.parse(raw).p);
  });
});

describe('what `data` shows of a value', () => {
  const cases: readonly [kind: string, posted: string, shown: unknown][] = [
    ['null', '{"a":null,"b":{"c":null}}', {}],
    ['an empty object', '{"a":{},"b":{"c":{}}}', {}],
    ['an empty array', '{"a":[],"b":[{}],"c":[[]]}', { a: [], b: [{}], c: [[]] }],
    ['null in an array', '{"a":[null,1]}', { a: [null, 1] }],
    ['a dot in a key', '{"a.b":1,"c.":2,".":3}', { a: { b: 1 }, c: { '': 2 }, '': { '': 3 } }],
    ['an empty key', '{"":1}', { '': 1 }],
    ['other forms of a number', '{"a":19.90,"b":1E2,"c":1.0}', { a: 19.9, b: 100, c: 1 }],
    ['a boolean among others', '{"a":[true,1],"b":["x",true]}', { a: [true, 1], b: ['x', true] }],
    [
      'half a surrogate pair',
      String.raw`{"a":"cut \ud83d","b":["\uDE00"]}`,
      { a: 'cut \ufffd', b: ['\ufffd'] },
    ],
    ['an escape', String.raw`{"\u0061":"\u00e9\/\u0000"}`, { a: 'é/\0' }],
  ];
  test.each(cases)('%s', async (kind, text, shown) => {
    const event = `kind ${kind}`;
    const whole = `{"event":${JSON.stringify(event)},${text.slice(1)}`;
    await postAll([whole]);
    const [row] = await storedOf(event);
    expect(row?.raw).toBe(whole);
    expect(withoutDefaults(JSON.parse(row?.data ?? ''))).toEqual({ event, ...(shown as object) });
  });

  test('whole numbers of 64 bits are exact, also beside others', async () => {
    const texts = ['9007199254740993', '18446744073709551615', '-9223372036854775808', '1.5'].map(
      (n) => `{"event":"exact","n":${n}}`,
    );
    await postAll(texts);
    for (const { raw, data } of await storedOf('exact'))
      expect(data).toContain(raw.slice(raw.indexOf('"n"'), -1));
  });
});

describe('any JSON', () => {
  const key = fc.oneof(
    fc.constantFrom('', 'a', 'b', 'a b', 'ключ', '__proto__', 'offset', 'data', 'raw', 'toString', '$', '`'),
    fc
      .string({ minLength: 1, maxLength: 12 })
      .filter((text) => !text.includes('.') && text !== 'event' && !typedPaths.has(text)),
  );
  const text = fc.oneof(fc.constantFrom(...lookalikes), fc.string({ unit: 'binary', maxLength: 40 }));
  const scalar = fc.oneof(
    text,
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    // What JavaScript writes as a whole number of more than 64 bits is refused.
    fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .filter((n) => Math.abs(n) < 2 ** 63 || Math.abs(n) >= 1e21),
  );
  const { value } = fc.letrec<{ value: unknown; array: unknown; object: unknown }>((tie) => ({
    value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalar, tie('array'), tie('object')),
    // Numbers of both kinds in one array are what docs/data.md excepts: small whole ones are exact all the same.
    array: fc.oneof(
      fc.array(fc.oneof(text, fc.boolean(), fc.integer()), { maxLength: 5 }),
      fc.array(tie('object'), { maxLength: 3 }),
      fc.array(fc.array(text, { maxLength: 3 }), { maxLength: 3 }),
    ),
    object: fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  }));
  const space = fc.constantFrom('', ' ', '\n', '\t', '\r\n');
  const event = fc.tuple(fc.dictionary(key, value, { maxKeys: 8 }), space, fc.boolean());

  test(`is stored byte for byte and value for value (seed ${runSeed})`, async () => {
    const made = fc.sample(event, { seed: runSeed, numRuns: byForm({ full: 5_000, short: 500 }) });
    const texts = made.map(([properties, gap, isLast]) => {
      const name = `"event":${gap}"any"`;
      const rest = JSON.stringify(properties).slice(1, -1);
      const parts = isLast ? [rest, name] : [name, rest];
      return `{${gap}${parts.filter(Boolean).join(`${gap},`)}${gap}}`;
    });
    for (let i = 0; i < texts.length; i += 100) await postAll(texts.slice(i, i + 100));
    const rows = await storedOf('any');
    expect(rows.map(({ raw }) => raw).sort()).toEqual([...texts].sort());
    for (const { raw, data } of rows) {
      const shown = withoutDefaults(JSON.parse(data));
      expect([raw, shown]).toEqual([raw, asShown(JSON.parse(raw))]);
    }
  });

  test('leaves no dead letter, and a tail that prints what was posted', async () => {
    expect(await query(site.clickhouse, 'SELECT count() AS n FROM dead_letters')).toEqual([{ n: 0 }]);
    const flags = ['--clickhouse-url', site.clickhouse, '--data-dir', directory.path];
    const { stdout } = await runProgram(['tail', '--no-follow', '--limit', '100000', ...flags]);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(posted);
    const rows = await query<{ raw: string }>(site.clickhouse, 'SELECT raw FROM events');
    const printed = lines.map((line) => JSON.stringify(JSON.parse(line).data)).sort();
    expect(printed).toEqual(rows.map(({ raw }) => JSON.stringify(JSON.parse(raw))).sort());
  });
});

/** An event without null, {} and the values of absent typed paths, nested too, but for those in arrays. */
function withoutDefaults(value: Record<string, unknown>): Record<string, unknown> {
  const typed = new Set(['', null]);
  return Object.fromEntries(
    Object.entries(value).filter(([name, inner]) => !typedPaths.has(name) || !typed.has(inner as string)),
  );
}

/** A value as docs/data.md says that `data` shows it. */
function asShown(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asShown);
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? 0 : value;
  const entries = Object.entries(value).map(([name, inner]) => [name, asShown(inner)] as const);
  return Object.fromEntries(entries.filter(([, inner]) => inner !== null && !isEmptyObject(inner)));
}

function isEmptyObject(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0
  );
}
