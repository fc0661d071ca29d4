/** Streamers that freeze, wake up again, come and go, over Kafka. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject } from 'vitest';
import { startClickHouseProxy } from '../support/faults/clickhouse-proxy.ts';
import { byForm } from '../support/faults/form.ts';
import { type Member, pause, type Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { until } from '../support/program.ts';

const brokers = inject('kafkaBrokers');
const kafka = { ...(brokers === undefined ? {} : { brokers }), skip: brokers === undefined && 'no Kafka' };
const sessionTimeoutMs = 6_000;

async function ownedBy(streamer: Member): Promise<number> {
  const answer = await fetch(`${streamer.url}/status`, { signal: AbortSignal.timeout(1_000) });
  return ((await answer.json()) as { partitions: unknown[] }).partitions.length;
}

const owns = (streamer: Member, count: number) =>
  until(`${count} partitions of one streamer`, async () => (await ownedBy(streamer)) === count);

/** Stops it without its knowing, longer than its session lasts; another one takes its partitions over. */
async function freeze(zombie: Member, heir: Member, partitions: number): Promise<void> {
  zombie.program.child.kill('SIGSTOP');
  await sleep(sessionTimeoutMs);
  await owns(heir, partitions);
}

describe('a streamer that stands still past its session and wakes up', () => {
  scenario('zombie with an insert under way', kafka, async (rig) => {
    await rig.startEngine();
    const proxy = await startClickHouseProxy(rig.clickhouse);
    rig.defer(() => proxy.close());
    const collector = await rig.startCollector();
    const heir = await rig.startStreamer();
    rig.clickhouseForStreamers = proxy.url;
    const zombie = await rig.startStreamer();
    await owns(zombie, 2);
    const load = rig.load([collector.url], { rate: 500 });
    for (let round = 0; round < byForm({ full: 4, short: 1 }); round++) {
      await sleep(1_000);
      proxy.decide = (table) => (table === 'events' ? 'hold' : 'pass');
      await until('an insert held back', async () => proxy.held > 0);
      await freeze(zombie, heir, 4);
      await pause(rig.random, 200, 1_000);
      // What the zombie sent arrives only now, after its successor has inserted the same, or more.
      proxy.decide = () => 'pass';
      proxy.release();
      if (rig.random.chance(0.5)) await sleep(300);
      zombie.program.child.kill('SIGCONT');
      await owns(zombie, 2);
    }
    await load.stop();
    await rig.audit();
    expect(zombie.surprises).toEqual([]);
    expect(heir.surprises).toEqual([]);
  });

  scenario('zombie at any moment', { ...kafka, isFullOnly: true }, async (rig) => {
    const { streamer: zombie, collector } = await rig.startAll();
    const heir = await rig.startStreamer();
    await owns(zombie, 2);
    const load = rig.load([collector.url]);
    for (let round = 0; round < 4; round++) {
      await pause(rig.random, 500, 1_500);
      await freeze(zombie, heir, 4);
      await pause(rig.random, 100, 2_000);
      zombie.program.child.kill('SIGCONT');
      await owns(zombie, 2);
    }
    await load.stop();
    await rig.audit();
    expect(zombie.surprises).toEqual([]);
  });
});

describe('streamers that come and go', () => {
  scenario('up to three streamers join and leave', kafka, async (rig) => {
    await rig.startEngine();
    const collector = await rig.startCollector();
    const load = rig.load([collector.url]);
    const deadline = Date.now() + byForm({ full: 60_000, short: 6_000 });
    let present = [await rig.launchStreamer(), await rig.launchStreamer()];
    while (Date.now() < deadline) {
      await pause(rig.random, 500, byForm({ full: 4_000, short: 2_500 }));
      present = await joinOrLeave(rig, present);
    }
    await load.stop();
    await rig.startStreamer();
    await rig.audit({ timeoutMs: 90_000 });
    expect(rig.members.flatMap(({ surprises }) => surprises)).toEqual([]);
  });
});

async function joinOrLeave(rig: Rig, present: readonly Member[]): Promise<Member[]> {
  const isFull = present.length === 3;
  if (!isFull && (present.length < 2 || rig.random.chance(0.5)))
    return [...present, await rig.launchStreamer()];
  const leaving = rig.random.pick(present);
  if (rig.random.chance(0.5)) await leaving.end();
  // One that has only just been started does not know the signal yet.
  else expect([0, 'SIGTERM']).toContain(await leaving.stop());
  return present.filter((member) => member !== leaving);
}
