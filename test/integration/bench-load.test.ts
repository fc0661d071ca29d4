import { afterAll, beforeAll, expect, test } from 'vitest';
import type * as RunLoad from '../../src/bench/load.ts';
import type { LoadOptions, LoadSecond } from '../../src/bench/load.ts';
import { createPayload } from '../../src/bench/payload.ts';
import { parseProfile } from '../../src/bench/profile.ts';
import { freePorts, type Program, startProgram, temporaryDirectory } from '../support/program.ts';

const directory = temporaryDirectory();
let collector: Program;
let url: URL;
let runLoad: typeof RunLoad.runLoad;

beforeAll(async () => {
  // As it is built: the thread of a load is a file of its own.
  const built = new URL('../../dist/bench/load.js', import.meta.url).href;
  ({ runLoad } = (await import(built)) as typeof RunLoad);
  const [port] = await freePorts(1);
  url = new URL(`http://127.0.0.1:${port}`);
  collector = await startProgram(['collect', '--data-dir', directory.path, '--listen', url.host]);
});
afterAll(async () => {
  await collector?.kill();
  directory.remove();
});

async function acceptedByCollector(): Promise<number> {
  const status = (await (await fetch(new URL('/status', url))).json()) as { events: { accepted: number } };
  return status.events.accepted;
}

const options = (profile: string, rest: Partial<LoadOptions>): LoadOptions => ({
  ...{ url, path: '/v1/events', profile: parseProfile(profile), payload: createPayload('mix') },
  ...{ connections: 16, connectionUse: 'kept', checksCertificate: true, answerTimeoutMs: 60_000 },
  stop: new AbortController().signal,
  ...rest,
});

test.each([
  ['single events over kept connections', { payload: createPayload('mix') }, 600],
  ['batches over kept connections', { payload: createPayload('mix', 7) }, 4_200],
  ['single events to /post', { path: '/post', payload: createPayload('classic') }, 600],
  ['batches over fresh connections', { connectionUse: 'fresh', payload: createPayload('mix', 2) }, 1_200],
] as const)('a load of %s is what the collector says it has', async (_, rest, events) => {
  const before = await acceptedByCollector();
  const seconds: LoadSecond[] = [];
  const result = await runLoad(
    options('line:100:500:2s', { ...rest, onSecond: (second) => seconds.push(second) }),
  );
  expect(result).toMatchObject({
    ...{ planned: 600, sent: 600, acknowledged: 600, failures: [] },
    ...{ eventsSent: events, eventsAcknowledged: events, eventsRejected: 0, eventsUnknown: 0 },
  });
  const partitions = [...result.receipts.partitions.values()];
  expect(partitions.reduce((sum, set) => sum + set.offsets, 0)).toBe(events);
  expect((await acceptedByCollector()) - before).toBe(events);
  expect([result.latency.count, result.lateness.count]).toEqual([600, 600]);
  expect(result.series).toEqual(seconds);
  expect(seconds.reduce((sum, { acknowledged }) => sum + acknowledged, 0)).toBe(600);
  expect(result.generatorBusy).toBeGreaterThan(0);
  expect(result.generatorBusy).toBeLessThanOrEqual(1);
});

test('a load that is stopped ends with what was sent', async () => {
  const before = await acceptedByCollector();
  const stop = new AbortController();
  const result = await runLoad(options('const:100:1h', { stop: stop.signal, onSecond: () => stop.abort() }));
  expect(result.acknowledged).toBeGreaterThan(0);
  expect(result.acknowledged).toBe(result.sent);
  expect((await acceptedByCollector()) - before).toBe(result.eventsAcknowledged);
});

test('a load on nobody is refused', async () => {
  const [port] = await freePorts(1);
  const nobody = options('const:100:1s', { url: new URL(`http://127.0.0.1:${port}`) });
  await expect(runLoad(nobody)).rejects.toMatchObject({
    exitCode: 69,
    message: expect.stringContaining('is the collector running'),
  });
});
