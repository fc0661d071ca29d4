import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts, type Program, startProgram, temporaryDirectory } from '../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
let program: Program;
let port: number;

/** Sends text as it is; the status and the body of the first answer. */
function exchange(text: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let got = '';
    socket.setEncoding('latin1').on('data', (piece: string) => {
      got += piece;
      const [head, body = ''] = got.split('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(head ?? '')?.[1] ?? Number.NaN);
      if (body.length >= length) socket.destroy();
    });
    socket.once('error', reject);
    socket.once('close', () => {
      resolve({ status: Number(got.split(' ', 2)[1]), body: got.slice(got.indexOf('\r\n\r\n') + 4) });
    });
  });
}

async function post(body: string | Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(`http://127.0.0.1:${port}/v1/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: new Uint8Array(Buffer.from(body)),
  });
  const text = await response.text();
  return { status: response.status, length: text.length, body: JSON.parse(text) as Record<string, unknown> };
}

describe.each(['uws', 'node'])('by the server %s', (server) => {
  beforeAll(async () => {
    directory = temporaryDirectory();
    [port = 0] = await freePorts(1);
    program = await startProgram([
      ...['collect', '--data-dir', directory.path, '--listen', `127.0.0.1:${port}`, '--http-server', server],
    ]);
  });
  afterAll(async () => {
    await program?.kill();
    directory.remove();
  });

  test('a body that becomes a hundred times as large is refused, a small one may', async () => {
    const event = (bytes: number) => gzipSync(`{"event":"a","x":"${'a'.repeat(bytes)}"}`);
    const packed = { 'content-encoding': 'gzip' };
    expect(await post(event(60_000), packed)).toMatchObject({ status: 200 });
    const large = await post(event(250_000), packed);
    expect([large.status, large.body.code]).toEqual([413, 'BODY_TOO_LARGE']);
    expect(large.body.detail).toContain('100 times');
    expect(await post(`{"event":"a","x":"${'a'.repeat(250_000)}"}`)).toMatchObject({ status: 200 });
  });

  test('a body of many small values is refused, and a small one gets no large answer', async () => {
    const many = await post(`{"event":"a","x":[${'{},'.repeat(300_000)}{}]}`);
    expect([many.status, many.body.code]).toEqual([413, 'TOO_MANY_VALUES']);
    const small = await post(gzipSync(`[${'1,'.repeat(19_999)}1]`), { 'content-encoding': 'gzip' });
    expect(small.status).toBe(422);
    expect(small.length).toBeLessThan(60_000);
    const lines = { 'content-encoding': 'gzip', 'content-type': 'application/x-ndjson' };
    expect(await post(gzipSync('x\n'.repeat(20_000)), lines)).toMatchObject({
      status: 400,
      body: { code: 'INVALID_JSON' },
    });
  });

  test('a post whose end is not clear is refused', async () => {
    const head = 'POST /v1/events HTTP/1.1\r\nHost: a\r\n';
    const chunks = '\r\n\r\nd\r\n{"event":"a"}\r\n0\r\n\r\n';
    const codings = ['xchunked', 'identity', 'gzip, chunked', 'identity\r\nTransfer-Encoding: chunked'];
    for (const coding of [...codings, 'chunked, identity', 'chunked\r\nTransfer-Encoding: identity']) {
      const { status } = await exchange(`${head}Transfer-Encoding: ${coding}${chunks}`);
      expect([coding, status]).toEqual([coding, 400]);
    }
    for (const line of ['GET /status', 'OPTIONS /v1/events', 'GET /nowhere']) {
      const { status } = await exchange(
        `${line} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: xchunked\r\n\r\n`,
      );
      expect([line, status]).toEqual([line, 400]);
    }
    expect(await exchange(`${head}Transfer-Encoding: chunked${chunks}`)).toMatchObject({ status: 200 });
  });

  test('a request with two hosts is refused', async () => {
    for (const hosts of ['Host: 127.0.0.1\r\nHost: evil.example', 'Host: evil.example\r\nHOST: 127.0.0.1']) {
      expect(await exchange(`GET /status HTTP/1.1\r\n${hosts}\r\n\r\n`)).toMatchObject({ status: 400 });
      const body = 'Content-Length: 13\r\n\r\n{"event":"a"}';
      expect(await exchange(`POST /v1/events HTTP/1.1\r\n${hosts}\r\n${body}`)).toMatchObject({
        status: 400,
      });
    }
  });
});
