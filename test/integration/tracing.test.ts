/** Traces of posts, through the embedded log and through Kafka, to the insert. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import {
  createSite,
  post,
  runCommand,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';
import { type ReceivedSpan, startTraceReceiver, type TraceReceiver } from '../support/trace-receiver.ts';

const traceId = 'c'.repeat(32);
const clientSpan = 'd'.repeat(16);
const traceparent = (id: string, flags = '01') => `00-${id}-${clientSpan}-${flags}`;

const brokers = inject('kafkaBrokers');
const hasKcat = (await runCommand('kcat', ['-V'])).code === 0;
const topic = `traced-${randomUUID()}`;
const kafka = ['--buffer', 'kafka', '--kafka-brokers', brokers ?? '', '--kafka-group', topic];

const cases = [{ buffer: 'the embedded log', flags: [] as string[] }];
if (brokers !== undefined) cases.push({ buffer: 'Kafka', flags: kafka });

describe.each(cases)('traces through $buffer', ({ flags }) => {
  const isKafka = flags.length > 0;
  const directory = temporaryDirectory();
  let receiver: TraceReceiver;
  let site: Site;
  let program: Awaited<ReturnType<typeof startProgram>>;

  beforeAll(async () => {
    receiver = await startTraceReceiver();
    site = await createSite(directory.path);
    const tracing = ['--traces-endpoint', receiver.url, '--traces-sample', '0'];
    program = await startProgram(['start', ...site.flags, ...flags, '--kafka-topic', topic, ...tracing]);
  });
  afterAll(async () => {
    await program.stop();
    await receiver.close();
    directory.remove();
  });

  const named = (name: string, id: string): ReceivedSpan[] =>
    receiver.spans.filter((span) => span.name === name && linksOf(span).includes(id));
  const linksOf = (span: ReceivedSpan) => [span.traceId, ...(span.links ?? []).map((link) => link.traceId)];

  test('lead from the post of a client to the insert', async () => {
    expect((await post(site.collector, { event: 'a' }, { traceparent: traceparent(traceId) })).status).toBe(
      200,
    );
    const [insert] = await until('the insert is traced', async () => {
      const found = named(`process ${topic}`, traceId);
      return found.length > 0 && found;
    });
    const [send] = await until('the post is traced', async () => {
      const found = named(`send ${topic}`, traceId);
      return found.length > 0 && found;
    });
    expect(send).toMatchObject({ parentSpanId: clientSpan, kind: 4, service: 'millrace-collect' });
    expect(insert).toMatchObject({
      traceId,
      parentSpanId: send?.spanId,
      kind: 5,
      service: 'millrace-stream',
    });
    expect(insert?.links).toMatchObject([{ traceId, spanId: send?.spanId }]);
  });

  if (isKafka) {
    test.skipIf(!hasKcat)('are in the headers of the records, for any consumer', async () => {
      const format = ['-C', '-e', '-q', '-o', 'beginning', '-f', '%h'];
      const { stdout } = await runCommand('kcat', ['-b', brokers ?? '', '-t', topic, ...format]);
      const [send] = named(`send ${topic}`, traceId);
      expect(stdout).toBe(`traceparent=00-${traceId}-${send?.spanId}-01`);
    });
  }

  test('of several posts are linked to the insert that they share', async () => {
    const ids = Array.from({ length: 20 }, (_, i) => `${i + 10}`.repeat(16));
    const plain = Array.from({ length: 20 }, () => post(site.collector, { event: 'plain' }));
    const traced = ids.map((id) =>
      post(site.collector, { event: 'a', id }, { traceparent: traceparent(id) }),
    );
    for (const answer of await Promise.all([...plain, ...traced])) expect(answer.status).toBe(200);
    const linked = await until('all inserts are traced', async () => {
      const links = receiver.spans.filter(({ kind }) => kind === 5).flatMap(linksOf);
      return ids.every((id) => links.includes(id)) && links;
    });
    expect(linked.length).toBeGreaterThan(0);
    expect(receiver.faults).toEqual([]);
  });

  test('are not begun for others, nor where the client wants none', async () => {
    const before = receiver.spans.length;
    const unwanted = 'e'.repeat(32);
    await post(site.collector, { event: 'a' }, { traceparent: traceparent(unwanted, '00') });
    await post(site.collector, { event: 'a' });
    const last = 'f'.repeat(32);
    await post(site.collector, { event: 'a' }, { traceparent: traceparent(last) });
    await until('the last one is traced', async () => named(`process ${topic}`, last).length > 0);
    await until('so is its post', async () => named(`send ${topic}`, last).length > 0);
    expect(receiver.spans.slice(before).every((span) => linksOf(span).includes(last))).toBe(true);
  });

  test('are counted', async () => {
    const metrics = async (url: string) => await (await fetch(`${url}/metrics`)).text();
    for (const url of [site.collector, site.streamer]) {
      expect(await metrics(url)).toMatch(/^millrace_spans_sent_total [1-9]/m);
      expect(await metrics(url)).toMatch(/^millrace_spans_dropped_total 0$/m);
    }
  });
});
