import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { Agent, request } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  freePorts,
  type Program,
  post,
  runCommand,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

interface Running {
  readonly url: string;
  readonly program: Program;
  stored(): Promise<number>;
}

const directories: ReturnType<typeof temporaryDirectory>[] = [];
const running: Program[] = [];

async function startCollector(...flags: string[]): Promise<Running> {
  const directory = temporaryDirectory();
  directories.push(directory);
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const program = await startProgram([
    'collect',
    '--data-dir',
    directory.path,
    '--listen',
    `127.0.0.1:${port}`,
    ...flags,
  ]);
  running.push(program);
  // The next offset is the number of events that were ever stored.
  const stored = async () =>
    ((await (await post(url, { event: 'probe' })).json()) as { offset: number }).offset;
  return { url, program, stored };
}

async function stopAll(): Promise<void> {
  for (const program of running.splice(0)) await program.kill();
  for (const directory of directories.splice(0)) directory.remove();
}

interface Problem {
  code: string;
  detail: string;
  retry: boolean;
  status: number;
}

async function expectProblem(response: Response, status: number, code: string): Promise<Problem> {
  const problem = (await response.json()) as Problem;
  expect([response.status, problem.code]).toEqual([status, code]);
  expect(problem.status).toBe(status);
  expect(problem.retry).toBe(status === 503);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  const isOfPosts = /\/(v1\/events|post)$/.test(response.url);
  expect(response.headers.get('access-control-allow-origin')).toBe(isOfPosts ? '*' : null);
  return problem;
}

describe.each(['auto', 'node'])('one collector, http-server %s', (kind) => {
  let collector: Running;
  beforeAll(async () => {
    collector = await startCollector(
      '--http-server',
      kind,
      '--max-body-bytes',
      '64KiB',
      '--max-event-bytes',
      '8KiB',
      '--max-batch-events',
      '500',
    );
  });
  afterAll(stopAll);

  const send = (
    body: string | Uint8Array | ReadableStream,
    headers: Record<string, string> = {},
    path = '/v1/events',
  ) =>
    fetch(collector.url + path, {
      method: 'POST',
      body: body as string,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
    });

  describe('takes', () => {
    test('a single event, and answers with its receipt in both shapes', async () => {
      const first = (await (await send('{"event":"a"}')).json()) as { offset: number };
      expect(first).toEqual({ status: 'ok', partition: 0, offset: expect.any(Number) });
      expect(await (await send('{"event":"a"}', {}, '/post')).json()).toEqual({
        status: 'ok',
        partition: 0,
        Offset: first.offset + 1,
      });
    });

    const lines = '{"event":"a"}\n{"event":"b"}\n';
    test.each([
      ['an array', '[{"event":"a"}, {"event":"b"}]', 'application/json'],
      ['an envelope', '{"batch":[{"event":"a"}, {"event":"b"}]}', 'application/json; charset=utf-8'],
      ['NDJSON', lines, 'application/x-ndjson'],
      ['NDJSON as a beacon', lines, 'text/plain;charset=UTF-8'],
      ['an array as a beacon', '[{"event":"a"}, {"event":"b"}]', 'text/plain'],
    ])('%s', async (_, body, type) => {
      const answer = await (await send(body, { 'content-type': type })).json();
      expect(answer).toMatchObject({
        status: 'ok',
        accepted: 2,
        rejected: [],
        receipts: [{ partition: 0, count: 2 }],
      });
    });

    test.each([
      ['gzip', gzipSync],
      ['deflate', deflateSync],
      ['br', brotliCompressSync],
    ] as const)('%s', async (encoding, compress) => {
      const response = await send(compress(lines), {
        'content-encoding': encoding,
        'content-type': 'application/x-ndjson',
      });
      expect(await response.json()).toMatchObject({ accepted: 2 });
    });

    test('a body in many small pieces', async () => {
      const text = `[${Array.from({ length: 300 }, (_, i) => `{"event":"e${i}"}`).join(',')}]`;
      const pieces = new ReadableStream({
        async start(controller) {
          for (let at = 0; at < text.length; at += 997) {
            controller.enqueue(Buffer.from(text.slice(at, at + 997)));
            await sleep(1);
          }
          controller.close();
        },
      });
      expect(await (await send(pieces)).json()).toMatchObject({ accepted: 300 });
    });
  });

  describe('refuses', () => {
    test.each([
      ['unreadable JSON', '{"event":', {}, 400, 'INVALID_JSON'],
      ['an empty body', '', {}, 400, 'EMPTY_BODY'],
      ['bytes that are not UTF-8', Buffer.from([0x22, 0xc3, 0x22]), {}, 400, 'INVALID_JSON'],
      ['what is not gzip', 'plain', { 'content-encoding': 'gzip' }, 400, 'INVALID_ENCODING'],
      [
        'half a gzip',
        gzipSync('{"event":"a"}').subarray(0, 20),
        { 'content-encoding': 'gzip' },
        400,
        'INVALID_ENCODING',
      ],
      ['a body over the limit', `{"event":"${'a'.repeat(70_000)}"}`, {}, 413, 'BODY_TOO_LARGE'],
      [
        'a bomb',
        gzipSync(Buffer.alloc(1_000_000, 'a')),
        { 'content-encoding': 'gzip' },
        413,
        'BODY_TOO_LARGE',
      ],
      ['an event over the limit', `{"event":"a","x":"${'a'.repeat(9_000)}"}`, {}, 413, 'EVENT_TOO_LARGE'],
      ['too many events', `[${'1,'.repeat(500)}1]`, {}, 413, 'TOO_MANY_EVENTS'],
      [
        'an unknown type',
        'a=b',
        { 'content-type': 'application/x-www-form-urlencoded' },
        415,
        'UNSUPPORTED_TYPE',
      ],
      ['a key twice', '{"event":"a","n":1,"n":2}', {}, 422, 'DUPLICATE_KEY'],
      ['a number beyond 64 bits', '{"event":"a","n":18446744073709551616}', {}, 422, 'NUMBER_OUT_OF_RANGE'],
      ['half a character in a key', '{"event":"a","\\ud83d":1}', {}, 422, 'INVALID_KEY'],
      ['an unknown encoding', 'a', { 'content-encoding': 'compress' }, 415, 'UNSUPPORTED_ENCODING'],
      ['two encodings', 'a', { 'content-encoding': 'gzip, br' }, 415, 'UNSUPPORTED_ENCODING'],
      ['a missing event', '{"os":"linux"}', {}, 422, 'INVALID_EVENT'],
      ['a wrong type', '{"event":"a","os":7}', {}, 422, 'INVALID_EVENT'],
      ['what is no object', '"event"', {}, 422, 'INVALID_EVENT'],
      ['deep nesting', `{"event":"a","x":${'['.repeat(3_000)}${']'.repeat(3_000)}}`, {}, 422, 'TOO_DEEP'],
    ])('%s', async (_, body, headers, status, code) => {
      const before = await collector.stored();
      const problem = await expectProblem(await send(body, headers as Record<string, string>), status, code);
      expect(problem.detail).not.toBe('');
      expect(await collector.stored()).toBe(before + 1);
    });

    test('a wrong type with the path and the reason', async () => {
      const problem = await expectProblem(await send('{"event":"a","os":7}'), 422, 'INVALID_EVENT');
      expect(problem.detail).toBe('/os must be string or null');
    });

    test('an unknown path, and a wrong method with Allow', async () => {
      await expectProblem(await fetch(`${collector.url}/nothing`), 404, 'NOT_FOUND');
      const get = await fetch(`${collector.url}/post`);
      await expectProblem(get, 405, 'METHOD_NOT_ALLOWED');
      expect(get.headers.get('allow')).toBe('POST, OPTIONS');
      const put = await fetch(`${collector.url}/status`, { method: 'DELETE' });
      await expectProblem(put, 405, 'METHOD_NOT_ALLOWED');
      expect(put.headers.get('allow')).toBe('GET, HEAD');
    });

    test.each([
      ['/livez', 200],
      ['/readyz', 200],
      ['/status', 200],
      ['/metrics', 200],
      ['/v1/events', 405],
      ['/nothing', 404],
    ])('HEAD %s as GET, without a body', async (path, status) => {
      const dispatcher = new Agent({ connections: 1, pipelining: 1 });
      // On one connection: a body would be taken for the start of the second answer.
      for (let i = 0; i < 2; i++) {
        const head = await request(`${collector.url}${path}`, { method: 'HEAD', dispatcher });
        expect(head.statusCode).toBe(status);
        expect(Number(head.headers['content-length'])).toBeGreaterThan(0);
        expect(await head.body.text()).toBe('');
      }
      const get = await request(`${collector.url}${path}`, { dispatcher });
      expect([get.statusCode, (await get.body.text()).length > 0]).toEqual([status, true]);
      await dispatcher.close();
    });

    test('each bad event of a batch by its index, and stores the rest', async () => {
      const before = await collector.stored();
      const body = '{"event":"a"}\n{"event":1}\n{oops\n{"event":"b"}\n{"event":"c","status":"x"}\n';
      const response = await send(body, { 'content-type': 'application/x-ndjson' });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({
        status: 'partial',
        accepted: 2,
        rejected: [
          { index: 1, code: 'INVALID_EVENT', detail: '/event must be string' },
          { index: 2, code: 'INVALID_JSON', detail: expect.any(String) },
          { index: 4, code: 'INVALID_EVENT', detail: '/status must be integer or null' },
        ],
        receipts: [{ partition: 0, offset: before + 1, count: 2 }],
      });
    });

    test('a batch without one good event, naming each', async () => {
      const response = await send('[{"event":1},{}]');
      const problem = (await response.clone().json()) as { rejected: { index: number }[] };
      await expectProblem(response, 422, 'INVALID_EVENT');
      expect(problem.rejected.map(({ index }) => index)).toEqual([0, 1]);
    });

    test('a request that is cut off half-way: nothing is stored', async () => {
      const before = await collector.stored();
      const inFlight = async () => {
        const status = await (await fetch(`${collector.url}/status`)).json();
        return (status as { in_flight: { requests: number; bytes: number } }).in_flight;
      };
      for (const head of ['content-length: 100', 'transfer-encoding: chunked']) {
        const socket = await openSocket(collector.url);
        const chunk = head.startsWith('t') ? 'e\r\n{"event":"a"}\n\r\n' : '{"event":"a"}';
        socket.write(
          `POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${head}\r\n\r\n${chunk}`,
        );
        await until('the request', async () => (await inFlight()).bytes > 0);
        socket.destroy();
        await until('its end', async () => (await inFlight()).requests === 0);
      }
      expect(await collector.stored()).toBe(before + 1);
      expect(await inFlight()).toMatchObject({ requests: 0, bytes: 0 });
    });

    test('hundreds of unreadable lines, one by one', async () => {
      const lines = 'x\n'.repeat(400);
      const response = await send(lines, { 'content-type': 'application/x-ndjson' });
      const problem = (await response.clone().json()) as { rejected: unknown[] };
      await expectProblem(response, 400, 'INVALID_JSON');
      expect(problem.rejected).toHaveLength(400);
    });

    test('garbage instead of HTTP, without harm', async () => {
      const socket = await openSocket(collector.url);
      socket.write(Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256)));
      await Promise.race([once(socket, 'close'), sleep(1_000)]);
      socket.destroy();
      expect((await send('{"event":"a"}')).status).toBe(200);
    });
  });

  test('browsers may post from any page: preflight and errors carry the CORS headers', async () => {
    const preflight = await fetch(`${collector.url}/v1/events`, { method: 'OPTIONS' });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('content-type');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('traceparent');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key');
  });
});

describe.each(['auto', 'node'])('ids, http-server %s', (kind) => {
  afterEach(stopAll);

  test('what is sent again meets the first in one partition, from any worker', async () => {
    // node:http of Node.js 20 cannot share a port.
    const workers = kind === 'node' ? '1' : '2';
    const { url } = await startCollector(
      ...['--http-server', kind, '--log-partitions', '8', '--workers', workers],
    );
    const send = async (body: unknown, key?: string) => {
      const headers = { connection: 'close', ...(key === undefined ? {} : { 'idempotency-key': key }) };
      const response = await post(url, body, headers);
      expect(response.status).toBe(200);
      return (await response.json()) as {
        partition: number;
        offset: number;
        receipts: { partition: number; count: number }[];
      };
    };
    const batch = Array.from({ length: 10 }, (_, i) => ({
      event: 'a',
      ...(i % 2 ? { id: `own ${i}` } : {}),
    }));
    const placesOf = ({ receipts }: Awaited<ReturnType<typeof send>>) =>
      receipts.flatMap(({ partition, count }) => Array.from({ length: count }, () => partition));
    const first = await send({ event: 'a' }, 'key');
    const places = placesOf(await send(batch, 'batch'));
    expect(new Set(places).size).toBeGreaterThan(2);
    for (let i = 0; i < 10; i++) {
      const again = await send({ event: 'a' }, 'key');
      expect(again.partition).toBe(first.partition);
      expect(again.offset).toBeGreaterThan(first.offset);
      expect(placesOf(await send(batch, 'batch'))).toEqual(places);
      expect((await send({ event: 'b', id: 'own 3' })).partition).toBe(places[3]);
    }
  });

  test('a key that is none is refused', async () => {
    const { url } = await startCollector('--http-server', kind);
    const problem = await expectProblem(
      await post(url, { event: 'a' }, { 'idempotency-key': 'k'.repeat(201) }),
      400,
      'INVALID_IDEMPOTENCY_KEY',
    );
    expect(problem.detail).toContain('200');
  });

  test.each([
    ['sent twice', 'idempotency-key: a\r\nidempotency-key: b'],
    ['cut off in its quotes', 'idempotency-key: "42-日'],
  ])('a key that was %s is refused', async (_, lines) => {
    const { url } = await startCollector('--http-server', kind);
    const socket = await openSocket(url);
    socket.write(
      `POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 13\r\n${lines}\r\n\r\n{"event":"a"}`,
    );
    let answer = '';
    for await (const piece of socket) {
      answer += piece;
      if (answer.includes('}')) break;
    }
    expect(answer).toContain('INVALID_IDEMPOTENCY_KEY');
  });
});

describe('limits of the process', () => {
  afterEach(stopAll);

  test('above the cap of bytes in flight: 503 with Retry-After, and all is well afterwards', async () => {
    const { url } = await startCollector('--max-in-flight-bytes', '1MiB', '--max-body-bytes', '1MiB');
    const slow = await openSocket(url);
    slow.write(
      'POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n',
    );
    slow.write(Buffer.alloc(800_000, ' '));
    await until('held bytes', async () => {
      const status = (await (await fetch(`${url}/status`)).json()) as { in_flight: { bytes: number } };
      return status.in_flight.bytes >= 800_000;
    });
    const response = await post(url, [{ event: 'x'.repeat(200) }, { event: 'a', pad: 'y'.repeat(400_000) }]);
    await expectProblem(response, 503, 'OVERLOADED');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    slow.destroy();
    await until('an accepted event', async () => (await post(url, { event: 'a' })).status === 200);
  });

  test('a body in pieces of one byte takes no more memory than its bytes', async () => {
    const { url, program } = await startCollector();
    const socket = await openSocket(url);
    socket.on('error', () => {});
    socket.write(
      'POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
    );
    for (let i = 0; i < 20; i++) {
      socket.write('1\r\n \r\n'.repeat(50_000));
      await sleep(50);
    }
    await until('a million pieces', async () => {
      const status = (await (await fetch(`${url}/status`)).json()) as { in_flight: { bytes: number } };
      return status.in_flight.bytes >= 1_000_000;
    });
    const status = readFileSync(`/proc/${program.child.pid}/status`, 'utf8');
    expect(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1])).toBeLessThan(250_000);
    socket.destroy();
  });

  test('a million bad lines in one request do not end the process', async () => {
    const { url } = await startCollector('--max-batch-events', '1000000');
    const response = await fetch(`${url}/v1/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: 'x\n'.repeat(200_000),
    });
    expect(response.status).toBe(400);
    await response.arrayBuffer();
    expect((await post(url, { event: 'a' })).status).toBe(200);
  });

  test('a full log: 503 that names the limit, and readiness stays honest', async () => {
    const { url } = await startCollector('--log-max-bytes', '16MiB');
    const batch = Array.from({ length: 20 }, () => ({ event: 'a', pad: 'z'.repeat(200_000) }));
    const refused = await until('a refusal', async () => {
      const response = await post(url, batch);
      return response.status === 503 && response;
    });
    const problem = await expectProblem(refused, 503, 'BUFFER_UNAVAILABLE');
    expect(problem.detail).toContain('--log-max-bytes');
  });
});

describe('workers', () => {
  afterEach(stopAll);

  test('share the port, and any of them answers /metrics for all', async () => {
    const { url, program } = await startCollector('--workers', '3');
    for (let i = 0; i < 30; i++) {
      const agent = new Agent();
      const { statusCode, body } = await request(`${url}/v1/events`, {
        method: 'POST',
        dispatcher: agent,
        headers: { 'content-type': 'application/json' },
        body: '{"event":"a"}',
      });
      await body.dump();
      await agent.close();
      expect(statusCode).toBe(200);
    }
    for (let i = 0; i < 5; i++) {
      const text = await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text();
      expect(text).toContain('millrace_events_accepted_total 30\n');
      expect(text).toContain('millrace_http_request_duration_seconds_count 30\n');
    }
    expect(await program.stop()).toBe(0);
  });

  test('a worker that dies is replaced, and its counts remain as they were scraped', async () => {
    const { url, program } = await startCollector('--workers', '2');
    for (let i = 0; i < 20; i++) await post(url, { event: 'a' });
    const countsAll = async () => {
      const text = await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text();
      return text.includes('millrace_events_accepted_total 20\n');
    };
    // What was scraped once must not go back.
    expect(await countsAll()).toBe(true);
    const victim = Number((await pidsOf(program)).at(0));
    process.kill(victim, 'SIGKILL');
    await until('a new worker', async () => {
      const pids = await pidsOf(program);
      return pids.length === 2 && !pids.includes(String(victim));
    });
    await until('all counts', countsAll);
  });
});

describe.each(['auto', 'node'])('stopping, http-server %s', (kind) => {
  afterEach(stopAll);

  test('under load answers every request that it took, resets none, and stores each acknowledged event', async () => {
    const { url, program } = await startCollector('--http-server', kind);
    const agent = new Agent({ connections: 16, pipelining: 1 });
    let acknowledged = 0;
    const failures: string[] = [];
    let isOver = false;
    const clients = Array.from({ length: 16 }, async () => {
      while (!isOver) {
        try {
          const { statusCode, body } = await request(`${url}/v1/events`, {
            method: 'POST',
            dispatcher: agent,
            headers: { 'content-type': 'application/json' },
            body: '{"event":"load"}',
          });
          await body.dump();
          if (statusCode === 200) acknowledged++;
          else if (statusCode !== 503) failures.push(String(statusCode));
        } catch (error) {
          const code = (error as { code?: string }).code ?? String(error);
          // A new connection is refused once the collector has stopped listening: a balancer tries the next.
          if (code !== 'ECONNREFUSED') failures.push(code);
          else isOver = true;
        }
      }
    });
    await until('a load', async () => acknowledged > 100);
    expect(await program.stop()).toBe(0);
    isOver = true;
    await Promise.all(clients);
    await agent.close();
    expect(failures).toEqual([]);
  });
});

async function openSocket(url: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

async function pidsOf(program: Program): Promise<string[]> {
  const { stdout } = await runCommand('pgrep', ['-P', String(program.child.pid)]);
  return stdout.split('\n').filter(Boolean);
}
