/** ClickHouse that dies in mid-insert, and answers that are lost on the way. */
import { describe, expect, inject } from 'vitest';
import { type RequestFate, startClickHouseProxy } from '../support/faults/clickhouse-proxy.ts';
import { byForm } from '../support/faults/form.ts';
import { plainEvent } from '../support/faults/generator.ts';
import { pause, type Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { until } from '../support/program.ts';

async function startBehindProxy(rig: Rig) {
  const engine = await rig.startEngine();
  const proxy = await startClickHouseProxy(rig.clickhouse);
  rig.defer(() => proxy.close());
  rig.clickhouseForStreamers = proxy.url;
  const [streamer, collector] = await Promise.all([rig.startStreamer(), rig.startCollector()]);
  return { engine, proxy, streamer, collector };
}

async function loseAtRandom(rig: Rig): Promise<void> {
  const { proxy, streamer, collector } = await startBehindProxy(rig);
  const load = rig.load([collector.url], {
    rate: 500,
    makeEvent: (n) =>
      rig.random.chance(0.02) ? `{"event":"poison","n":${n},"narrow":256}` : plainEvent(n, rig.random),
  });
  const bad: RequestFate[] = ['lose-answer', 'lose-answer', 'lose-request', 'cut-body'];
  proxy.decide = () => (rig.random.chance(0.4) ? rig.random.pick(bad) : 'pass');
  const least = byForm({ full: 30, short: 3 });
  await until('lost answers', async () => proxy.counts['lose-answer'] >= least, 100_000);
  await load.stop();
  proxy.decide = () => 'pass';
  await rig.audit();
  expect(streamer.surprises).toEqual([]);
}

describe('ClickHouse', () => {
  scenario('the engine killed in mid-insert', { partitions: 2 }, async (rig) => {
    const { engine, proxy, streamer, collector } = await startBehindProxy(rig);
    const load = rig.load([collector.url]);
    for (let round = 0; round < byForm({ full: 15, short: 3 }); round++) {
      await pause(rig.random, 300, 800);
      const inserting = new Promise<void>((resolve) => {
        proxy.decide = () => {
          resolve();
          return 'pass';
        };
      });
      await inserting;
      await pause(rig.random, 0, 15);
      await engine.kill();
      await engine.ready();
    }
    await load.stop();
    await rig.audit();
    expect(streamer.surprises).toEqual([]);
  });

  scenario('requests and answers lost between streamer and ClickHouse', { partitions: 2 }, loseAtRandom);

  const brokers = inject('kafkaBrokers');
  const skip = brokers === undefined && 'no Kafka';
  const kafka = { ...(brokers === undefined ? {} : { brokers }), skip, isFullOnly: true };
  scenario('requests and answers lost between streamer and ClickHouse, Kafka', kafka, loseAtRandom);
});
