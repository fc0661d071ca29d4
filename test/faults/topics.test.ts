/** Topics that are deleted and made anew, and retention that is faster than the streamer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { deleteRecordsV2 } from '@platformatic/kafka';
import { expect, inject } from 'vitest';
import type { TopicView } from '../../src/buffer/buffer.ts';
import { BrokerLink, parseAddress } from '../../src/buffer/kafka/broker-link.ts';
import { compare, readDelivered } from '../support/faults/audit.ts';
import { startClickHouseProxy } from '../support/faults/clickhouse-proxy.ts';
import { byForm } from '../support/faults/form.ts';
import type { Ledger } from '../support/faults/ledger.ts';
import type { Member, Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { withAdmin } from '../support/faults/topic-view.ts';
import { until } from '../support/program.ts';

const brokers = inject('kafkaBrokers') ?? '';
const partitions = 2;
const kafka = { brokers, partitions, skip: brokers === '' && 'no Kafka' };
const fullOnly = { ...kafka, isFullOnly: true };

async function startBehindProxy(rig: Rig) {
  await rig.startEngine();
  const proxy = await startClickHouseProxy(rig.clickhouse);
  rig.defer(() => proxy.close());
  rig.clickhouseForStreamers = proxy.url;
  const collector = await rig.startCollector();
  const streamer = await rig.startStreamer();
  return { proxy, collector, streamer };
}

async function sendFor(rig: Rig, ms: number, collector: Member, ledger: Ledger): Promise<void> {
  const load = rig.load([collector.url], { ledger, rate: 500 });
  await sleep(ms);
  await load.stop();
}

/** Deletes the topic; the collector or the streamer, or this, makes it anew. */
async function makeAnew(rig: Rig): Promise<void> {
  const { topicId } = await rig.view();
  await withAdmin(brokers, async (admin) => {
    await admin.deleteTopics({ topics: [rig.topic] });
    await sleep(rig.random.integer(500, 2_000));
    await admin.createTopics({ topics: [{ topic: rig.topic, numPartitions: partitions }] }).catch(() => {});
  });
  await until('another topic id', async () => {
    const { topicId: id, partitions: found } = await rig.view();
    return id !== topicId && id !== '' && found.length === partitions;
  });
}

/** Sends to the topic made anew until the collector has noticed. */
async function sendToNew(rig: Rig, collector: Member): Promise<Ledger> {
  const ledger = rig.createLedger();
  const load = rig.load([collector.url], { ledger, rate: 500 });
  await until('events in the new topic', async () => ledger.acknowledged.length > 1_000);
  await load.stop();
  return ledger;
}

/** The rows of the deleted topic: as many as were delivered, none twice, none of another. */
async function auditDeleted(rig: Rig, view: TopicView): Promise<void> {
  await rig.ledger.close();
  const finding = compare(rig.ledger, await readDelivered(rig.clickhouse, view.topicId), view);
  const { acknowledged, rows, duplicated } = finding;
  process.stdout.write(
    `${rig.name}  of the deleted topic rows=${rows} of ${acknowledged} acknowledged, duplicated=${duplicated}\n`,
  );
  expect(finding.duplicated).toBe(0);
  expect(finding.faults.filter((fault) => !fault.startsWith('missing'))).toEqual([]);
}

scenario('anew while nothing is open', fullOnly, async (rig) => {
  const { collector } = await startBehindProxy(rig);
  await sendFor(rig, 1_500, collector, rig.ledger);
  await rig.audit();
  const before = await rig.view();
  await makeAnew(rig);
  await rig.audit({ ledger: await sendToNew(rig, collector) });
  await auditDeleted(rig, before);
});

scenario('anew while the streamer is away', fullOnly, async (rig) => {
  const { collector, streamer } = await startBehindProxy(rig);
  await sendFor(rig, 1_500, collector, rig.ledger);
  await rig.audit();
  const before = await rig.view();
  await streamer.end();
  await makeAnew(rig);
  const ledger = await sendToNew(rig, collector);
  await rig.startStreamer();
  await rig.audit({ ledger });
  await auditDeleted(rig, before);
});

scenario('anew while a plan is open', fullOnly, async (rig) => {
  const { collector, proxy } = await startBehindProxy(rig);
  await sendFor(rig, 1_000, collector, rig.ledger);
  proxy.decide = (table) => (table === 'events' ? 'hold' : 'pass');
  await sendFor(rig, 1_000, collector, rig.ledger);
  await until('inserts held back', async () => proxy.held > 0);
  const before = await rig.view();
  await makeAnew(rig);
  const ledger = await sendToNew(rig, collector);
  proxy.decide = () => 'pass';
  proxy.release();
  await rig.audit({ ledger });
  await auditDeleted(rig, before);
});

scenario('anew while a plan is open and its streamer dead', kafka, async (rig) => {
  const { collector, proxy, streamer } = await startBehindProxy(rig);
  await sendFor(rig, 500, collector, rig.ledger);
  proxy.decide = (table) => (table === 'events' ? 'lose-request' : 'pass');
  await sendFor(rig, 1_000, collector, rig.ledger);
  await until('lost inserts', async () => proxy.counts['lose-request'] > 1);
  const before = await rig.view();
  await streamer.end();
  await makeAnew(rig);
  const ledger = await sendToNew(rig, collector);
  proxy.decide = () => 'pass';
  await rig.startStreamer();
  await rig.audit({ ledger });
  await auditDeleted(rig, before);
});

/** Removes the records before these offsets from Kafka, as retention does. */
async function removeBefore(
  rig: Rig,
  offsets: readonly { partition: number; offset: number }[],
): Promise<void> {
  const link = new BrokerLink(parseAddress(brokers), { clientId: 'faults', requestTimeoutMs: 5_000 });
  const partitions = offsets.map(({ partition, offset }) => {
    return { partitionIndex: partition, offset: BigInt(offset) };
  });
  await link.request(deleteRecordsV2.api, [{ name: rig.topic, partitions }], 5_000);
  link.close();
}

/** Ranges that the streamers have named as expired. */
function namedExpired(rig: Rig): { partition: number; from: number; to: number }[] {
  return rig.members
    .filter(({ kind }) => kind === 'streamer')
    .flatMap((streamer) => streamer.log().split('\n'))
    .filter((line) => line.includes('retention removed'))
    .map((line) => JSON.parse(line) as { partition: number; from: number; to: number });
}

const sizeOf = (ranges: readonly { from: number; to: number }[]) =>
  ranges.reduce((sum, { from, to }) => sum + to - from, 0);

async function expiredTotal(streamer: Member): Promise<number> {
  const text = await (await fetch(`${streamer.url}/metrics`)).text();
  return Number(/^millrace_expired_events_total (\d+)$/m.exec(text)?.[1]);
}

scenario('retention passes an open plan', fullOnly, async (rig) => {
  const { collector, proxy, streamer } = await startBehindProxy(rig);
  await sendFor(rig, 500, collector, rig.ledger);
  proxy.decide = (table) => (table === 'events' ? 'lose-request' : 'pass');
  await sendFor(rig, 1_500, collector, rig.ledger);
  await until('lost inserts', async () => proxy.counts['lose-request'] > 1);
  await streamer.end();
  const before = await rig.view();
  const expired = before.partitions.map(({ partition, commit, start, end }) => {
    const from = commit?.offset ?? start;
    // Of one partition a part of the plan, of the other perhaps more than the plan.
    return { partition, from, to: rig.random.integer(from + 1, partition === 0 ? from + 5 : end) };
  });
  await removeBefore(
    rig,
    expired.map(({ partition, to }) => ({ partition, offset: to })),
  );
  proxy.decide = () => 'pass';
  const heir = await rig.startStreamer();
  await rig.audit({ expired, isVerified: false });
  expect(sizeOf(namedExpired(rig))).toBe(sizeOf(expired));
  expect(await expiredTotal(heir)).toBe(sizeOf(expired));
});

scenario('retention passes a streamer that runs and is behind', fullOnly, async (rig) => {
  const { collector, proxy } = await startBehindProxy(rig);
  const load = rig.load([collector.url], { rate: 2_000 });
  for (let round = 0; round < byForm({ full: 5, short: 1 }); round++) {
    await sleep(1_000);
    proxy.decide = (table) => (table === 'events' ? 'lose-request' : 'pass');
    await sleep(2_500);
    const { partitions: now } = await rig.view();
    await removeBefore(
      rig,
      now.map(({ partition, end }) => ({ partition, offset: rig.random.integer(end >> 1, end) })),
    );
    await sleep(rig.random.integer(0, 1_000));
    proxy.decide = () => 'pass';
  }
  await load.stop();
  await rig.delivered(90_000);
  const named = namedExpired(rig);
  const finding = await rig.audit({ expired: named, isVerified: false });
  process.stdout.write(
    `${rig.name}  expired=${sizeOf(named)} in ${named.length} ranges, rows=${finding.rows}\n`,
  );
});
