/** A broker of its own that is killed, stays away, or whose answers are lost. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { type Member, pause, type Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { type FaultyKafka, startFaultyKafka } from '../support/kafka-faults.ts';
import { until } from '../support/program.ts';
import { apiKeys, type Fate } from '../support/tcp-proxy.ts';

const hasKafka = inject('kafkaBrokers') !== undefined;
const skip = hasKafka ? undefined : 'no Kafka';
const mostResidentMiB = 250;

describe('the broker', () => {
  let kafka: FaultyKafka;

  beforeAll(async () => {
    if (hasKafka) kafka = await startFaultyKafka();
  });
  afterAll(() => kafka?.stop());

  const startOn = async (rig: Rig) => {
    rig.useBrokers(kafka.brokers);
    return await rig.startAll();
  };

  scenario('the broker killed and started again', { skip, isFullOnly: true }, async (rig) => {
    const { streamer, collector } = await startOn(rig);
    const load = rig.load([collector.url]);
    for (let round = 0; round < 5; round++) {
      await pause(rig.random, 500, 2_000);
      await kafka.broker.kill();
      await pause(rig.random, 0, 3_000);
      await kafka.broker.restart();
      await untilAcknowledged(rig);
    }
    await load.stop();
    await rig.audit();
    expect([...streamer.surprises, ...collector.surprises]).toEqual([]);
  });

  scenario(
    'requests and answers lost between collector and broker',
    { skip, isFullOnly: true },
    async (rig) => {
      const { collector } = await startOn(rig);
      const fates: Fate[] = ['lose-answer', 'lose-answer', 'lose-request'];
      const load = rig.load([collector.url]);
      kafka.proxy.decide = ({ apiKey }) =>
        apiKey === apiKeys.produce && rig.random.chance(0.1) ? rig.random.pick(fates) : 'pass';
      await sleep(20_000);
      await load.stop();
      kafka.proxy.decide = () => 'pass';
      await rig.audit();
    },
  );

  /** Kafka is away under load; what the collector holds stays bounded, and it recovers by itself. */
  async function outage(
    rig: Rig,
    collector: Member,
    { ms, expectWhileAway }: { ms: number; expectWhileAway: (collector: Member) => Promise<void> },
  ): Promise<void> {
    const load = rig.load([collector.url], { rate: 2_000, connections: 64 });
    await sleep(2_000);
    await kafka.broker.kill();
    const resident: number[] = [];
    const end = Date.now() + ms;
    while (Date.now() < end) {
      resident.push(residentMiB(collector));
      await sleep(500);
    }
    await expectWhileAway(collector);
    await kafka.broker.restart();
    await untilAcknowledged(rig);
    await load.stop();
    await until('an empty spool', async () => (await spooledEvents(collector)) === 0, 90_000);
    const most = Math.max(...resident);
    await rig.audit();
    process.stdout.write(`${rig.name}  at most ${Math.round(most)} MiB resident while Kafka was away\n`);
    expect(most).toBeLessThan(mostResidentMiB);
    expect(collector.surprises).toEqual([]);
  }

  scenario('a long outage of Kafka under load', { skip }, async (rig) => {
    const { collector } = await startOn(rig);
    const ms = byForm({ full: 120_000, short: 10_000 });
    await outage(rig, collector, { ms, expectWhileAway: expectRefusals });
  });

  scenario('a long outage of Kafka under load, with a spool', { skip, isFullOnly: true }, async (rig) => {
    rig.useBrokers(kafka.brokers);
    await rig.startEngine();
    await rig.startStreamer();
    const collector = await rig.startCollector({ flags: ['--on-outage', 'spool'] });
    const expectWhileAway = async () => {
      const before = rig.ledger.spooled.size;
      expect(before).toBeGreaterThan(0);
      await collector.kill();
      await collector.ready();
      await until('events taken again after a kill', async () => rig.ledger.spooled.size > before);
    };
    await outage(rig, collector, { ms: 40_000, expectWhileAway });
    expect(rig.ledger.spooled.size).toBeGreaterThan(0);
  });
});

async function untilAcknowledged(rig: Rig): Promise<void> {
  const since = Date.now();
  await until('events acknowledged again', async () => rig.ledger.lastAcknowledgedAt > since, 90_000);
}

/** What clients and the operator see of a collector whose buffer is away. */
async function expectRefusals({ url }: Member): Promise<void> {
  const answer = await fetch(`${url}/v1/events`, { method: 'POST', body: '{"event":"a"}' });
  expect(answer.status).toBe(503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await answer.json()) as object).toMatchObject({ code: 'BUFFER_UNAVAILABLE', retry: true });
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
}

/** Events in the spool of a collector; 0 when it has none. */
async function spooledEvents(collector: Member): Promise<number> {
  const status = (await (await fetch(`${collector.url}/status`)).json()) as { spool?: { events: number } };
  return status.spool?.events ?? 0;
}

function residentMiB(member: Member): number {
  const status = readFileSync(`/proc/${member.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
