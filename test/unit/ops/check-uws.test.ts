/** `npm run check:uws`, with a project, packages and an upstream of its own. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../../.ci/check-uws.mjs', import.meta.url));
const binary = 'the binary';
/** What upstream serves; undefined: 404. */
let served: string | undefined;
let server: Server;
let root: string;

beforeAll(async () => {
  server = createServer((req, res) => {
    const isKnown = req.url === '/v20.0.0/uws_linux_x64_137.node' && served !== undefined;
    res.writeHead(isKnown ? 200 : 404).end(served);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});

afterAll(() => server.close());

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'millrace-uws-'));
  served = binary;
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** A project with a package that has the binary, and a list that knows this of upstream. */
function project(upstream: string | null): void {
  write('node_modules/@uwsjs/linux-x64-24/package.json', '{"version":"20.0.1"}');
  write('node_modules/@uwsjs/linux-x64-24/uws.node', binary);
  const expected = {
    version: '20.0.1',
    sha256: sha256(binary),
    tag: 'v20.0.0',
    file: 'uws_linux_x64_137.node',
  };
  const list = {
    packages: { '@uwsjs/linux-x64-24': expected, '@uwsjs/linux-x64-26': expected },
    upstream: { 'v20.0.0': { source: 'somebody', files: { 'uws_linux_x64_137.node': upstream } } },
  };
  write('.ci/uws-binaries.json', JSON.stringify(list));
}

async function check(...args: readonly string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [script, '--root', root, ...args]);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += String(data)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said };
}

const fetchHere = () => ['--fetch', '--from', `http://127.0.0.1:${(server.address() as AddressInfo).port}`];

test("a binary that is upstream's is ok, and it is said who knows", async () => {
  project(sha256(binary));
  const { code, said } = await check();
  expect(said).toContain(
    'ok           @uwsjs/linux-x64-24@20.0.1 is v20.0.0/uws_linux_x64_137.node, says somebody',
  );
  expect(code).toBe(0);
});

test('without a hash of upstream it is not compared, which is not ok', async () => {
  project(null);
  const { code, said } = await check();
  expect(said).toMatch(/^not compared @uwsjs\/linux-x64-24/);
  expect(said).not.toContain('ok ');
  expect(code).toBe(69);
});

test('a changed binary, a binary of another version and one that upstream does not have fail', async () => {
  project(sha256('another'));
  expect(await check()).toMatchObject({ code: 1, said: expect.stringContaining('DIFFERS') });
  project(sha256(binary));
  write('node_modules/@uwsjs/linux-x64-24/uws.node', 'changed');
  expect(await check()).toMatchObject({
    code: 1,
    said: expect.stringContaining('not what the registry served'),
  });
  project(sha256(binary));
  write('node_modules/@uwsjs/linux-x64-24/package.json', '{"version":"20.0.2"}');
  expect(await check()).toMatchObject({ code: 1, said: expect.stringContaining('is not the version of') });
});

test('nothing installed is not compared', async () => {
  project(sha256(binary));
  rmSync(join(root, 'node_modules'), { recursive: true });
  expect(await check()).toMatchObject({ code: 69, said: expect.stringContaining('no binary') });
});

test('--fetch asks upstream and keeps what it says', async () => {
  project(null);
  expect((await check(...fetchHere())).code).toBe(0);
  expect((await check()).code).toBe(0);
  const list = JSON.parse(readFileSync(join(root, '.ci/uws-binaries.json'), 'utf8'));
  expect(list.upstream['v20.0.0'].source).toContain('/v20.0.0, downloaded on ');
});

test('--fetch does not write over a hash that upstream contradicts, nor compares when it does not answer', async () => {
  project(sha256(binary));
  served = 'the tag has moved';
  expect(await check(...fetchHere())).toMatchObject({
    code: 1,
    said: expect.stringContaining('the list says'),
  });
  expect((await check()).code).toBe(0);
  served = undefined;
  expect(await check(...fetchHere())).toMatchObject({
    code: 69,
    said: expect.stringContaining('answers 404'),
  });
});

test('an option that there is none fails as usage', async () => {
  expect((await check('--fech')).code).toBe(2);
});
