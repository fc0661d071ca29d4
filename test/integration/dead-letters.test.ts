import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OwnedPartition } from '../../src/buffer/buffer.ts';
import { type ClickHouse, createClickHouse } from '../../src/clickhouse/client.ts';
import { ClickHouseUnavailableError } from '../../src/clickhouse/errors.ts';
import { insertEventsStatement, insertSettings, readStructure } from '../../src/clickhouse/inserts.ts';
import { BatchRows } from '../../src/clickhouse/rows/batch-rows.ts';
import { type DeadLetter, encodeDeadLetters } from '../../src/clickhouse/rows/dead-letter.ts';
import type { TablesOptions } from '../../src/clickhouse/table-definitions.ts';
import { ensureTables, nameTables } from '../../src/clickhouse/tables.ts';
import { encodeEvents } from '../../src/dead-letters/event-rows.ts';
import { readLetters } from '../../src/dead-letters/read-letters.ts';
import { replayLetters } from '../../src/dead-letters/replay-letters.ts';
import { formatReplay } from '../../src/dead-letters/replay-report.ts';
import type { Column } from '../../src/schema/columns.ts';
import { createClickHouseSink } from '../../src/streamer/inserts/clickhouse-sink.ts';
import { GrowingBatch, type SealedBatch } from '../../src/streamer/protocol/batch.ts';
import type { Sink } from '../../src/streamer/protocol/delivery.ts';
import { Lease } from '../../src/streamer/protocol/lease.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { changeClient } from '../support/pipeline.ts';
import { launchProgram, runProgram } from '../support/program.ts';
import { blockOf } from '../support/records.ts';

const log = pino({ level: 'silent' });
const receivedAt = 1_763_690_000_123;
const columns: readonly Column[] = [
  { name: 'event', type: 'LowCardinality(String)' },
  { name: 'status', type: 'Nullable(UInt8)' },
];
const wider = 'JSON(event LowCardinality(String), status Nullable(UInt32))';
let engine: TestEngine;
let clickhouse: ClickHouse;
let databases = 0;

beforeAll(async () => {
  engine = await startTestEngine();
  const url = new URL(engine.url);
  clickhouse = createClickHouse({ url, database: '', user: 'default', password: '', timeoutMs: 60_000 });
});
afterAll(async () => {
  await clickhouse?.close();
  await engine?.dispose();
});

async function createTables() {
  const options: TablesOptions = { database: `d${databases++}`, cluster: undefined, columns };
  await ensureTables(clickhouse, options, log);
  const { database } = options;
  const flags = ['--clickhouse-url', engine.url, '--clickhouse-database', database];
  return {
    database,
    tables: nameTables(options),
    run: (...args: string[]) => runProgram(['dead-letters', ...args, ...flags]),
    launch: (...args: string[]) => launchProgram(['dead-letters', ...args, ...flags]),
    rows: (columns: string) =>
      clickhouse.query<Record<string, unknown>>(`SELECT ${columns} FROM ${database}.events ORDER BY offset`, {
        settings: { output_format_json_quote_64bit_integers: 0 },
      }),
    /** What docs/dead-letters.md says to do about a value that a column is too narrow for. */
    widen: () =>
      clickhouse.execute(
        `ALTER TABLE ${database}.events MODIFY COLUMN data ${wider}, MODIFY COLUMN status Nullable(UInt32) ALIAS data.status`,
        { settings: { mutations_sync: 1 } },
      ),
  };
}

type Tables = Awaited<ReturnType<typeof createTables>>;

/** Delivers events as the streamer does. */
async function deliver({ tables }: Tables, events: readonly (string | Uint8Array)[]): Promise<void> {
  const observer = {
    ...{ began() {}, delayed() {}, ended() {}, inserted() {} },
    ...{ insertFailed() {}, refused() {}, settled() {} },
  };
  const sink = createClickHouseSink({ clickhouse, tables, observer, settleAfterMs: 1_800_000, log });
  const signal = new AbortController().signal;
  const partition = {
    topic: 'events',
    topicId: 'T',
    partition: 0,
    signal,
    commit: async () => {},
  } as unknown as OwnedPartition;
  const batch = new GrowingBatch(new BatchRows(partition));
  const block = { ...blockOf(events), headers: [undefined, [['id', 'order-1'] as const]] };
  for (let i = 0; i < events.length; i++) batch.add(block, i);
  await insertAs(sink, batch.seal(0), partition);
}

async function insertAs(sink: Sink, batch: SealedBatch, partition: OwnedPartition): Promise<void> {
  const lease = await Lease.take(partition, batch, undefined);
  await sink.insert(batch, partition, { lease, isReplay: false });
}

/** Puts many dead letters into the table at once. */
async function addLetters(
  tables: Tables,
  partition: number,
  count: number,
  from = { offset: 0, receivedAt },
): Promise<void> {
  const letters = Array.from({ length: count }, (_, i): DeadLetter => {
    const offset = from.offset + i;
    return {
      topic: 'events',
      topicId: 'T',
      partition,
      offset,
      receivedAt: from.receivedAt + offset,
      eventId: '',
      code: 117,
      column: 'status',
      reason: 'too narrow',
      raw: Buffer.from(JSON.stringify({ event: 'a', status: 256 + offset, text: 'x'.repeat(400) })),
    };
  });
  await clickhouse.insert(
    `INSERT INTO ${tables.tables.deadLetters} FORMAT RowBinary`,
    encodeDeadLetters(letters, receivedAt),
    { settings: insertSettings },
  );
}

const events = [
  '{"event":"a","status":200}',
  '{"event":"a","status":70000}',
  '{"event":"a","status":"abc"}',
  '{"event":"a","status":4,"x":1,"x":2}',
  Uint8Array.of(0x7b, 0xff, 0x7d),
];

describe('list', () => {
  test('shows people a summary, then the newest; scripts the bytes that were refused', async () => {
    const tables = await createTables();
    await deliver(tables, events);
    const text = await tables.run('list', '--limit', '1');
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/4 dead letters in d\d+\.dead_letters: 4 pending, 0 replayed/);
    expect(text.stdout).toMatch(/1 +0 +117 +status .* cannot convert Int64 value N to UInt8/);
    expect(text.stdout).toContain('events/0 offset 4, pending');
    expect(text.stdout).toContain('3 older ones are not shown');
    const json = await tables.run('list', '--json');
    const letters = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(letters.map(({ offset }) => offset)).toEqual([4, 3, 2, 1]);
    expect(letters[0]).toMatchObject({ topic: 'events', partition: 0, code: 117, raw_base64: 'e/99' });
    expect(letters[3]).toMatchObject({ event_id: 'order-1', column: 'status', raw: events[1] });
  });

  test('shows times that are no dates, and does not grow with what the events bring into the reasons', async () => {
    const tables = await createTables();
    await addLetters(tables, 0, 1, { offset: 0, receivedAt: 8.64e15 + 7 });
    await addLetters(tables, 1, 1, { offset: 1, receivedAt: 2 ** 63 - 1024 });
    await clickhouse.execute(
      `INSERT INTO ${tables.database}.dead_letters (topic, topic_id, partition, offset, code, reason)
       SELECT 'events', 'T', 2, number, 117, 'Duplicate path found during parsing JSON object: key' || number FROM numbers(500)
       UNION ALL SELECT 'events', 'T', 3, number, 117, 'unheard of: ' || char(97 + number % 26, 97 + number / 26) FROM numbers(200)`,
    );
    const { code, stdout } = await tables.run('list', '--limit', '2');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^702 dead letters/);
    expect(stdout).toContain('received 8640000000000007');
    expect(stdout).toMatch(/ 500 +0 +117 .*JSON object\n/);
    expect(stdout).toMatch(/ 152 +0 +- +- .* 152 other reasons/);
    expect(stdout.split('\n').length).toBeLessThan(70);
  });

  test.each([
    [
      ['--offset', '1-2'],
      [2, 1],
    ],
    [['--offset', '3'], [3]],
    [['--reason', 'CANNOT PARSE uint8'], [2]],
    [['--code', '27'], []],
    [['--partition', '1'], []],
    [
      ['--since', '2025-11-21T01:53:20.126Z'],
      [4, 3],
    ],
    [
      ['--until', '2025-11-21T01:53:20.126Z'],
      [2, 1],
    ],
    [['--since', '1h'], []],
  ])('shows those that match %j', async (filter, offsets) => {
    const tables = await createTables();
    await deliver(tables, events);
    const { stdout } = await tables.run('list', '--json', ...filter);
    const lines = stdout.split('\n').filter(Boolean);
    expect(lines.map((line) => JSON.parse(line).offset)).toEqual(offsets);
  });

  test.each([
    [['list', '--dry-run'], 2, /belongs to 'dead-letters replay'/],
    [['drop'], 2, /takes list or replay/],
    [['list', '--clickhouse-url', 'http://127.0.0.1:1'], 69, /check --clickhouse-url/],
    [['replay', '--clickhouse-url', 'http://127.0.0.1:1'], 69, /check --clickhouse-url/],
    [['list', '--clickhouse-url', 'ENGINE', '--clickhouse-database', 'none'], 69, /start the streamer first/],
  ])('%j ends with %d and says why', async (args, code, reason) => {
    const finished = await runProgram([
      'dead-letters',
      ...args.map((arg) => arg.replace('ENGINE', engine.url)),
    ]);
    expect(finished.code).toBe(code);
    expect(finished.stderr).toMatch(reason);
  });
});

describe('replay', () => {
  test('inserts what fits by now, as the streamer would have, and says why the rest does not', async () => {
    const tables = await createTables();
    await deliver(tables, events);
    expect(await tables.run('replay', '--dry-run')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('would replay 0; nothing was changed\nstill refused 4'),
    });
    await tables.widen();
    const first = await tables.run('replay', '--json');
    expect(first.code).toBe(1);
    expect(JSON.parse(first.stdout)).toMatchObject({
      dry_run: false,
      replayed: 1,
      refused: 3,
      already_there: 0,
    });
    const rows = await tables.rows(
      'offset, topic, topic_id, partition, event_id, toUnixTimestamp64Milli(received_at) AS at, event, status',
    );
    expect(rows[1]).toEqual({
      offset: 1,
      topic: 'events',
      topic_id: 'T',
      partition: 0,
      event_id: 'order-1',
      at: receivedAt + 1,
      event: 'a',
      status: 70_000,
    });
    const second = await tables.run('replay', '--json');
    expect(JSON.parse(second.stdout)).toMatchObject({ replayed: 0, refused: 3, already_there: 1 });
    expect(await tables.rows('offset')).toEqual([{ offset: 0 }, { offset: 1 }]);
    const { stdout } = await tables.run('list', '--json', '--offset', '1');
    expect(JSON.parse(stdout)).toMatchObject({ state: 'replayed' });
  });

  test('takes an event with a key twice when told so, and ends with 0 when nothing is refused', async () => {
    const tables = await createTables();
    await deliver(tables, events);
    const args = ['replay', '--skip-duplicate-paths', '--offset', '3'];
    expect(await tables.run(...args)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^replayed 1\n/),
    });
    expect(await tables.rows('offset, toInt32(data.x) AS x')).toContainEqual({ offset: 3, x: 1 });
    expect(await tables.run(...args)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^replayed 0\n/),
    });
    expect(await tables.run('list', '--limit', '0')).toMatchObject({
      stdout: expect.stringContaining('3 pending, 1 replayed'),
    });
  });

  test('makes one row of each, however often it is killed in the middle and whatever runs beside it', async () => {
    const tables = await createTables();
    await addLetters(tables, 0, 60_000);
    await addLetters(tables, 1, 25_000);
    await tables.widen();
    const countOf = async (table: string, where: string) => {
      const sql = `SELECT count() AS c FROM ${tables.database}.${table} WHERE ${where}`;
      const [row] = await clickhouse.query<{ c: string }>(sql).catch(() => []);
      return Number(row?.c ?? 0);
    };
    const unfinished: number[] = [];
    for (let round = 0; round < 6; round++) {
      const before = await countOf('dead_letter_replays', "step = 'planned'");
      // Other filters each time, so that the chunks of one run overlap those of the next.
      const program = tables.launch('replay', '--offset', `${round * 1_111}-70000`);
      while ((await countOf('dead_letter_replays', "step = 'planned'")) === before) {
        if (program.child.exitCode !== null) break;
      }
      await program.kill();
      unfinished.push(
        (await countOf('dead_letter_replays', "step = 'planned'")) -
          (await countOf('dead_letter_replays', "step != 'planned'")),
      );
    }
    expect(unfinished).toContain(1);
    const runs = await Promise.all([
      tables.run('replay', '--json'),
      tables.run('replay', '--json', '--offset', '5000-70000'),
      tables.run('replay', '--json', '--partition', '1'),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0]);
    const rows = await clickhouse.query(
      `SELECT partition, toInt32(count()) AS rows, toInt32(uniqExact(offset)) AS offsets, toInt32(max(offset)) AS last,
         toInt32(countIf(status != 256 + offset)) AS wrong
       FROM ${tables.database}.events GROUP BY partition ORDER BY partition`,
    );
    expect(rows).toEqual([
      { partition: 0, rows: 60_000, offsets: 60_000, last: 59_999, wrong: 0 },
      { partition: 1, rows: 25_000, offsets: 25_000, last: 24_999, wrong: 0 },
    ]);
    expect(await countOf('dead_letters', '1')).toBe(85_000);
  });
});

describe('a replay that ended before it could say so', () => {
  const month = 31 * 86_400_000;

  /** Three dead letters that fit by now, over two months, as ClickHouse cuts a part for each. */
  async function createPending(): Promise<Tables> {
    const tables = await createTables();
    await addLetters(tables, 0, 2);
    await addLetters(tables, 0, 1, { offset: 2, receivedAt: receivedAt + month });
    await tables.widen();
    return tables;
  }

  const replay = (tables: Tables, changed: Partial<ClickHouse> = {}) =>
    replayLetters({
      clickhouse: changeClient(clickhouse, changed),
      tables: tables.tables,
      cluster: undefined,
      filter: {},
      dryRun: false,
      skipDuplicatePaths: false,
      log,
      visibleWithinMs: 300,
    });

  /** Ends before the insert into this table that `isFatal` picks. */
  const dyingBefore = (isFatal: (sql: string, body: string) => boolean): Partial<ClickHouse> => ({
    async insert(sql, body, options) {
      if (isFatal(sql, Buffer.from(body).toString())) throw new ClickHouseUnavailableError('killed');
      await clickhouse.insert(sql, body, options);
    },
  });
  const beforeDone = dyingBefore((sql, body) => sql.includes('dead_letter_replays') && body.includes('done'));
  const isForEvents = (sql: string) => /^INSERT INTO \S+\bevents\b/.test(sql);
  const beforeInsert = dyingBefore(isForEvents);

  /** As a hundred thousand other inserts do. */
  async function forgetTokens({ database }: Tables): Promise<void> {
    const setWindow = (size: number) =>
      clickhouse.execute(
        `ALTER TABLE ${database}.events MODIFY SETTING non_replicated_deduplication_window = ${size}`,
      );
    await setWindow(1);
    await clickhouse.execute(
      `INSERT INTO ${database}.events (received_at, topic, offset, data) VALUES (now64(3), 'other', 99, '{}')`,
    );
    await clickhouse.execute(`DELETE FROM ${database}.events WHERE topic = 'other'`);
    await setWindow(100_000);
  }

  const each = [{ offset: 0 }, { offset: 1 }, { offset: 2 }];

  test('stores no row twice, though ClickHouse has forgotten its token', async () => {
    const tables = await createPending();
    await expect(replay(tables, beforeDone)).rejects.toThrow('killed');
    await forgetTokens(tables);
    expect(await replay(tables)).toMatchObject({ replayed: 0, alreadyThere: 3, closedPlans: [] });
    expect(await tables.rows('offset')).toEqual(each);
    await expect(replay(tables)).resolves.toMatchObject({ replayed: 0, alreadyThere: 3 });
  });

  test('is finished with what is missing alone, with its token known or not', async () => {
    for (const isForgotten of [true, false]) {
      const tables = await createPending();
      await expect(replay(tables, beforeInsert)).rejects.toThrow('killed');
      // ClickHouse was killed between the parts of the insert.
      const [plan] = await clickhouse.query<{ token: string }>(
        `SELECT token FROM ${tables.database}.dead_letter_replays`,
      );
      const letters = await readLetters(
        { clickhouse, tables: tables.tables },
        { topicId: 'T', partition: 0 },
        [0, 1],
      );
      const settings = { ...insertSettings, insert_deduplication_token: plan?.token ?? '' };
      const structure = await readStructure(clickhouse, { database: tables.database });
      const { columns, body } = encodeEvents(letters, structure);
      await clickhouse.insert(insertEventsStatement(tables.tables, columns), body, { settings });
      if (isForgotten) await forgetTokens(tables);
      expect(await replay(tables)).toMatchObject({ replayed: 0, alreadyThere: 3, closedPlans: [] });
      expect(await tables.rows('offset')).toEqual(each);
    }
  });

  test('is closed when its rows were removed since, and what is pending gets a token of its own', async () => {
    const tables = await createPending();
    await expect(replay(tables, beforeDone)).rejects.toThrow('killed');
    await clickhouse.execute(`DELETE FROM ${tables.database}.events WHERE 1`);
    const result = await replay(tables);
    expect(result).toMatchObject({ replayed: 3, alreadyThere: 0, closedPlans: [{ plan: 1, rows: 3 }] });
    expect(formatReplay(result, false)).toContain('plan 1 of an earlier replay is closed');
    expect(await tables.rows('offset')).toEqual(each);
    const steps = await clickhouse.query(
      `SELECT toInt32(number) AS number, step FROM ${tables.database}.dead_letter_replays ORDER BY number, step`,
    );
    expect(steps).toEqual([
      { number: 1, step: 'planned' },
      { number: 1, step: 'vanished' },
      { number: 2, step: 'planned' },
      { number: 2, step: 'done' },
    ]);
  });

  test('says when rows do not stay, and the next one is not stuck, in a table of an earlier release too', async () => {
    const tables = await createPending();
    await clickhouse.execute(
      `CREATE TABLE ${tables.database}.dead_letter_replays (number UInt64,
         step Enum8('planned' = 1, 'done' = 2, 'refused' = 3), at DateTime64(3, 'UTC'), replay String, topic_id String,
         partition UInt32, offsets Array(UInt64), token String, skip_duplicate_paths Bool)
       ENGINE = MergeTree ORDER BY (number, step) SETTINGS non_replicated_deduplication_window = 1000`,
    );
    const result = await replay(tables, {
      async insert(sql, body, options) {
        await clickhouse.insert(sql, body, options);
        if (isForEvents(sql))
          await clickhouse.execute(`DELETE FROM ${tables.database}.events WHERE offset < 2`);
      },
    });
    expect(result).toMatchObject({ replayed: 1, vanished: 2 });
    expect(formatReplay(result, false)).toContain('not in events 2');
    expect(await replay(tables)).toMatchObject({ replayed: 2, alreadyThere: 1, closedPlans: [] });
    expect(await tables.rows('offset')).toEqual(each);
  });

  test('is not over because its plan is there twice', async () => {
    const tables = await createPending();
    await expect(replay(tables, beforeInsert)).rejects.toThrow('killed');
    const log = `${tables.database}.dead_letter_replays`;
    await clickhouse.execute(`INSERT INTO ${log} SELECT * FROM ${log}`, {
      settings: { insert_deduplicate: 0 },
    });
    expect(await replay(tables)).toMatchObject({ replayed: 0, alreadyThere: 3 });
    const [over] = await clickhouse.query(`SELECT step FROM ${log} WHERE step != 'planned'`);
    expect(over).toEqual({ step: 'done' });
  });
});

describe('the streamer beside a replay', () => {
  test('does not insert again what it gave up and a replay has inserted, before its plan is done', async () => {
    const tables = await createTables();
    let isAway = true;
    const flaky = changeClient(clickhouse, {
      async insert(sql, body, options) {
        const isRetried = sql.startsWith('INSERT INTO `') && sql.includes('events') && isAway && refusals > 0;
        if (isRetried) throw new ClickHouseUnavailableError('away');
        await clickhouse.insert(sql, body, options);
      },
    });
    let refusals = 0;
    const count = (): void => void refusals++;
    const observer = {
      ...{ began() {}, delayed() {}, ended() {}, inserted() {}, settled() {} },
      ...{ insertFailed: count, refused: count },
    };
    const sink = createClickHouseSink({
      ...{ clickhouse: flaky, tables: tables.tables, observer, log },
      settleAfterMs: 1_800_000,
    });
    const signal = new AbortController().signal;
    const partition = {
      topic: 'events',
      topicId: 'T',
      partition: 0,
      signal,
      commit: async () => {},
    } as unknown as OwnedPartition;
    const batch = new GrowingBatch(new BatchRows(partition));
    const block = blockOf(events.slice(0, 2));
    for (let i = 0; i < block.count; i++) batch.add(block, i);
    const delivered = insertAs(sink, batch.seal(0), partition);
    while (refusals < 2) await sleep(20);
    // The dead letter is written, the good row is not: the same batch is tried again and again.
    await tables.widen();
    expect(await tables.run('replay')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^replayed 1/),
    });
    isAway = false;
    await delivered;
    expect(await tables.rows('offset')).toEqual([{ offset: 0 }, { offset: 1 }]);
  });
});
