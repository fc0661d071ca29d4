/** What events, ClickHouse and collectors say reaches a terminal without what a terminal acts on. */
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { narrowSchema } from '../support/narrow-schema.ts';
import { formatAnswer, type OddServer, startOddServer } from '../support/odd-server.ts';
import {
  createSite,
  type Program,
  query,
  runProgram,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

/** Clears a line, a screen by C1, turns the order of what follows, hides it, and two ends of a line. */
const evil = '\u001b[2K\u009b2J\u202eabc\u2066\u200b\ufeff\u2028\u007f';
/** Everything that must not come out, in standard output and standard error. */
const acted = /[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}]/u;

async function run(args: readonly string[]) {
  const result = await runProgram(args);
  expect(result.stdout).not.toMatch(acted);
  expect(result.stderr).not.toMatch(acted);
  return result;
}

describe('of events', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let site: Site;
  let program: Program;
  let clickhouse: string[];

  beforeAll(async () => {
    directory = temporaryDirectory();
    site = await createSite(directory.path);
    // The password is in the data directory.
    clickhouse = ['--clickhouse-url', site.clickhouse, '--data-dir', directory.path];
    program = await startProgram(['start', ...site.flags, '--schema', narrowSchema]);
    const good = JSON.stringify({ event: 'good', text: evil, [evil]: 1 });
    const bad = `{"event":"bad","narrow":256,"text":${JSON.stringify(evil)}}`;
    const response = await fetch(new URL('/v1/events', site.collector), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `[${good},${bad}]`,
    });
    expect(await response.json()).toMatchObject({ accepted: 2 });
    await until('both are there', async () => {
      const sql = 'SELECT (SELECT count() FROM events) + (SELECT count() FROM dead_letters) AS n';
      const [counts] = await query<{ n: number }>(site.clickhouse, sql);
      return Number(counts?.n) >= 2;
    });
  });

  afterAll(async () => {
    await program?.kill();
    directory?.remove();
  });

  test('tail: the same value', async () => {
    const { stdout } = await run(['tail', ...clickhouse, '--limit', '10', '--no-follow']);
    expect(JSON.parse(stdout).data).toMatchObject({ text: evil, [evil]: 1 });
  });

  test('dead-letters list, as text and as JSON', async () => {
    const { stdout } = await run(['dead-letters', 'list', ...clickhouse]);
    expect(stdout).toContain('\\u{9b}2J\\u{202e}abc');
    const { stdout: json } = await run(['dead-letters', 'list', ...clickhouse, '--json']);
    expect(JSON.parse(json).raw).toContain(JSON.stringify(evil));
  });

  test('dead-letters replay, verify and check', async () => {
    expect((await run(['dead-letters', 'replay', ...clickhouse])).stdout).toContain('still refused 1');
    const { stdout } = await run(['dead-letters', 'replay', ...clickhouse, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ refused: 1 });
    expect((await run(['verify', ...clickhouse])).code).toBe(0);
    expect(JSON.parse((await run(['verify', ...clickhouse, '--json'])).stdout)).toBeDefined();
    await run(['check', ...clickhouse]);
  });
});

describe('of a ClickHouse that says anything', () => {
  let server: Server;
  let url: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      response.writeHead(500, { 'x-clickhouse-exception-code': '62' });
      response.end(`Code: 62. DB::Exception: ${evil}`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  });

  afterAll(() => {
    server?.close();
  });

  test.each([
    [['tail', '--no-follow']],
    [['dead-letters', 'list']],
    [['dead-letters', 'replay']],
    [['check']],
    [['bench', '--load', 'const:1:1s']],
    [['stream', '--stream-listen', '127.0.0.1:0']],
  ])('%j', async (args) => {
    const directory = temporaryDirectory();
    try {
      const { code, stdout, stderr } = await run([
        ...args,
        '--clickhouse-url',
        url,
        ...(args[0] === 'check' || args[0] === 'stream' ? ['--data-dir', directory.path] : []),
      ]);
      expect(code).not.toBe(0);
      expect(`${stdout}${stderr}`).not.toBe('');
    } finally {
      directory.remove();
    }
  });
});

describe('of a collector that says anything', () => {
  let server: OddServer;

  beforeAll(async () => {
    const errors = [{ index: 0, code: 'SCHEMA_MISMATCH', detail: evil }];
    server = await startOddServer(({ socket }) =>
      socket.write(
        formatAnswer(400, {
          status: 'error',
          code: 'SCHEMA_MISMATCH',
          detail: evil,
          errors,
          accepted: 0,
          rejected: 1,
        }),
      ),
    );
  });

  afterAll(async () => {
    await server?.close();
  });

  test.each([[[]], [['--json']]])('replay %j', async (flags) => {
    const directory = temporaryDirectory();
    try {
      const file = join(directory.path, 'events.ndjson');
      writeFileSync(file, '{"event":"a"}\n');
      const { stdout } = await run(['replay', file, '--url', String(server.url), ...flags]);
      expect(stdout).toContain('rejected');
    } finally {
      directory.remove();
    }
  });
});
