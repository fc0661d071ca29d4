import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as type from '../../src/config/types.ts';
import { createErrorReporter } from '../../src/error-reports.ts';

interface Received {
  readonly path: string;
  readonly auth: string;
  readonly event: Record<string, unknown>;
  readonly text: string;
}

let server: Server;
let received: Received[];
let status: number;

beforeEach(async () => {
  received = [];
  status = 200;
  server = createServer((req, res) => {
    let text = '';
    req.on('data', (piece) => {
      text += piece;
    });
    req.once('end', () => {
      const event = JSON.parse(text.split('\n')[2] ?? '') as Record<string, unknown>;
      received.push({ path: req.url ?? '', auth: String(req.headers['x-sentry-auth']), event, text });
      res.writeHead(status, { 'retry-after': '60' }).end('{}');
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function createReporter(secrets: readonly string[] = []) {
  const dsn = new URL(`http://publickey@127.0.0.1:${(server.address() as AddressInfo).port}/sub/42`);
  return createErrorReporter({ dsn, service: 'millrace-stream', secrets });
}

describe('an error report', () => {
  test('is an envelope with what happened and where', async () => {
    const reporter = createReporter();
    const fields = {
      err: new TypeError('no such thing'),
      topic: 'events',
      partition: 3,
      event: { name: 'Ada' },
    };
    reporter.report({ level: 'fatal', message: 'delivery cannot go on', fields });
    await reporter.flush();
    expect(received).toMatchObject([
      {
        path: '/sub/api/42/envelope/',
        auth: expect.stringMatching(/^Sentry sentry_version=7, .*sentry_key=publickey$/),
        event: {
          event_id: expect.stringMatching(/^[\da-f]{32}$/),
          level: 'fatal',
          logger: 'millrace-stream',
          message: { formatted: 'delivery cannot go on' },
          tags: { topic: 'events', partition: '3' },
          exception: { values: [{ type: 'TypeError', value: 'no such thing' }] },
        },
      },
    ]);
    expect(received[0]?.text).not.toContain('Ada');
    expect(received[0]?.text).toContain('error-reports.test.ts');
  });

  test('has no secret in it', async () => {
    const reporter = createReporter(['correct horse']);
    const err = new Error('http://u:hunter22@db/ said: correct horse');
    reporter.report({ level: 'error', message: `x ${err.message}`, fields: { err } });
    await reporter.flush();
    expect(received).toHaveLength(1);
    expect(received[0]?.text).not.toMatch(/hunter22|correct horse/);
  });

  test('is one of ten a minute', async () => {
    const reporter = createReporter();
    for (let i = 0; i < 50; i++) reporter.report({ level: 'error', message: `${i}`, fields: {} });
    await reporter.flush();
    expect(received.length).toBeGreaterThanOrEqual(10);
    expect(received.length).toBeLessThanOrEqual(20);
  });

  test('is not sent while the receiver wants none, nor again', async () => {
    status = 429;
    const reporter = createReporter();
    reporter.report({ level: 'error', message: 'a', fields: {} });
    await reporter.flush();
    reporter.report({ level: 'error', message: 'b', fields: {} });
    await reporter.flush();
    expect(received).toHaveLength(1);
  });

  test('that cannot be sent is nobody else’s trouble', async () => {
    const reporter = createReporter();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    reporter.report({ level: 'error', message: 'a', fields: {} });
    await reporter.flush();
    expect(received).toEqual([]);
  });
});

test.each([
  ['https://key@o1.ingest.example.org/42', true],
  ['https://o1.ingest.example.org/42', false],
  ['https://key@example.org/', false],
  ['key@example.org/1', false],
])('%s is a DSN: %s', (text, isDsn) => {
  expect(type.dsn.safeParse(text).success).toBe(isDsn);
});
