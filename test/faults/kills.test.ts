/** SIGKILL of the program's processes at random moments, over the embedded log. */
import { describe } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { pause } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';

describe('SIGKILL', () => {
  scenario('each process killed by turns', { partitions: 2 }, async (rig) => {
    const { engine, streamer, collector } = await rig.startAll();
    const load = rig.load([collector.url]);
    const rounds = byForm({ full: 30, short: 4 });
    for (let round = 0; round < rounds; round++) {
      await pause(rig.random, 100, byForm({ full: 1_500, short: 800 }));
      const victim =
        round < 3 ? [streamer, engine, collector][round] : rig.random.pick([engine, streamer, collector]);
      await victim?.kill();
    }
    for (const member of [engine, streamer, collector]) await member.ready();
    await pause(rig.random, 200, 500);
    await load.stop();
    await rig.audit();
  });

  scenario('everything under start killed at once', { partitions: 2 }, async (rig) => {
    const all = await rig.startTogether();
    const load = rig.load([all.url]);
    const rounds = byForm({ full: 8, short: 2 });
    for (let round = 0; round < rounds; round++) {
      await pause(rig.random, 300, 1_500);
      await all.kill();
      await all.ready();
    }
    await pause(rig.random, 200, 500);
    await load.stop();
    await rig.audit();
  });
});
