/** What a streamer says of itself while inserts do not get through, although ClickHouse answers everything else. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BufferReader, BufferWriter } from '../../src/buffer/buffer.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import type { Streamer } from '../../src/streamer/streamer.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { type ClickHouseProxy, startClickHouseProxy } from '../support/faults/clickhouse-proxy.ts';
import { batchOf } from '../support/kafka-faults.ts';
import { testLog } from '../support/kafka-fixture.ts';
import { connect, deliverTo } from '../support/pipeline.ts';
import { temporaryDirectory, until } from '../support/program.ts';

let engine: TestEngine;
let proxy: ClickHouseProxy;
let writer: BufferWriter;
let streamer: Streamer;
const directory = temporaryDirectory();

beforeAll(async () => {
  engine = await startTestEngine();
  proxy = await startClickHouseProxy(engine.url);
  const place = {
    dir: directory.path,
    topic: 'events',
    partitions: 1,
    maxBytes: 64 * 1024 ** 2,
    log: testLog,
  };
  writer = await openEmbeddedWriter({ ...place, retentionMs: 86_400_000 });
  const reader: BufferReader = await openEmbeddedReader({ ...place, group: 'g' });
  streamer = await deliverTo('d1', { reader, clickhouse: connect(proxy.url) });
  await streamer.ready;
});

afterAll(async () => {
  await streamer?.stop();
  await writer?.close();
  await proxy?.close();
  await engine?.dispose();
  directory.remove();
});

async function ask(path: string) {
  const answer = await fetch(`http://127.0.0.1:${streamer.port}${path}`);
  return { status: answer.status, text: await answer.text() };
}

test('it is not ready while inserts fail, says why and what to do, and is ready again after one', async () => {
  await writer.append(0, batchOf(['{"event":"a"}']));
  await until('it is ready, with everything delivered', async () => {
    const { status, text } = await ask('/status');
    return status === 200 && JSON.parse(text).rows === 1;
  });
  proxy.decide = () => 'lose-request';
  await writer.append(0, batchOf(['{"event":"b"}']));
  await until('it is not ready', async () => (await ask('/readyz')).status === 503);
  // ClickHouse answers pings and questions all the while.
  await connect(proxy.url).ping();
  const { clickhouse, ready } = JSON.parse((await ask('/status')).text);
  expect([ready, clickhouse.ok]).toEqual([false, false]);
  expect(clickhouse.detail).toMatch(
    /^the insert for events\/0 has not succeeded for \d+ s: \d+ tries failed/,
  );
  expect(clickhouse.detail).toContain('nothing is lost. Look at system.processes');
  const metrics = await ask('/metrics');
  expect(metrics.text).toContain('millrace_clickhouse_up 0');
  expect(metrics.text).toMatch(/^millrace_insert_oldest_seconds 0?[.\d]*[1-9]/m);
  expect((await ask('/livez')).status).toBe(200);
  proxy.decide = () => 'pass';
  await until('it is ready', async () => (await ask('/readyz')).status === 200);
  const after = JSON.parse((await ask('/status')).text);
  expect(after).toMatchObject({ rows: 2, clickhouse: { ok: true }, delivery: { ok: true } });
  expect((await ask('/metrics')).text).toContain('millrace_insert_oldest_seconds 0\n');
});
