/** SIGKILL of the streamer at each step of the delivery protocol, by the program's fault points. */
import { describe, inject } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { plainEvent } from '../support/faults/generator.ts';
import type { Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { until } from '../support/program.ts';

const faultPoints = [
  'sealed',
  'plan-committed',
  'insert-sent',
  'insert-answered',
  'end-committed',
  'dead-letters-written',
  'repeats-written',
];

/** Every kind of row: plain ones, some that ClickHouse refuses, and some that repeat the id of another. */
function mixedEvent(rig: Rig): (n: number) => string {
  return (n) => {
    if (rig.random.chance(0.02)) return `{"event":"poison","n":${n},"narrow":256}`;
    if (rig.random.chance(0.1)) return `{"event":"again","n":${n},"id":"id-${rig.random.integer(0, 50)}"}`;
    return plainEvent(n, rig.random);
  };
}

/** @param counts which passing of a step kills, one after the other */
async function killAtEachPoint(rig: Rig, counts: readonly number[]): Promise<void> {
  await rig.startEngine();
  const collector = await rig.startCollector();
  const load = rig.load([collector.url], { rate: 500, makeEvent: mixedEvent(rig) });
  for (const count of counts) {
    for (const point of faultPoints) {
      const env = (launch: number) => (launch === 1 ? { MILLRACE_FAULT_POINT: `${point}:${count}` } : {});
      const streamer = await rig.launchStreamer({ env });
      await until(`a kill at ${point}:${count}; ${streamer.log()}`, async () => streamer.kills > 0, 30_000);
      await streamer.ready();
      // The one after the kill recovers; only then the next one takes its place.
      await rig.deliveredSoFar();
      await streamer.stop();
    }
  }
  await rig.startStreamer();
  await load.stop();
  await rig.audit();
}

describe('SIGKILL at each step of the protocol', () => {
  scenario('steps, embedded log', { partitions: 2 }, (rig) =>
    killAtEachPoint(rig, byForm({ full: [1, 2, 5], short: [1] })),
  );

  const brokers = inject('kafkaBrokers');
  const onKafka = brokers === undefined ? {} : { brokers };
  const skip = brokers === undefined && 'no Kafka';
  const kafka = { ...onKafka, partitions: 2, skip, isFullOnly: true, timeoutMs: 600_000 };
  scenario('steps, Kafka', kafka, (rig) => killAtEachPoint(rig, [1]));
});
