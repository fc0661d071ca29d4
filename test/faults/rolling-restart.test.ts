/**
 * The balancer of docker/ in front of two collectors, which are restarted one after the other under load, as in a
 * roll-out: no client may notice, and nothing may be lost or stored twice.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { parse } from 'yaml';
import { areUp, type Haproxy, hasHaproxy, startHaproxy } from '../support/haproxy.ts';
import {
  freePorts,
  launchProgram,
  type Program,
  runProgram,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

const brokers = inject('kafkaBrokers');
const isInstalled = await hasHaproxy();
// The check of docker/haproxy: there a test that is skipped would look like one that passed.
if (process.env.TEST_REQUIRE_HAPROXY === '1' && !isInstalled) throw new Error('haproxy is not installed');
if (!isInstalled) console.warn('haproxy is not installed: rolling restarts are not tested');

const compose = parse(readFileSync(new URL('../../docker/compose.yaml', import.meta.url), 'utf8'), {
  merge: true,
});
const drainDelay: string = compose.services['collector-1'].environment.MILLRACE_DRAIN_DELAY;

const directory = temporaryDirectory();
const topic = `rolling-${randomUUID()}`;
const kafka = ['--buffer', 'kafka', '--kafka-brokers', brokers ?? '', '--kafka-topic', topic];
const group = ['--kafka-group', topic];
const running: Program[] = [];
let ports: number[];
let clickhouse: string[];
let streamer: string;
let collectors: [Program, Program];
let proxy: Haproxy;

async function start(args: readonly string[]): Promise<Program> {
  const program = await startProgram(args);
  running.push(program);
  return program;
}

function startCollector(port: number | undefined): Promise<Program> {
  const listen = ['--listen', `127.0.0.1:${port}`, '--drain-delay', drainDelay];
  return start(['collect', ...listen, ...kafka, ...group, ...clickhouse]);
}

/** Asks the proxy. Of a post, no more is sent than `body`, whatever its head promises. */
async function ask(path: string, options: RequestOptions = {}, body?: string) {
  // Its certificate is for tests.
  const sent = request(`${proxy.url}${path}`, { rejectUnauthorized: false, agent: false, ...options });
  if (options.method === 'POST') sent.write(body);
  else sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const answer = { status: response.statusCode, headers: response.headers, text: await text(response) };
  sent.destroy();
  return answer;
}

/** Events that both collectors have accepted. */
async function countAccepted(): Promise<number> {
  const counts = [ports[0], ports[1]].map(async (port) => {
    const status = await fetch(`http://127.0.0.1:${port}/status`);
    return ((await status.json()) as { events: { accepted: number } }).events.accepted;
  });
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

describe.skipIf(brokers === undefined || !isInstalled)('two collectors behind HAProxy', () => {
  beforeAll(async () => {
    ports = await freePorts(4);
    // The password of ClickHouse is in its data directory.
    clickhouse = ['--clickhouse-url', `http://127.0.0.1:${ports[2]}`, '--data-dir', directory.path];
    streamer = `127.0.0.1:${ports[3]}`;
    await start(['clickhouse', ...clickhouse]);
    await start(['stream', '--stream-listen', streamer, ...kafka, ...group, ...clickhouse]);
    collectors = [await startCollector(ports[0]), await startCollector(ports[1])];
    proxy = await startHaproxy([`127.0.0.1:${ports[0]}`, `127.0.0.1:${ports[1]}`], directory.path);
  });
  afterAll(async () => {
    await proxy?.stop();
    for (const program of running) await program.kill();
    directory.remove();
  });

  test('what the proxy answers itself has the shape of the collector, and hides what is not for the public', async () => {
    const hidden = await ask('/metrics');
    expect(hidden.status).toBe(404);
    expect(hidden.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(hidden.text)).toMatchObject({ code: 'NOT_FOUND', retry: false });
    // More than its buffer holds.
    const start = 'x'.repeat(65_536);
    const large = await ask(
      '/v1/events',
      { method: 'POST', headers: { 'content-length': 5_242_881 } },
      start,
    );
    expect(large.status).toBe(413);
    expect(large.headers['access-control-allow-origin']).toBe('*');
    expect(JSON.parse(large.text)).toMatchObject({ code: 'BODY_TOO_LARGE' });
    const headers = { 'content-type': 'application/json', 'content-length': 23 };
    const taken = await ask('/v1/events', { method: 'POST', headers }, '{"event":"through-tls"}');
    expect(taken).toMatchObject({ status: 200, text: expect.stringContaining('"offset":') });
    expect(taken.headers['strict-transport-security']).toMatch(/^max-age=/);
    expect(await (await fetch(`${proxy.metricsUrl}/metrics`)).text()).toContain('haproxy_server_status{');
    expect((await fetch(`${proxy.metricsUrl}/healthz`)).status).toBe(200);
  });

  test('2,000 requests/s go on while both are restarted: none fails, and each event is stored exactly once', async () => {
    const load = (...args: string[]) =>
      launchProgram([
        ...['bench', '--url', proxy.url, '--no-tls-verify', '--kafka-topic', topic, '--json'],
        ...['--streamer-url', `http://${streamer}`, ...clickhouse, ...args],
      ]);
    // What it asks before it begins may meet a collector that drains; then it does not begin.
    const before = await countAccepted();
    const begun = (events: number) =>
      until('the load', async () => (await countAccepted()) - before >= events);
    // Clients that post once and leave, and ones that keep their connections.
    const fresh = load('--load', 'const:100:40s', '--fresh-connections', '--no-reconcile');
    await begun(1);
    const kept = load('--load', 'const:1900:40s');
    await begun(2_000);
    const restarts: (number | string)[] = [];
    for (const [i, port] of [ports[0], ports[1]].entries()) {
      restarts.push(await collectors[i as 0 | 1].stop());
      collectors[i as 0 | 1] = await startCollector(port);
      await until('HAProxy takes it back', () => areUp(proxy));
    }
    expect(restarts).toEqual([0, 0]);
    expect(
      [kept.child.exitCode, fresh.child.exitCode],
      `the load outlasts the restarts: ${kept.output.stderr}${fresh.output.stderr}`,
    ).toEqual([null, null]);
    for (const [name, bench] of Object.entries({ kept, fresh })) {
      await bench.exited;
      const report = JSON.parse(bench.output.stdout);
      // Those that were never sent say that this machine is too busy for the load, and nothing of the collectors.
      const failures = report.failures.filter(({ reason }: { reason: string }) => !/^not sent/.test(reason));
      expect({ name, failures }, `${bench.output.stderr}${proxy.log()}`).toEqual({ name, failures: [] });
      if (name === 'kept') expect(report.reconciliation).toMatchObject({ missing: 0, duplicated: 0 });
      const { requests, latency_ms, achieved_rate, asked_rate } = report;
      const failed = failures.reduce((sum: number, { requests: n }: { requests: number }) => sum + n, 0);
      console.log(
        `rolling restart: ${failed} of ${requests.sent} requests failed over ${name} connections, at ${achieved_rate} of ${asked_rate} requests/s, p99 ${latency_ms.p99} ms, max ${latency_ms.max} ms`,
      );
    }
    const verified = await runProgram([
      'verify',
      '--content',
      '--wait',
      '60s',
      ...kafka,
      ...group,
      ...clickhouse,
    ]);
    expect([verified.code, verified.stdout]).toEqual([0, expect.any(String)]);
  }, 400_000);
});
