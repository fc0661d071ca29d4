/** A broker whose answers are none: nothing ends, nothing is skipped, and it is said what is wrong and where. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import type { BufferReader } from '../../src/buffer/buffer.ts';
import { batchLayout } from '../../src/buffer/kafka/record-batch.ts';
import { holdPartitions, readRecords } from '../support/buffer-reading.ts';
import { type FakeBroker, frame, startFakeBroker } from '../support/fake-broker.ts';
import { forgeBatch, forgeRecord } from '../support/forged-batches.ts';
import { batchOf, type FaultyKafka, startFaultyKafka } from '../support/kafka-faults.ts';
import { createKafkaTopic, waitUntil } from '../support/kafka-fixture.ts';
import { freePorts, type Program, post, startProgram } from '../support/program.ts';
import { apiKeys } from '../support/tcp-proxy.ts';

const hasKafka = inject('kafkaBrokers') !== undefined;
let kafka: FaultyKafka;
const running: { close(): Promise<unknown> }[] = [];

beforeAll(async () => {
  if (hasKafka) kafka = await startFaultyKafka();
});

afterEach(async () => {
  if (kafka !== undefined) kafka.proxy.decide = () => 'pass';
  for (const one of running.splice(0).reverse()) await one.close();
});

afterAll(async () => {
  await kafka?.stop();
});

/** A topic with two records, and a reader that owns its partition. */
async function openTopic() {
  const topic = await createKafkaTopic(kafka.brokers, 1);
  const writer = await topic.openWriter();
  await writer.append(0, batchOf(['a', 'b']));
  await writer.close();
  const reader: BufferReader = topic.openReader(`group-${randomUUID()}`);
  running.push(reader);
  return { reader, partition: await holdPartitions(reader).get(0, 60_000) };
}

/** The answer to a fetch from one partition that holds these bytes in place of record batches. */
function fetchAnswer(records: Buffer): Buffer {
  const unsigned = Buffer.from([(records.length + 1) & 0x7f]);
  return Buffer.concat([
    Buffer.alloc(1 + 4 + 2 + 4), // tags of the head, throttle time, code, session
    Buffer.of(2),
    Buffer.alloc(16),
    Buffer.of(2),
    Buffer.alloc(4 + 2 + 8 + 8 + 8),
    Buffer.of(1), // no transactions
    Buffer.alloc(4),
    unsigned,
    records,
    Buffer.alloc(3),
  ]);
}

test.skipIf(!hasKafka).each([
  ['a negative length', /announced an answer of -5 bytes/, (id: number) => frame(id, Buffer.alloc(8), -5)],
  [
    'two gigabytes',
    /announced an answer of 2147483647 bytes/,
    (id: number) => frame(id, Buffer.alloc(8), 2 ** 31 - 1),
  ],
  [
    'no record batch',
    /no whole record batch/,
    (id: number) => frame(id, fetchAnswer(Buffer.alloc(80, 0xff))),
  ],
  [
    'half a record batch',
    /no whole record batch/,
    (id: number) => frame(id, fetchAnswer(Buffer.from('0000000000000000000003e8', 'hex'))),
  ],
])(
  '%s in answer to fetches: the reader says so, and reads on when it is over',
  async (_what, detail, forge) => {
    const { reader, partition } = await openTopic();
    kafka.proxy.forged = ({ correlationId }) => forge(correlationId);
    kafka.proxy.decide = ({ apiKey }) => (apiKey === apiKeys.fetch ? 'forge' : 'pass');
    const records = readRecords(partition, 0, 2, 60_000);
    await waitUntil(() => !reader.state().ok, 30_000);
    expect(reader.state()).toMatchObject({ ok: false, detail: expect.stringMatching(detail) });
    expect(reader.state()).toMatchObject({
      detail: expect.stringMatching(/\/0 cannot be read past offset 0: /),
    });
    kafka.proxy.decide = () => 'pass';
    expect((await records).map(({ value }) => value.toString())).toEqual(['a', 'b']);
    expect(reader.state()).toEqual({ ok: true });
  },
);

test.skipIf(!hasKafka).each([
  [1, ['a', 'b']],
  [2, ['', 'damaged']],
])('a checksum that is wrong in %d answers', async (times, values) => {
  const { partition } = await openTopic();
  const records = [0, 1].map((offsetDelta) => forgeRecord({ offsetDelta, value: Buffer.from('x') }));
  const batch = forgeBatch({ records: Buffer.concat(records), count: 2 });
  batch.writeUInt32BE(1, batchLayout.crc);
  kafka.proxy.forged = ({ correlationId }) => frame(correlationId, fetchAnswer(batch));
  let left = times;
  kafka.proxy.decide = ({ apiKey }) => (apiKey === apiKeys.fetch && left-- > 0 ? 'forge' : 'pass');
  const read = await readRecords(partition, 0, 2, 60_000);
  expect(read.map(({ value }) => (value.equals(batch) ? 'damaged' : value.toString()))).toEqual(values);
});

test.each([-5, 2 ** 31 - 1])(
  'a collector whose broker announces %d bytes stays up, and says so',
  async (length) => {
    const broker: FakeBroker = await startFakeBroker(({ correlationId }) =>
      frame(correlationId, Buffer.alloc(8), length),
    );
    running.push(broker);
    const [port] = (await freePorts(1)) as [number];
    const flags = [
      '--listen',
      `127.0.0.1:${port}`,
      '--buffer',
      'kafka',
      '--kafka-brokers',
      `127.0.0.1:${broker.port}`,
    ];
    const collector: Program = await startProgram(['collect', ...flags]);
    running.push({ close: () => collector.kill() });
    // Several tries: each is a connection that is given up.
    await waitUntil(() => broker.requests > 3, 30_000);
    expect(collector.child.exitCode).toBeNull();
    const response = await post(`http://127.0.0.1:${port}`, { event: 'a' });
    expect(response.status).toBe(503);
    await response.body?.cancel();
    const status = await fetch(`http://127.0.0.1:${port}/status`);
    expect(await status.text()).toContain(
      `broker 127.0.0.1:${broker.port} announced an answer of ${length} bytes`,
    );
    expect(await collector.stop()).toBe(0);
  },
);
