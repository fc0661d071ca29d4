import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FakeCollector, type Misbehave, startFakeCollector } from '../support/fake-collector.ts';
import { runSeed } from '../support/faults/form.ts';
import { createRandom } from '../support/faults/random.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const realLog = fileURLToPath(new URL('../../../shared/data/apache_access.log.gz', import.meta.url));

let directory: string;
let collector: FakeCollector | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-replay-'));
});
afterEach(() => collector?.close());
afterAll(() => rm(directory, { recursive: true }));

async function start(
  misbehave?: Misbehave,
  options?: { port?: number; delayMs?: number },
): Promise<FakeCollector> {
  collector = await startFakeCollector(misbehave, options);
  return collector;
}

async function write(name: string, content: string | Buffer): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

function eventsOf(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `{"event": "a","n":${n}}`);
}

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function launch(args: readonly string[], input?: string) {
  const child = spawn(process.execPath, [main, 'replay', ...args], { stdio: 'pipe' });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  if (input !== undefined) child.stdin.end(input);
  const ended = new Promise<Run>((resolve) => child.once('close', (code) => resolve({ code, out, err })));
  return { child, ended };
}

function replay(args: readonly string[], input?: string): Promise<Run> {
  return launch(args, input).ended;
}

describe('replay', () => {
  it('posts NDJSON exactly as it is, packed or not', async () => {
    const { url, events, requests, contentTypes } = await start();
    const lines = eventsOf(1_234);
    const plain = await write('plain.ndjson', `${lines.join('\r\n')}\r\n`);
    const packed = await write('packed.ndjson', gzipSync(lines.join('\n')));
    const first = await replay([plain, '--url', url, '--concurrency', '1']);
    expect(first).toMatchObject({ code: 0, err: '' });
    expect(first.out).toContain('1,234 events, offsets 0 to 1233');
    expect(events).toEqual(lines);
    expect(requests).toEqual([500, 500, 234]);
    expect(await replay([packed, '--url', url, '--concurrency', '1'])).toMatchObject({ code: 0 });
    expect(events.slice(1_234)).toEqual(lines);
    expect([...contentTypes]).toEqual(['application/x-ndjson']);
  });

  it('posts single events', async () => {
    const { url, events, requests, contentTypes } = await start();
    const file = await write('single.ndjson', '{"event":"a"}\n{"b":1}\n');
    const { code, out } = await replay([file, '--url', url, '--batch', '1', '--concurrency', '1', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      accepted: 1,
      rejected: 1,
      faults: [{ line: 2, code: 'INVALID_EVENT' }],
    });
    expect(events).toEqual(['{"event":"a"}']);
    expect(requests).toEqual([1, 1]);
    expect([...contentTypes]).toEqual(['application/json']);
  });

  it('names what was rejected, by line', async () => {
    const { url } = await start();
    const file = await write('partial.ndjson', '{"event":"a"}\n\n{broken\n{"event":"b"}\n{"c":1}\n');
    const { code, out } = await replay([file, '--url', url]);
    expect(code).toBe(1);
    expect(out).toMatch(/accepted +2\nrejected +2\n/);
    expect(out).toContain('line 3: INVALID_JSON: no\n  line 5: INVALID_EVENT: no');
  });

  it('makes events of an access log from standard input, and names what it cannot read', async () => {
    const { url, events } = await start();
    const line = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 1 "-" "-"';
    const { code, out } = await replay(['-', '--url', url, '--json'], `${line}\nhello\n${line}\n`);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ sent: 2, unreadable: 1, faults: [{ line: 2 }], resume_line: 3 });
    expect(events[0]).toBe(
      '{"event":"view","time":"2015-05-17T10:05:03.000Z","ip":"1.2.3.4","method":"GET","path":"/a?b","status":200,"bytes":1}',
    );
  });

  it('waits as told by a busy collector, and loses nothing', async () => {
    const { url, events } = await start((n, request, response) => {
      if (n > 2) return false;
      request.resume();
      const problem = JSON.stringify({ code: 'OVERLOADED', detail: 'full', retry: true });
      response.writeHead(n === 1 ? 503 : 429, { 'retry-after': '1' }).end(problem);
      return true;
    });
    const file = await write('busy.ndjson', eventsOf(10).join('\n'));
    const { code, out, err } = await replay([file, '--url', url, '--json']);
    expect(code).toBe(0);
    const summary = JSON.parse(out);
    expect(summary).toMatchObject({ accepted: 10, retries: 2, lost_answers: 0 });
    expect(summary.seconds).toBeGreaterThanOrEqual(2);
    expect(events).toEqual(eventsOf(10));
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toContain('OVERLOADED');
  });

  it('sends again when the connection was cut', async () => {
    const { url, events } = await start((n, request) => {
      if (n !== 2) return false;
      request.socket.destroy();
      return true;
    });
    const file = await write('cut.ndjson', eventsOf(30).join('\n'));
    const { code, out } = await replay([file, '--url', url, '--batch', '10', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ accepted: 30, retries: 1, lost_answers: 1 });
    expect([...events].sort()).toEqual(eventsOf(30).sort());
  });

  it('reaches a collector that starts later', async () => {
    const { url, close } = await start();
    await close();
    const file = await write('later.ndjson', eventsOf(10).join('\n'));
    const run = replay([file, '--url', url, '--json']);
    await new Promise((resolve) => setTimeout(resolve, 800));
    await start(undefined, { port: Number(new URL(url).port) });
    const { code, out } = await run;
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ accepted: 10, lost_answers: 0 });
  });

  it('gives up with 69, after the summary', async () => {
    const { url, close } = await start();
    await close();
    const file = await write('away.ndjson', eventsOf(10).join('\n'));
    const { code, out, err } = await replay([
      file,
      '--url',
      url,
      '--retry-for',
      '300ms',
      '--log-level',
      'silent',
    ]);
    expect(code).toBe(69);
    expect(err).toContain(url);
    expect(err).toContain('ECONNREFUSED');
    expect(out).toContain('failed after line 0');
  });

  it('stops when the answers are not those of a collector', async () => {
    const { url } = await start((_n, request, response) => {
      request.resume();
      response.writeHead(404).end('nothing here');
      return true;
    });
    const file = await write('wrong.ndjson', eventsOf(10_000).join('\n'));
    const { code, err } = await replay([file, '--url', url]);
    expect(code).toBe(69);
    expect(err).toContain('404');
  });

  it('keeps to the rate', async () => {
    const { url, requests, timesMs } = await start();
    const file = await write('rate.ndjson', eventsOf(600).join('\n'));
    const { out } = await replay([file, '--url', url, '--rate', '300', '--json']);
    const { seconds, rate } = JSON.parse(out);
    expect(seconds).toBeGreaterThan(1.9);
    expect(seconds).toBeLessThan(3);
    expect(rate).toBeLessThan(315);
    expect(Math.max(...requests)).toBeLessThanOrEqual(31);
    expect((timesMs.at(-1) ?? 0) - (timesMs[0] ?? 0)).toBeGreaterThan(1_700);
  });

  it('stops on Ctrl-C with a summary, and goes on from there', async () => {
    const { url, events } = await start(undefined, { delayMs: 50 });
    const lines = eventsOf(5_000);
    const file = await write('stop.ndjson', lines.join('\n'));
    const args = [file, '--url', url, '--batch', '10', '--json'];
    const { child, ended } = launch(args);
    while (events.length < 200) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGINT');
    const { code, out } = await ended;
    expect(code).toBe(1);
    const summary = JSON.parse(out);
    expect(summary).toMatchObject({ state: 'stopped', accepted: events.length, resume_line: events.length });
    expect(events.length).toBeLessThan(5_000);
    const rest = await replay([...args, '--skip', String(summary.resume_line), '--batch', '500']);
    expect(rest.code).toBe(0);
    expect([...events].sort()).toEqual(lines.sort());
  });

  it('stops on Ctrl-C while standard input is silent', async () => {
    const { url, events } = await start();
    const { child, ended } = launch(['-', '--url', url, '--json']);
    child.stdin.write('{"event":"a"}\n');
    while (events.length < 1) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGINT');
    const { code, out } = await ended;
    expect([code, JSON.parse(out).accepted]).toEqual([1, 1]);
  });

  it('names a file that cannot be read', async () => {
    const missing = await replay([join(directory, 'missing.log')]);
    expect(missing.code).toBe(2);
    expect(missing.err).toContain('missing.log');
    expect(await replay([directory])).toMatchObject({ code: 2 });
    const both = await replay([await write('both.ndjson', '{}'), '--rate', '1', '--speed', '1']);
    expect(both.code).toBe(2);
  });

  it('fails on a file that is neither, and on a packed file that is cut', async () => {
    const { url } = await start();
    const text = await replay([await write('prose.txt', 'It was\na dark night\n'), '--url', url]);
    expect(text.code).toBe(1);
    expect(text.err).toContain('no line of');
    const random = createRandom(runSeed);
    const packed = gzipSync(Array.from({ length: 5_000 }, () => `{"event":"${random.next()}"}`).join('\n'));
    const cut = await replay([await write('cut.gz', packed.subarray(0, packed.length / 2)), '--url', url]);
    expect(cut.code).toBe(1);
    expect(cut.err).toContain('to its end');
    expect(cut.out).toContain('failed after line');
  });

  it('has nothing to do for an empty file', async () => {
    const { url } = await start();
    expect(await replay([await write('empty', ''), '--url', url])).toMatchObject({ code: 0 });
  });

  it.skipIf(!existsSync(realLog))('posts a real access log (skipped where it is not there)', async () => {
    const { url, events } = await start();
    const { code, out } = await replay([realLog, '--url', url, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ sent: 10_000, accepted: 10_000, unreadable: 0 });
    expect(new Set(events.map((event) => JSON.parse(event).status))).toEqual(
      new Set([200, 206, 301, 304, 403, 404, 416, 500]),
    );
  });
});
