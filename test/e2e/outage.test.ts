/** The collector while Kafka is away: what clients and the operator see. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { type FaultyKafka, startFaultyKafka } from '../support/kafka-faults.ts';
import {
  freePorts,
  type Program,
  post,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

interface Status {
  readonly ready: boolean;
  readonly buffer: { readonly ok: boolean };
  readonly spool?: { readonly id: string; readonly events: number; readonly since: string | null };
}

describe.skipIf(inject('kafkaBrokers') === undefined)('an outage of Kafka', () => {
  let kafka: FaultyKafka;
  let broker: { host: string; port: number };
  let directory: ReturnType<typeof temporaryDirectory>;
  let topic: string;
  let url: string;
  const running: Program[] = [];

  beforeAll(async () => {
    kafka = await startFaultyKafka();
    broker = kafka.proxy.target;
  });
  afterAll(() => kafka.stop());
  beforeEach(() => {
    directory = temporaryDirectory();
    topic = `events-${randomUUID()}`;
    kafka.proxy.target = broker;
  });
  afterEach(async () => {
    for (const program of running.splice(0)) await program.kill();
    directory.remove();
  });

  async function collect(...flags: string[]): Promise<Program> {
    const [port] = await freePorts(1);
    url = `http://127.0.0.1:${port}`;
    const program = await startProgram([
      ...['collect', '--listen', `127.0.0.1:${port}`, '--data-dir', directory.path],
      ...['--buffer', 'kafka', '--kafka-brokers', kafka.brokers, '--kafka-topic', topic],
      ...['--kafka-delivery-timeout', '1s', ...flags],
    ]);
    running.push(program);
    return program;
  }

  const readStatus = async () => (await (await fetch(`${url}/status`)).json()) as Status;
  const isBufferUp = (ok: boolean) =>
    until(`the buffer is ${ok ? 'up' : 'away'}`, async () => (await readStatus()).buffer.ok === ok);

  async function takeAway(): Promise<void> {
    kafka.proxy.target = { host: '127.0.0.1', port: 1 };
    kafka.proxy.cutAll();
    await isBufferUp(false);
  }

  const isEmpty = () =>
    until('an empty spool', async () => (await readStatus()).spool?.events === 0 && (await readStatus()));

  async function metric(name: string): Promise<number> {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  }

  test('with a spool, posts are answered 202 with their place in it, and reach Kafka by themselves', async () => {
    const program = await collect('--on-outage', 'spool');
    await isBufferUp(true);
    expect((await post(url, { event: 'before' })).status).toBe(200);
    await takeAway();
    const answer = await post(url, { event: 'meanwhile' });
    expect(answer.status).toBe(202);
    const { id } = (await readStatus()).spool ?? {};
    expect(await answer.json()).toMatchObject({ spool: id, offset: 0 });
    const batch = await post(url, [{ event: 'a' }, { event: 'b' }]);
    expect(batch.status).toBe(202);
    expect(await batch.json()).toMatchObject({ accepted: 2, receipts: [{ spool: id, offset: 1, count: 2 }] });
    const waiting = await fetch(`${url}/v1/receipts/${id}/2`);
    expect([waiting.status, await waiting.json()]).toEqual([200, { spool: id, offset: 2, state: 'spooled' }]);
    const beyond = await fetch(`${url}/v1/receipts/${id}/3`);
    expect([beyond.status, await beyond.json()]).toMatchObject([404, { code: 'UNKNOWN_RECEIPT' }]);
    const status = await fetch(`${url}/status`);
    expect(status.status).toBe(200);
    expect(await status.json()).toMatchObject({
      ready: true,
      buffer: { ok: false },
      spool: { events: 3, state: 'waiting', since: expect.any(String) },
    });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await metric('millrace_spool_events')).toBe(3);
    expect(await metric('millrace_spool_oldest_seconds')).toBeGreaterThan(0);
    expect(await metric('millrace_spool_max_bytes')).toBe(4 * 1024 ** 3);
    kafka.proxy.target = broker;
    await isEmpty();
    const sent = await fetch(`${url}/v1/receipts/${id}/2`);
    expect(await sent.json()).toEqual({ spool: id, offset: 2, state: 'accepted' });
    expect(await metric('millrace_spooled_events_total')).toBe(3);
    expect(await metric('millrace_spool_drained_events_total')).toBe(3);
    const story = program.output.stderr;
    expect(story.match(/events now go to the spool in/g)).toHaveLength(1);
    expect(story).toContain(join(directory.path, 'spool'));
    expect(story).toContain('the spool is drained: 3 events');
    await until(
      'posts that go to Kafka again',
      async () => (await post(url, { event: 'after' })).status === 200,
    );
    expect(await program.stop()).toBe(0);
  });

  test('several workers share the spool; what is left is delivered after a restart, even one with --on-outage reject', async () => {
    const spooling = await collect('--on-outage', 'spool', '--workers', '2');
    await isBufferUp(true);
    await takeAway();
    const posts = Array.from({ length: 40 }, (_, i) => post(url, { event: 'a', i }));
    const statuses = (await Promise.all(posts)).map(({ status }) => status);
    const stored = statuses.filter((code) => code === 202).length;
    // A worker that has not noticed yet may have lost what it had on its way.
    expect(stored).toBeGreaterThan(20);
    expect((await readStatus()).spool?.events).toBe(stored);
    expect(await metric('millrace_spool_events')).toBe(stored);
    expect(await metric('millrace_spooled_events_total')).toBe(stored);
    expect(await spooling.stop()).toBe(0);
    expect(spooling.output.stderr).toContain(`stopped with ${stored} events in the spool in`);
    kafka.proxy.target = broker;
    const rejecting = await collect();
    expect(rejecting.output.stderr).toContain('wait in the spool');
    await isEmpty();
    expect(await metric('millrace_spool_drained_events_total')).toBe(stored);
    await takeAway();
    expect((await post(url, { event: 'a' })).status).toBe(503);
  });

  test('a collector that starts while Kafka is away takes events into its spool', async () => {
    kafka.proxy.target = { host: '127.0.0.1', port: 1 };
    await collect('--on-outage', 'spool');
    expect((await post(url, { event: 'a' })).status).toBe(202);
    kafka.proxy.target = broker;
    await isEmpty();
  });

  test('without a spool there is none', async () => {
    await collect();
    await isBufferUp(true);
    expect((await readStatus()).spool).toBeUndefined();
  });
});
