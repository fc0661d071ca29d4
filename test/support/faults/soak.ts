/** Load for minutes while processes are killed at random, then the audit: the work of bench/soak.mjs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Finding } from './audit.ts';
import { createRandom } from './random.ts';
import { Rig } from './rig.ts';

/** How to soak. */
export interface SoakOptions {
  readonly minutes: number;
  /** Events a second. */
  readonly rate: number;
  /** Seconds between two kills. */
  readonly killEvery: number;
  readonly seed: number;
  /** Brokers of Kafka; the embedded log without. */
  readonly brokers?: string;
  /** Told what happens, a line at a time. */
  readonly log: (line: string) => void;
}

/** What came of it. */
export interface SoakResult {
  readonly finding: Finding;
  /** How often each process was killed, by its kind. */
  readonly kills: Readonly<Record<string, number>>;
  /** Length of the load. */
  readonly seconds: number;
  /** Version of the embedded ClickHouse. */
  readonly clickhouse: string;
  /** Ends of processes that nobody asked for. */
  readonly surprises: readonly string[];
}

/** Runs it to the end. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { minutes, rate, killEvery, seed, brokers, log } = options;
  const random = createRandom(seed);
  const rig = new Rig({ name: 'soak', random, ...(brokers === undefined ? {} : { brokers }) });
  try {
    const { engine, streamer, collector } = await rig.startAll();
    const members = [collector, streamer, engine];
    const clickhouse = (await rig.select('SELECT version()')).trim();
    const startedAt = performance.now();
    const end = startedAt + minutes * 60_000;
    const load = rig.load([collector.url], { rate });
    for (;;) {
      const leftMs = end - performance.now();
      await sleep(Math.max(Math.min(killEvery * 1_000, leftMs), 0));
      if (leftMs <= killEvery * 1_000) break;
      const victim = random.pick(members);
      await victim.kill();
      log(
        `SIGKILL to the ${victim.kind}; ${rig.ledger.sent} sent, ${rig.ledger.acknowledged.length} acknowledged`,
      );
    }
    await load.stop();
    const seconds = (performance.now() - startedAt) / 1_000;
    for (const member of members) await member.ready();
    log('load ended; waiting until everything is delivered');
    const finding = await rig.check({ timeoutMs: 300_000 });
    return {
      finding,
      kills: Object.fromEntries(members.map(({ kind, kills }) => [kind, kills])),
      seconds,
      clickhouse,
      surprises: rig.members.flatMap(({ surprises }) => surprises),
    };
  } finally {
    await rig.remove();
  }
}
