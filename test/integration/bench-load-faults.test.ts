import { afterEach, describe, expect, test } from 'vitest';
import { findEndpoint } from '../../src/bench/endpoint.ts';
import { generateLoad } from '../../src/bench/generator.ts';
import {
  createTask,
  type LoadOptions,
  type LoadResult,
  type LoadSecond,
  unpackRequests,
} from '../../src/bench/load.ts';
import { createPayload } from '../../src/bench/payload.ts';
import { parseProfile } from '../../src/bench/profile.ts';
import {
  formatAnswer,
  formatReceipt,
  type OddServer,
  type Post,
  startOddServer,
} from '../support/odd-server.ts';
import { freePorts } from '../support/program.ts';
import { selfSigned } from '../support/self-signed.ts';

const servers: OddServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function start(answer: (post: Post) => void, tls?: typeof selfSigned): Promise<OddServer> {
  const server = await startOddServer(answer, tls);
  servers.push(server);
  return server;
}

interface Wishes extends Partial<Omit<LoadOptions, 'url' | 'profile' | 'payload'>> {
  readonly profile?: string;
  readonly eventsPerPost?: number;
}

/** What a generator in this thread finds. */
async function load({ url }: { url: URL }, wishes: Wishes = {}): Promise<LoadResult> {
  const { profile = 'const:100:200ms', eventsPerPost = 1, ...rest } = wishes;
  const options: LoadOptions = {
    ...{ url, path: '/v1/events', connections: 4, connectionUse: 'kept', checksCertificate: true },
    ...{ answerTimeoutMs: 20_000, stop: new AbortController().signal },
    profile: parseProfile(profile),
    payload: createPayload('classic', eventsPerPost),
    ...rest,
  };
  const { checksCertificate, answerTimeoutMs } = options;
  const result = await generateLoad({
    ...{ longestWaitMs: 20_000, onSecond: () => {}, eventsPerPost, ...options },
    endpoint: await findEndpoint(url, { checksCertificate, timeoutMs: answerTimeoutMs }),
    requests: unpackRequests(createTask(options)),
  });
  expectToAddUp(result);
  return result;
}

/** What holds in every run. */
function expectToAddUp(result: LoadResult): void {
  const sum = (pick: (second: LoadSecond) => number) =>
    result.series.reduce((total, second) => total + pick(second), 0);
  const failed = result.failures.reduce((total, { requests }) => total + requests, 0);
  expect(result.acknowledged + failed).toBe(result.planned);
  expect(result.eventsAcknowledged + result.eventsRejected + result.eventsUnknown).toBe(result.eventsSent);
  expect(sum(({ planned }) => planned)).toBe(result.planned);
  expect(sum(({ sent }) => sent)).toBe(result.sent);
  expect(sum(({ acknowledged }) => acknowledged)).toBe(result.acknowledged);
  expect(sum((second) => second.failed)).toBe(failed);
  expect(result.lateness.count).toBe(result.planned);
  expect(result.series.at(-1)?.waiting).toBe(0);
}

const offsetsOf = ({ receipts }: LoadResult) =>
  [...receipts.partitions.values()].reduce((sum, set) => sum + set.offsets, 0);

const accept = ({ socket, n }: Post) => socket.write(formatReceipt(n));

/** Twenty requests meet one kind of answer. */
const answers: readonly (readonly [string, (post: Post) => void, string, 'rejected' | 'unknown'])[] = [
  [
    'refuses',
    ({ socket }) => socket.write(formatAnswer(422, { code: 'INVALID_EVENT' })),
    '422 INVALID_EVENT',
    'rejected',
  ],
  [
    'is overloaded',
    ({ socket }) =>
      socket.write(
        formatAnswer(503, '{"type":"urn:millrace:problem:OVERLOADED","title":"x","code":"OVERLOADED"}'),
      ),
    '503 OVERLOADED',
    'rejected',
  ],
  [
    'does not know',
    ({ socket }) =>
      socket.write(formatAnswer(503, '{"type":"urn:millrace:problem:OUTCOME_UNKNOWN","title":"x"}')),
    '503 OUTCOME_UNKNOWN',
    'unknown',
  ],
  ['breaks', ({ socket }) => socket.write(formatAnswer(500, 'oops')), '500', 'unknown'],
  ['waits for another', ({ socket }) => socket.write(formatAnswer(504, '<html>')), '504', 'unknown'],
  [
    'gives no receipt',
    ({ socket }) => socket.write(formatAnswer(200, { status: 'ok' })),
    '200 without fitting receipts',
    'unknown',
  ],
  [
    'gives receipts of another request',
    ({ socket }) =>
      socket.write(
        formatAnswer(200, {
          status: 'ok',
          accepted: 2,
          rejected: [],
          receipts: [{ partition: 0, offset: 1, count: 2 }],
        }),
      ),
    '200 without fitting receipts',
    'unknown',
  ],
  [
    'speaks no HTTP',
    ({ socket }) => socket.write('what?\r\n\r\n'),
    'no HTTP answer: the status line is no HTTP/1.1',
    'unknown',
  ],
  [
    'answers twice',
    ({ socket, n }) => socket.write(formatReceipt(n) + formatReceipt(n)),
    'no HTTP answer: bytes follow the answer',
    'unknown',
  ],
  ['ends the connection', ({ socket }) => socket.end(), 'closed before the answer', 'unknown'],
  [
    'ends the connection within the answer',
    ({ socket, n }) => socket.end(formatReceipt(n).slice(0, -1)),
    'no HTTP answer: the connection ended within the answer',
    'unknown',
  ],
  ['breaks the connection', ({ socket }) => socket.resetAndDestroy(), 'ECONNRESET', 'unknown'],
];

describe('a server that', () => {
  test.each(answers)('%s', async (_, answer, reason, events) => {
    for (const connectionUse of ['kept', 'fresh'] as const) {
      const server = await start(answer);
      const result = await load(server, { connectionUse });
      expect(result).toMatchObject({
        ...{ planned: 20, sent: 20, acknowledged: 0, eventsAcknowledged: 0 },
        failures: [{ reason, requests: 20 }],
        eventsRejected: events === 'rejected' ? 20 : 0,
        eventsUnknown: events === 'unknown' ? 20 : 0,
      });
      expect(server.posts).toBe(20);
    }
  });

  test('accepts, whatever the form of its answers, and the receipts are all there', async () => {
    const forms = [
      ({ n }: Post) => formatReceipt(n),
      ({ n }: Post) => formatAnswer(200, { status: 'ok', partition: 0, Offset: n }),
      ({ n }: Post) => formatAnswer(202, { status: 'ok', spool: 'collector-ü', offset: n }),
      ({ n }: Post) =>
        formatAnswer(
          200,
          `{ "status": "ok", "accepted": 1, "receipts": [{"partition": 3, "offset": ${n}, "count": 1}] }`,
        ),
    ];
    const server = await start((post) => post.socket.write(forms[post.n % forms.length]?.(post) ?? ''));
    const result = await load(server);
    expect(result).toMatchObject({ planned: 20, acknowledged: 20, eventsAcknowledged: 20, failures: [] });
    expect(result.latency.count).toBe(20);
    const { partitions, spools } = result.receipts;
    expect([...partitions].map(([partition, set]) => [partition, set.offsets])).toEqual([
      [0, 10],
      [3, 5],
    ]);
    expect([...spools].map(([spool, set]) => [spool, set.offsets])).toEqual([['collector-ü', 5]]);
  });

  test('names one offset again and again is found out by its receipts', async () => {
    const server = await start(({ socket }) => socket.write(formatReceipt(7)));
    const result = await load(server);
    expect(result.eventsAcknowledged).toBe(20);
    expect(offsetsOf(result)).toBe(1);
  });

  test('takes parts of batches', async () => {
    const bodies = new Set<string>();
    const server = await start(({ n, body, head, socket }) => {
      bodies.add(`${/content-type: (\S+)/i.exec(head)?.[1]} ${body.split('\n').length - 1}`);
      const rejected = n % 2 === 0 ? [] : [{ index: 1, code: 'INVALID_EVENT' }];
      const count = 3 - rejected.length;
      const receipts = [{ partition: 0, offset: 3 * n, count }];
      socket.write(formatAnswer(200, { status: 'partial', accepted: count, rejected, receipts }));
    });
    const result = await load(server, { eventsPerPost: 3 });
    expect([...bodies]).toEqual(['application/x-ndjson 3']);
    expect(result).toMatchObject({
      ...{ planned: 20, acknowledged: 20, failures: [] },
      ...{ eventsSent: 60, eventsAcknowledged: 50, eventsRejected: 10, eventsUnknown: 0 },
    });
    expect(offsetsOf(result)).toBe(50);
  });

  test('ends connections after an answer, or while they are idle, loses nothing', async () => {
    const last = await start(({ n, socket }) =>
      socket.end(formatAnswer(200, { partition: 0, offset: n }, 'Connection: close\r\n')),
    );
    expect(await load(last)).toMatchObject({ acknowledged: 20, failures: [] });
    // A pause without a word: the next request comes later than the end of the connection.
    const idle = await start(({ n, socket }) => {
      socket.write(formatReceipt(n));
      setTimeout(() => socket.end(), 20);
    });
    expect(await load(idle, { profile: 'const:2:2s', connections: 1 })).toMatchObject({ acknowledged: 4 });
    expect(idle.connections).toBeGreaterThan(3);
  });

  test('stalls delays all requests that were due meanwhile, sent or not', async () => {
    const stallMs = 1_000;
    let end: Promise<void> | undefined;
    const server = await start(({ n, socket }) => {
      if (n === 20)
        end = new Promise((resolve) => {
          setTimeout(resolve, stallMs);
        });
      if (n < 20) socket.write(formatReceipt(n));
      else void end?.then(() => socket.write(formatReceipt(n)));
    });
    const result = await load(server, { profile: 'const:100:2s' });
    expect(result).toMatchObject({ planned: 200, acknowledged: 200 });
    // Those planned in the first 0.9 s of the stall waited for at least 0.1 s, though four of them at most were sent.
    const delayed = 100 * (1 - 90 / 200);
    expect(result.latency.percentile(delayed)).toBeGreaterThanOrEqual(95_000);
    expect(result.latency.max).toBeGreaterThanOrEqual(950_000);
    expect(Math.max(...result.series.map(({ waiting }) => waiting))).toBeGreaterThan(0);
  });

  test('never answers makes requests time out, and others wait in vain', async () => {
    const server = await start(() => {});
    const result = await load(server, {
      ...{ profile: 'const:100:1s', connections: 2 },
      ...{ answerTimeoutMs: 300, longestWaitMs: 100 },
    });
    const reasons = new Map(result.failures.map(({ reason, requests }) => [reason, requests]));
    expect([...reasons.keys()].sort()).toEqual(['not sent: all connections busy', 'timeout']);
    expect(reasons.get('timeout')).toBe(result.sent);
    expect(server.posts).toBe(result.sent);
    expect(result).toMatchObject({ planned: 100, acknowledged: 0, eventsUnknown: result.sent });
    // Each of them counts, with the answer timeout at least.
    expect([result.latency.count, result.answers]).toEqual([100, 0]);
  });

  test('goes away leaves requests refused, which surely were not sent', async () => {
    const server = await start((post) => {
      if (post.n < 10) accept(post);
      else void server.close();
    });
    const result = await load(server, { profile: 'const:100:1s' });
    expect(result.acknowledged).toBe(10);
    expect(result.eventsUnknown).toBeLessThanOrEqual(4);
    const refused = result.failures.find(({ reason }) => reason === 'ECONNREFUSED');
    expect(refused?.requests).toBeGreaterThanOrEqual(80);
  });
});

describe('a run', () => {
  test('over TLS checks the certificate unless it is told not to', async () => {
    const server = await start(accept, selfSigned);
    await expect(load(server)).rejects.toMatchObject({
      exitCode: 69,
      message: expect.stringContaining('certificate is not trusted'),
    });
    for (const connectionUse of ['kept', 'fresh'] as const) {
      const result = await load(server, { checksCertificate: false, connectionUse });
      expect(result).toMatchObject({ planned: 20, acknowledged: 20 });
    }
    expect(server.posts).toBe(40);
  });

  test('uses a fresh connection for each request, or all of the kept ones in turn', async () => {
    const ports = new Set<number | undefined>();
    const server = await start((post) => {
      ports.add(post.socket.remotePort);
      accept(post);
    });
    await load(server);
    expect(ports.size).toBe(4);
    ports.clear();
    await load(server, { connectionUse: 'fresh' });
    expect(ports.size).toBe(20);
  });

  test('replaces kept connections that are idle, before servers usually end them', async () => {
    const server = await start(accept);
    const profile = 'const:10:200ms,const:0:5s,const:10:200ms';
    expect(await load(server, { profile })).toMatchObject({ planned: 4, acknowledged: 4, failures: [] });
    // One to see whether anybody is there, four, and four in their place.
    expect(server.connections).toBeGreaterThanOrEqual(9);
  });

  test('that is stopped sends nothing more, and waits for the answers', async () => {
    const stop = new AbortController();
    const server = await start((post) => {
      if (post.n === 30) stop.abort();
      setTimeout(() => accept(post), 50);
    });
    const result = await load(server, { profile: 'const:100:1h', connections: 10, stop: stop.signal });
    expect(result.sent).toBe(server.posts);
    expect(result.acknowledged).toBe(result.sent);
    expect(result.planned).toBeLessThan(100_000);
    const aborted = await load(server, { stop: AbortSignal.abort() });
    expect(aborted.planned).toBeLessThanOrEqual(20);
  });

  test('against nobody says so', async () => {
    const [port] = await freePorts(1);
    await expect(load({ url: new URL(`http://127.0.0.1:${port}`) })).rejects.toMatchObject({
      exitCode: 69,
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});
