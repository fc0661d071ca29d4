/** Events with ids that are sent again, to several collectors, across kills: one row each. */
import { describe, expect, inject } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { pause, type Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';

async function sendAgainAndAgain(rig: Rig): Promise<void> {
  await rig.startEngine();
  const collector = await rig.startCollector();
  const other = await rig.startCollector();
  const streamer = await rig.startStreamer();
  // Ids of the recent past come again soon, and some of long ago, too.
  let newest = 0;
  const makeEvent = (n: number): string => {
    if (rig.random.chance(0.3)) newest++;
    const id = rig.random.integer(Math.max(0, newest - rig.random.pick([3, 100, 2_000])), newest);
    return `{"event":"again","n":${n},"id":"id-${id}","title":"${'x'.repeat(rig.random.integer(0, 100))}"}`;
  };
  const load = rig.load([collector.url, other.url], { makeEvent });
  for (let round = 0; round < byForm({ full: 10, short: 3 }); round++) {
    await pause(rig.random, 500, 1_500);
    await [streamer, collector, other][round % 3]?.kill();
  }
  for (const member of [streamer, collector, other]) await member.ready();
  await pause(rig.random, 500, 1_000);
  await load.stop();
  const finding = await rig.audit();
  const { topicId } = await rig.view();
  const where = `WHERE topic_id = '${topicId}'`;
  const counts = await rig.select(`SELECT count(), uniqExact(event_id) FROM events ${where}`);
  const [rows, ids] = counts.trim().split('\t').map(Number);
  expect(rows).toBe(ids);
  expect(finding.repeats).toBeGreaterThan(0);
  const strangers = await rig.select(
    `SELECT count() FROM repeats ${where} AND event_id NOT IN (SELECT event_id FROM events ${where})`,
  );
  expect(strangers.trim()).toBe('0');
}

describe('events with ids sent again', () => {
  scenario('ids sent again to two collectors, embedded log', { partitions: 4 }, sendAgainAndAgain);

  const brokers = inject('kafkaBrokers');
  const skip = brokers === undefined && 'no Kafka';
  const kafka = { ...(brokers === undefined ? {} : { brokers }), skip, isFullOnly: true };
  scenario('ids sent again to two collectors, Kafka', kafka, sendAgainAndAgain);
});
