import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../../bench/load/yandex-tank/make-ammo.mjs', import.meta.url));

async function makeAmmo(...args: string[]): Promise<Buffer> {
  const options = { encoding: 'buffer' as const };
  return (await promisify(execFile)(process.execPath, [script, ...args], options)).stdout;
}

/** As yandex-tank reads it: a line with length and tag, that many bytes, and any ends of line before the next one. */
function readAmmo(bytes: Buffer): { request: Buffer; tag: string | undefined }[] {
  const shots = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\n', at);
    const [length, tag] = bytes.toString('utf8', at, end).trim().split(' ');
    const size = Number(length);
    const request = bytes.subarray(end + 1, end + 1 + size);
    expect(request).toHaveLength(size);
    shots.push({ request, tag });
    at = end + 1 + size;
    while (bytes[at] === 10 || bytes[at] === 13) at++;
  }
  return shots;
}

/** Sends the requests over one connection; resolves with what a server made of them. */
async function post(requests: Buffer[]): Promise<{ message: IncomingMessage; body: string }[]> {
  const seen: { message: IncomingMessage; body: string }[] = [];
  const server = createServer((message, response) => {
    let body = '';
    message.on('data', (data) => (body += data));
    message.on('end', () => {
      seen.push({ message, body });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const done = new Promise((resolve) => socket.once('close', resolve));
  socket.end(Buffer.concat(requests)).resume();
  await done;
  server.close();
  return seen;
}

test('single posts', async () => {
  const shots = readAmmo(await makeAmmo('--host', 'collector:8080', '--path', '/post'));
  expect(new Set(shots.map(({ tag }) => tag))).toEqual(new Set(['single']));
  const posts = await post(shots.map(({ request }) => request));
  expect(posts).toHaveLength(24);
  const bodies = new Set(posts.map(({ body }) => body));
  expect(bodies.size).toBe(24);
  expect(bodies).toContain('{"event":"view","os":"linux","browser":"chrome"}');
  for (const { message } of posts) {
    expect(`${message.method} ${message.url}`).toBe('POST /post');
    expect(message.headers).toMatchObject({ host: 'collector:8080', 'content-type': 'application/json' });
  }
});

test('batches of events of a file, which are all posted and fill the last batch', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'millrace-ammo-')), 'events.ndjson');
  const events = ['{"event":"ä"}', '{"event":"b"}', '{"event":"c"}'];
  writeFileSync(file, `${events.join('\n')}\n\n`);
  const shots = readAmmo(await makeAmmo('--file', file, '--events', '2', '--close'));
  expect(shots.map(({ tag }) => tag)).toEqual(['batch', 'batch']);
  const posts = await Promise.all(shots.map(({ request }) => post([request])));
  expect(posts.flat().map(({ body }) => body)).toEqual([
    `${events[0]}\n${events[1]}\n`,
    `${events[2]}\n${events[0]}\n`,
  ]);
  expect(posts[0]?.[0]?.message.headers).toMatchObject({
    'content-type': 'application/x-ndjson',
    connection: 'close',
  });
});

test('a number of events that is none is wrong usage', async () => {
  await expect(makeAmmo('--events', '0')).rejects.toMatchObject({ code: 2 });
});
