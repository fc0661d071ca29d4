import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createSite,
  freePorts,
  launchProgram,
  type Program,
  query,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
let program: Program;

beforeAll(async () => {
  directory = temporaryDirectory();
  site = await createSite(directory.path);
  program = await startProgram(['start', ...site.flags, '--batch-age', '100ms']);
});
afterAll(async () => {
  await program?.kill();
  directory.remove();
});

const where = () => [
  ...['--url', site.collector, '--streamer-url', site.streamer],
  ...['--clickhouse-url', site.clickhouse, '--data-dir', directory.path],
];
/** What is given later goes before what was given first. */
const bench = (...args: string[]) => {
  const form = args[0] === 'max' ? ['max'] : [];
  return runProgram(['bench', ...form, ...where(), ...args.slice(form.length)]);
};

/** An answer of its own; undefined: that of the real collector. */
type Lie = { readonly status: number; readonly body: string } | undefined;

/** A collector that hands everything on to the real one, but for posts that it has an answer of its own for. */
async function startLiar(answerTo: (post: { n: number; ofConnection: number; last: string }) => Lie) {
  let n = 0;
  const ofConnections = new WeakMap<Socket, number>();
  let last = '';
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const isPost = request.method === 'POST';
    const ofConnection = (ofConnections.get(request.socket) ?? 0) + 1;
    ofConnections.set(request.socket, ofConnection);
    const own = isPost ? answerTo({ n: ++n, ofConnection, last }) : undefined;
    const headers = { 'content-type': 'application/json' };
    const init = isPost ? { method: 'POST', headers, body } : {};
    const answer = own?.body ?? (await (await fetch(`${site.collector}${request.url}`, init)).text());
    if (isPost) last = answer;
    response.writeHead(own?.status ?? 200, headers).end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

/** A way to a server that can be shut. */
async function openDoor(url: string) {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  const server = createTcpServer((inner) => {
    const outer = connect(Number(port), hostname);
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => [inner, outer].map((one) => one.destroy()));
    }
    inner.pipe(outer).pipe(inner);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

async function countRows(): Promise<number> {
  const [row] = await query<{ rows: number }>(site.clickhouse, 'SELECT count() AS rows FROM events');
  return row?.rows ?? 0;
}

describe('millrace bench', () => {
  test('says for a person that every event is stored once, and what it took', async () => {
    const { code, stdout, stderr } = await bench('--load', 'const:500:3s');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^OK: .* of 500 requests\/s, p50 .* ms, p99 .* ms; each of 2,500 acknowledged events is stored exactly once, as it was posted\.$/m,
    );
    for (const part of [
      /^asked +const:500:3s: 500 requests\/s over 3 s, 1 event in each$/m,
      /^failed +0 of 1,500 requests$/m,
      /^cost +collector: [\d,]+ events per CPU-second, [\d,.]+ µs CPU per event, at most [\d,.]+ MiB of memory$/m,
      /^ +streamer: [\d,]+ rows per CPU-second/m,
      /^reconciled +2,500 events sent, warm-up included = 2,500 acknowledged \+ 0 rejected \+ 0 unknown$/m,
      /^ +2,500 receipts: 2,500 stored, 0 missing, 0 twice/m,
      /^content +2,500 as they were posted$/m,
      /^freshness +p50 [\d,.]+ ms, p99 [\d,.]+ ms, max [\d,.]+ ms/m,
      /^machine +\d+ cores? of .*Node\.js v/m,
      /buffer embedded, topic events, 1 partition: flushed to the disk/,
    ])
      expect(stdout).toMatch(part);
  });

  test('the same as JSON, on standard output and in a file, with every second', async () => {
    const file = join(directory.path, 'report.json');
    const rows = await countRows();
    const flags = [
      '--load',
      'line:50:150:2s',
      '--events-per-post',
      '10',
      '--payload',
      'mix',
      '--warm-up',
      '0s',
    ];
    const { code, stdout } = await bench(...flags, '--json', '--report', file, '--slo', 'max<1m,loss=0');
    const report = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(report);
    expect(report).toMatchObject({
      ...{
        kind: 'bench',
        verdict: 'ok',
        profile: 'line:50:150:2s',
        seconds: 2,
        asked_rate: 100,
        failures: [],
      },
      requests: { planned: 200, sent: 200, acknowledged: 200, failed: 0 },
      events: { sent: 2_000, acknowledged: 2_000, rejected: 0, unknown: 0 },
      options: {
        events_per_post: 10,
        payload: 'mix',
        connections: 64,
        connection_use: 'kept',
        warm_up_ms: 0,
      },
      collector_cost: { events: 2_000, is_counted_by_process: true },
      streamer_cost: { is_counted_by_process: true },
      reconciliation: { verdict: 'ok', receipts: 2_000, stored: 2_000, missing: 0, duplicated: 0 },
      freshness: { rows: 2_000 },
      slo: [{ holds: true }, { text: 'loss=0', value: 'loss 0', holds: true }, { text: 'errors<0.1%' }],
      collectors: [{ buffer: 'embedded', topic: 'events', partitions: 1 }],
      machine: { node: process.version },
    });
    expect(report.series.length).toBeGreaterThanOrEqual(2);
    const acknowledged = report.series.reduce(
      (sum: number, one: { acknowledged: number }) => sum + one.acknowledged,
      0,
    );
    expect(acknowledged).toBe(200);
    expect((await countRows()) - rows).toBe(2_000);
  });

  test('without reconciling it asks nothing of ClickHouse', async () => {
    const flags = ['--load', 'const:20:500ms', '--warm-up', '0s', '--no-reconcile'];
    const { code, stdout } = await bench(...flags, '--clickhouse-url', 'http://127.0.0.1:1');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^OK: .*the stored events were not checked\.$/m);
    expect(stdout).not.toContain('reconciled');
  });

  test('an objective that is missed: 99', async () => {
    const flags = ['--load', 'const:20:500ms', '--warm-up', '0s', '--slo', 'p50<1us,errors<50%'];
    const { code, stdout } = await bench(...flags);
    expect(code).toBe(99);
    expect(stdout).toMatch(/^MISSED: p50<1us \(p50 .* ms\)\./);
    expect(stdout).toMatch(/^objective +p50<1us: MISSED, p50 .* ms$/m);
    expect(stdout).toMatch(/^ +errors<50%: holds, errors 0%$/m);
  });

  test('events that the schema refuses are rejected, not lost; when all are: 69', async () => {
    const file = join(directory.path, 'mixed.ndjson');
    writeFileSync(file, '{"event":"good"}\n{"nothing":1}\n');
    const flags = ['--load', 'const:50:1s', '--warm-up', '0s', '--payload', file];
    const { code, stdout } = await bench(...flags, '--json');
    const { verdict, requests, failures, reconciliation } = JSON.parse(stdout);
    expect([code, verdict]).toEqual([1, 'failures']);
    expect(requests).toMatchObject({ planned: 50, acknowledged: 25, failed: 25 });
    expect(failures).toEqual([{ reason: expect.stringContaining('422'), requests: 25 }]);
    expect(reconciliation).toMatchObject({ sent: 50, acknowledged: 25, rejected: 25, stored: 25 });
    writeFileSync(file, '{"nothing":1}\n');
    const refused = await bench('--payload', file);
    expect([refused.code, refused.stdout]).toEqual([69, '']);
    expect(refused.stderr).toMatch(/accepted none of the 2000 warm-up requests: 422/);
  });

  test('Ctrl-C ends it early, with what was measured and stored until then', async () => {
    const running = launchProgram([
      'bench',
      '--load',
      'const:100:10m',
      '--warm-up',
      '0s',
      '--json',
      ...where(),
    ]);
    const rows = await countRows();
    await until('events', async () => (await countRows()) > rows);
    running.child.kill('SIGINT');
    expect(await running.exited).toBe(1);
    const report = JSON.parse(running.output.stdout);
    expect(report).toMatchObject({ verdict: 'stopped', reconciliation: { verdict: 'ok' } });
    expect(report.requests.acknowledged).toBeGreaterThan(0);
    expect(report.requests.acknowledged).toBeLessThan(60_000);
    expect(report.reconciliation.stored).toBe(report.requests.acknowledged);
  });

  test('Ctrl-C in the warm-up: its events are reconciled, and the report is written', async () => {
    const file = join(directory.path, 'stopped.json');
    const rows = await countRows();
    const flags = ['--load', 'const:100:1s', '--warm-up', '10m', '--report', file];
    const running = launchProgram(['bench', ...where(), ...flags]);
    await until('events', async () => (await countRows()) > rows);
    running.child.kill('SIGINT');
    expect(await running.exited).toBe(1);
    const report = JSON.parse(readFileSync(file, 'utf8'));
    expect(report).toMatchObject({ verdict: 'stopped', requests: { planned: 0 }, latency_ms: { p50: null } });
    expect(report.reconciliation.stored).toBe(report.reconciliation.acknowledged);
    expect((await countRows()) - rows).toBe(report.reconciliation.stored);
    expect(running.output.stdout).toMatch(/^STOPPED before anything was measured; each of /);
  });

  test('ClickHouse that goes away takes no figure of the load with it: 69', async () => {
    const door = await openDoor(site.clickhouse);
    const rows = await countRows();
    const flags = ['--load', 'const:100:10m', '--warm-up', '0s', '--clickhouse-url', door.url];
    const running = launchProgram(['bench', ...where(), ...flags, '--json']);
    await until('events', async () => (await countRows()) > rows);
    await door.close();
    running.child.kill('SIGINT');
    expect(await running.exited).toBe(69);
    const report = JSON.parse(running.output.stdout);
    expect(report).toMatchObject({ verdict: 'unavailable', reconciliation: null });
    expect(report.stored_error).toContain('--clickhouse-url');
    expect(report.requests.acknowledged).toBeGreaterThan(0);
  });

  test('receipts given twice are found without reconciling, too: 98', async () => {
    const liar = await startLiar(({ n, last }) => (n % 10 === 5 ? { status: 200, body: last } : undefined));
    const flags = ['--load', 'const:50:1s', '--warm-up', '0s', '--no-reconcile', '--url', liar.url];
    const { code, stdout } = await bench(...flags);
    const max = await bench('max', '--step-time', '500ms', '--no-reconcile', '--url', liar.url);
    await liar.close();
    expect([code, max.code]).toEqual([98, 98]);
    expect(stdout).toMatch(/^TWICE: 5 receipts issued twice; /);
    expect(max.stdout).toMatch(
      /^TWICE: \d+ receipts issued twice, at 1,000 requests\/s; the search was ended\.$/m,
    );
  });

  test('an event that was acknowledged with the receipt of another is loss: 98', async () => {
    const flags = ['--load', 'const:500:1s', '--warm-up', '0s'];
    const liar = await startLiar(({ n, last }) => (n % 100 === 50 ? { status: 200, body: last } : undefined));
    const { code, stdout } = await bench(...flags, '--url', liar.url);
    await liar.close();
    expect(code).toBe(98);
    expect(stdout).toMatch(/^TWICE: 5 receipts issued twice; /);
  });

  test('receipts of events that do not come are not delivered: 99', async () => {
    const flags = ['--load', 'const:500:1s', '--warm-up', '0s', '--wait', '1s'];
    const liar = await startLiar(({ n }) =>
      n <= 3 ? { status: 200, body: `{"status":"ok","partition":1,"offset":${n}}` } : undefined,
    );
    const { code, stdout } = await bench(...flags, '--url', liar.url);
    await liar.close();
    expect(code).toBe(99);
    expect(stdout).toMatch(/^NOT DELIVERED: 3 acknowledged events are not stored yet; /);
    expect(stdout).toMatch(/^ +partition 1: offsets 1 to 3 not delivered yet$/m);
    expect(stdout).toContain('run millrace verify');
  });
});

describe('what is wrong before anything is sent', () => {
  test.each([
    ['no collector', ['--url', 'http://127.0.0.1:1'], 69, '--url'],
    ['no ClickHouse', ['--clickhouse-url', 'http://127.0.0.1:1'], 69, '--no-reconcile'],
    ['no tables', ['--clickhouse-database', 'nowhere'], 69, '--clickhouse-database'],
    ['no payload', ['--payload', '/no/such/file'], 2, '/no/such/file'],
    ['a bad profile', ['--load', 'const:x:1s'], 78, '--load'],
    ['bad objectives', ['--slo', 'p98<1ms'], 78, "'p98<1ms'"],
    ['an objective that is not looked at', ['--no-reconcile', '--slo', 'loss=0'], 2, '--slo loss=0'],
    ['an option of another form', ['--rounds', '5'], 2, "--rounds does not apply to 'bench'"],
    ['a report that cannot be written', ['--report', '/no/such/dir/file'], 2, '--report'],
  ])('%s', async (_, flags, exitCode, part) => {
    const rows = await countRows();
    const { code, stdout, stderr } = await runProgram(['bench', ...where(), ...flags]);
    expect([code, stdout]).toEqual([exitCode, '']);
    expect(stderr).toContain(part);
    expect(await countRows()).toBe(rows);
  });

  test.each([
    [['more'], "'bench' takes no arguments, or max, or compare <url-A> <url-B>, not 'more'"],
    [['compare', 'http://127.0.0.1:1'], "'bench' takes no arguments"],
    [['compare', 'a', 'http://127.0.0.1:1'], 'a must be an http:// or https:// URL'],
    [['max', '--load', 'const:1:1s'], "--load does not apply to 'bench max'"],
    [['compare', 'http://127.0.0.1:1', 'http://127.0.0.1:1', '--no-reconcile'], "to 'bench compare'"],
  ])('wrong use: %s', async (args, part) => {
    const { code, stderr } = await runProgram(['bench', ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(part);
  });
});

describe('millrace bench max', () => {
  const quick = ['--step-time', '500ms', '--confirm-time', '500ms', '--warm-up', '100ms'];

  test('finds a rate that holds, confirmed three times and reconciled', async () => {
    // 100 posts of each run are taken, each run having a connection of its own: 200 a second.
    const capacity = 200;
    const liar = await startLiar(({ ofConnection }) =>
      ofConnection > 100 ? { status: 503, body: '{"code":"OVERLOADED"}' } : undefined,
    );
    const flags = [...quick, '--start-rate', '50', '--slo', 'p50<1m,loss=0', '--url', liar.url];
    const { code, stdout, stderr } = await bench('max', ...flags, '--connections', '1', '--json');
    await liar.close();
    const report = JSON.parse(stdout);
    expect([code, report.verdict]).toEqual([0, 'ok']);
    expect(report.slo).toBe('p50<1m,loss=0,errors<0.1%');
    expect(report.rate).toBeLessThanOrEqual(capacity);
    for (const step of report.steps) {
      if (step.rate > capacity)
        expect(step).toMatchObject({ holds: false, failures: [{ reason: '503 OVERLOADED' }] });
    }
    for (const step of report.steps.slice(-3)) {
      expect(step).toMatchObject({ phase: 'confirm', rate: report.rate, holds: true });
      expect(step.reconciliation).toMatchObject({ verdict: 'ok', missing: 0, duplicated: 0 });
    }
    const lines = stderr.split('\n').filter((line) => /^(search|confirm) .*\/s .*(holds|fails)/.test(line));
    expect(lines).toHaveLength(report.steps.length);
  });

  test('a streamer that delivers nothing ends the search: 99', async () => {
    const liar = await startLiar(({ n }) => ({
      status: 200,
      body: `{"status":"ok","partition":1,"offset":${n}}`,
    }));
    const { code, stdout } = await bench('max', ...quick, '--wait', '1s', '--url', liar.url);
    await liar.close();
    expect(code).toBe(99);
    expect(stdout).toMatch(
      /^NOT DELIVERED: .* at 1,000 requests\/s was stored within 1 s: check .* streamer/m,
    );
  });

  test('no rate holds: 99', async () => {
    const { code, stdout } = await bench('max', ...quick, '--slo', 'max<1us', '--start-rate', '1');
    expect(code).toBe(99);
    expect(stdout).toMatch(/^NO RATE HOLDS max<1us,errors<0\.1%: the last one tried was 1 requests\/s\.$/m);
  });
});

describe('millrace bench compare', () => {
  test('runs both by turns, and says how they differ', async () => {
    const other = temporaryDirectory();
    const [port] = await freePorts(1);
    const collector = await startProgram([
      'collect',
      '--data-dir',
      other.path,
      '--listen',
      `127.0.0.1:${port}`,
    ]);
    try {
      const flags = ['--load', 'const:100:500ms', '--warm-up', '100ms', '--rounds', '3'];
      const args = ['bench', 'compare', site.collector, `http://127.0.0.1:${port}`, ...flags];
      const { code, stdout, stderr } = await runProgram([...args, '--json']);
      expect(code).toBe(0);
      const report = JSON.parse(stdout);
      expect(report).toMatchObject({ kind: 'compare', verdict: 'ok', profile: 'const:100:500ms' });
      expect(report.rounds.map(({ first }: { first: string }) => first)).toEqual(['a', 'b', 'a']);
      expect(report.collectors.map(({ url }: { url: string }) => url)).toEqual(args.slice(2, 4));
      for (const name of ['cpu_us_per_event', 'p50_ms', 'p99_ms', 'achieved_rate'] as const) {
        const { a, b, ratio } = report.figures[name];
        expect([a > 0, b > 0, ratio.rounds]).toEqual([true, true, 3]);
        expect(ratio.low).toBeLessThanOrEqual(ratio.high);
      }
      expect(stderr.match(/^round \d [AB]: /gm)).toEqual(
        ['1 A', '1 B', '2 B', '2 A', '3 A', '3 B'].map((run) => `round ${run}: `),
      );
      const person = await runProgram(args);
      expect(person.stdout).toMatch(/^3 rounds of const:100:500ms; .*CPU per event/);
      expect(person.stdout).toMatch(
        /^ +p99 ms +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ to [\d.]+ +(no difference|B is \w+)$/m,
      );
    } finally {
      await collector.kill();
      other.remove();
    }
  });

  test('a collector that goes away keeps the rounds that are over: 69', async () => {
    const liar = await startLiar(() => undefined);
    const flags = ['--load', 'const:50:200ms', '--warm-up', '0s', '--rounds', '500', '--json'];
    const running = launchProgram(['bench', 'compare', site.collector, liar.url, ...flags]);
    await until('two rounds', async () => running.output.stderr.includes('round 2 A'));
    await liar.close();
    expect(await running.exited).toBe(69);
    const report = JSON.parse(running.output.stdout);
    expect(report).toMatchObject({ verdict: 'unavailable', error: expect.stringContaining(liar.url) });
    expect(report.rounds.length).toBeGreaterThanOrEqual(2);
  });

  test('Ctrl-C keeps the rounds that are over', async () => {
    const flags = ['--load', 'const:50:200ms', '--warm-up', '0s', '--rounds', '500', '--json'];
    const running = launchProgram(['bench', 'compare', site.collector, site.collector, ...flags]);
    await until('two rounds', async () => running.output.stderr.includes('round 2 A'));
    running.child.kill('SIGINT');
    expect(await running.exited).toBe(1);
    const report = JSON.parse(running.output.stdout);
    expect(report.verdict).toBe('stopped');
    expect(report.rounds.length).toBeGreaterThanOrEqual(2);
    expect(report.figures.p50_ms.ratio.rounds).toBe(report.rounds.length);
  });
});
