/** The disk of the embedded log is full for a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { pause } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { createSmallDisk, reasonAgainstSmallDisk, type SmallDisk } from '../support/faults/small-disk.ts';
import { until } from '../support/program.ts';

const skip = reasonAgainstSmallDisk();

describe('disk full', () => {
  let disk: SmallDisk | undefined;
  if (skip === undefined) disk = createSmallDisk(64 * 1024 ** 2);
  afterAll(() => disk?.remove());

  scenario(
    'the disk of the embedded log full, then not',
    { skip, ...(disk && { dataDir: disk.path }), partitions: 2 },
    async (rig) => {
      const { streamer, collector } = await rig.startAll();
      const load = rig.load([collector.url]);
      for (let round = 0; round < byForm({ full: 6, short: 2 }); round++) {
        await pause(rig.random, 500, 1_000);
        disk?.fill(rig.random.integer(0, 200_000));
        await until('refusals', async () => (rig.ledger.answers.get('BUFFER_UNAVAILABLE') ?? 0) > 0);
        rig.ledger.answers.delete('BUFFER_UNAVAILABLE');
        await pause(rig.random, 500, 2_500);
        expect((await fetch(`${collector.url}/livez`)).status).toBe(200);
        if (round % 2 === 1) await rig.random.pick([streamer, collector]).kill();
        await sleep(300);
        disk?.free();
        const since = Date.now();
        await until('events acknowledged again', async () => rig.ledger.lastAcknowledgedAt > since, 30_000);
      }
      await load.stop();
      await rig.audit();
      process.stdout.write(
        `${rig.name}  ends that nobody asked for: ${rig.members.flatMap(({ surprises }) => surprises).length}\n`,
      );
    },
  );
});
