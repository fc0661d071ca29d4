/** Events whose keys are ids: many distinct paths must not make the table expensive for everybody. */
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ClickHouse } from '../../src/clickhouse/client.ts';
import { insertSettings } from '../../src/clickhouse/inserts.ts';
import { ensureTables } from '../../src/clickhouse/tables.ts';
import { loadSchema } from '../../src/schema/schema.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { runSeed } from '../support/faults/form.ts';
import { createRandom } from '../support/faults/random.ts';
import { connect } from '../support/pipeline.ts';

const log = pino({ level: 'silent' });
let engine: TestEngine;
let clickhouse: ClickHouse;

beforeAll(async () => {
  engine = await startTestEngine({ databases: ['t0'] });
  clickhouse = connect(engine.url);
  await ensureTables(clickhouse, { database: 't0', cluster: undefined, columns: loadSchema().columns }, log);
});
afterAll(async () => {
  await clickhouse?.close();
  await engine?.dispose();
});

let offset = 0;
async function insert(events: readonly object[]): Promise<void> {
  const rows = events.map((data) => {
    offset++;
    return JSON.stringify({ received_at: Date.now(), offset, data, raw: JSON.stringify(data) });
  });
  const sql = 'INSERT INTO t0.events (received_at, offset, data, raw) FORMAT JSONEachRow';
  await clickhouse.insert(sql, Buffer.from(rows.join('\n')), { settings: insertSettings });
}

test(`7,500 paths in 15,000 events, and 200 carts keyed by product (seed ${runSeed})`, async () => {
  const random = createRandom(runSeed);
  const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);
  for (let n = 0; n < 100; n++) {
    await insert(
      times(150, () => ({
        event: 'wide',
        ...Object.fromEntries(
          times(20, () => [`k${random.integer(0, 79)}`, { [`s${random.integer(0, 93)}`]: n }]),
        ),
      })),
    );
  }
  for (let n = 0; n < 20; n++) {
    const item = () => [`id${random.integer(0, 19_999)}`, { qty: 1, price: random.integer(0, 999) / 10 }];
    await insert(times(10, () => ({ event: 'cart', items: Object.fromEntries(times(100, item)) })));
  }
  await clickhouse.execute('OPTIMIZE TABLE t0.events FINAL');
  const read = 'SELECT count() AS n, sum(length(toString(data))) > 0 AS isRead FROM t0.events';
  const reads = await Promise.all(times(3, () => clickhouse.query(read)));
  expect(reads).toEqual(times(3, () => [{ n: offset, isRead: 1 }]));
  const [parts] = await clickhouse.query<{ files: number }>(
    "SELECT sum(files) AS files FROM system.parts WHERE active AND database = 't0' AND table = 'events'",
  );
  expect(parts?.files).toBeLessThan(100);
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${engine.process.pid}/status`, 'utf8'))?.[1];
  expect(Number(peak) / 1_024).toBeLessThan(600);
}, 300_000);
