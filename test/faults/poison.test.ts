/** Events that pass the collector and that ClickHouse refuses by the type of a column, wherever they lie in a batch. */
import { describe, expect, inject } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { plainEvent, postEvents } from '../support/faults/generator.ts';
import type { Ledger } from '../support/faults/ledger.ts';
import type { Member, Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { refusedMembers } from '../support/narrow-schema.ts';

/** What comes after `"n":<serial>`: odd, and rows; or refused by the collector. */
const odd = [
  '"s":"\\ud800"',
  '"s":"\\u0000"',
  '"\\ud800":1',
  '"":1',
  '"x":-0.0',
  '"x":1e-999',
  '"x":1e999',
  '"bytes":9223372036854775808',
  '"k":1,"k":2',
  '"a":{"b":1},"a.b":2',
  '"time":"0001-01-01T00:00:00Z"',
];

const poison = (n: number, tail: string): [number, string] => [n, `{"event":"poison","n":${n},${tail}}`];

/** Posts `size` events of which those at `places` are poison. */
async function postWithPoison(rig: Rig, collector: Member, size: number, places: readonly number[]) {
  const serials = rig.ledger.takeSerials(size);
  const events = serials.map((n, i): [number, string] =>
    places.includes(i) ? poison(n, rig.random.pick(refusedMembers)) : [n, plainEvent(n, rig.random)],
  );
  await postEvents(collector.url, events, rig.ledger);
  return places.length;
}

async function expectReasons(rig: Rig, count: number): Promise<void> {
  const { topicId } = await rig.view();
  const sql = `SELECT count(), countIf(reason != '' AND code != 0 AND raw LIKE '%poison%') FROM dead_letters WHERE topic_id = '${topicId}'`;
  expect((await rig.select(sql)).trim()).toBe(`${count}\t${count}`);
}

describe('poison', () => {
  scenario('poison first, in the middle, last, alone, many', { partitions: 2 }, async (rig) => {
    const { collector, streamer } = await rig.startAll();
    let poisoned = 0;
    for (let round = 0; round < byForm({ full: 20, short: 1 }); round++) {
      for (const places of [[0], [49], [99], [0, 49, 99], [7, 8, 9]]) {
        poisoned += await postWithPoison(rig, collector, 100, places);
      }
      poisoned += await postWithPoison(rig, collector, 1, [0]);
      const many = Array.from({ length: 500 }, (_, i) => i).filter(() => rig.random.chance(0.3));
      poisoned += await postWithPoison(rig, collector, 500, many);
      poisoned += await postWithPoison(
        rig,
        collector,
        64,
        Array.from({ length: 64 }, (_, i) => i),
      );
    }
    const finding = await rig.audit();
    expect(finding).toMatchObject({ refused: 0, unknown: 0, deadLetters: poisoned });
    await expectReasons(rig, poisoned);
    expect(streamer.surprises).toEqual([]);
  });

  scenario('each kind of poison and of oddity by itself', {}, async (rig) => {
    const { collector, streamer } = await rig.startAll();
    for (const tail of [...refusedMembers, ...odd]) await postOne(rig.ledger, collector, tail);
    const finding = await rig.audit();
    expect(finding.deadLetters).toBe(refusedMembers.length);
    await expectReasons(rig, finding.deadLetters);
    expect(streamer.surprises).toEqual([]);
  });

  const brokers = inject('kafkaBrokers');
  const skip = brokers === undefined && 'no Kafka';
  scenario(
    'poison under load with kills',
    { ...(brokers === undefined ? {} : { brokers }), skip, isFullOnly: true },
    async (rig) => {
      const { collector, streamer, engine } = await rig.startAll();
      const makeEvent = (n: number) =>
        rig.random.chance(0.01) ? poison(n, rig.random.pick(refusedMembers))[1] : plainEvent(n, rig.random);
      const load = rig.load([collector.url], { makeEvent });
      for (let round = 0; round < 10; round++) {
        await new Promise((resolve) => setTimeout(resolve, rig.random.integer(300, 2_000)));
        await rig.random.pick([streamer, engine]).kill();
      }
      await load.stop();
      const finding = await rig.audit({ timeoutMs: 120_000 });
      await expectReasons(rig, finding.deadLetters);
    },
  );
});

async function postOne(ledger: Ledger, collector: Member, tail: string): Promise<void> {
  const [n] = ledger.takeSerials(1) as [number];
  await postEvents(collector.url, [poison(n, tail)], ledger);
}
