import { once } from 'node:events';
import { request } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import {
  childrenOf,
  freePorts,
  type Program,
  post,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function startWorkers(...more: string[]): Promise<{ url: string; program: Program }> {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const [port] = await freePorts(1);
  const flags = ['--listen', `127.0.0.1:${port}`, '--data-dir', directory.path, '--workers', '2'];
  const program = await startProgram(['collect', ...flags, ...more]);
  undo.push(() => program.kill());
  return { url: `http://127.0.0.1:${port}`, program };
}

async function accepted(url: string): Promise<number | undefined> {
  const response = await fetch(`${url}/metrics`, { headers: { connection: 'close' } });
  if (response.status !== 200) return undefined;
  return Number(/^millrace_events_accepted_total (\d+)$/m.exec(await response.text())?.[1]);
}

/** Begins a post and gives what ends it. */
async function beginPost(url: string): Promise<() => Promise<number | undefined>> {
  const body = '{"event":"slow"}';
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  const req = request(`${url}/v1/events`, { method: 'POST', headers });
  req.write(body.slice(0, 5));
  await once(req, 'socket').then(([socket]) => socket.connecting && once(socket, 'connect'));
  return async () => {
    req.end(body.slice(5));
    const [response] = await once(req, 'response');
    response.resume();
    return response.statusCode;
  };
}

test('scrapes while the workers drain end none of them, see the counts of all, and posts in flight are answered', async () => {
  const { url, program } = await startWorkers('--drain-delay', '8s', '--stop-timeout', '10s');
  for (let i = 0; i < 20; i++)
    await post(url, { event: 'before' }, { connection: 'close' }).then((r) => r.text());
  const workers = await childrenOf(program.child.pid ?? 0);
  expect(workers).toHaveLength(2);
  const slow = await Promise.all(Array.from({ length: 8 }, () => beginPost(url)));
  program.child.kill('SIGTERM');
  await until(
    'no longer ready',
    async () => (await fetch(`${url}/readyz`, { headers: { connection: 'close' } })).status === 503,
  );
  // Many, so that each of the two is asked.
  for (let i = 0; i < 20; i++) expect(await accepted(url)).toBe(20);
  expect(await childrenOf(program.child.pid ?? 0)).toEqual(workers);
  expect(await Promise.all(slow.map((end) => end()))).toEqual(Array(8).fill(200));
  expect(await program.exited).toBe(0);
  expect(program.output.stderr).not.toMatch(/"level":"(error|fatal)"/);
});

test('when their parent is killed while they drain, workers end soon, and the post in flight is answered', async () => {
  const { url, program } = await startWorkers('--drain-delay', '10m');
  const workers = await childrenOf(program.child.pid ?? 0);
  const slow = await beginPost(url);
  program.child.kill('SIGTERM');
  await until(
    'no longer ready',
    async () => (await fetch(`${url}/readyz`, { headers: { connection: 'close' } })).status === 503,
  );
  program.child.kill('SIGKILL');
  await program.exited;
  expect(await slow()).toBe(200);
  await until('no worker', async () => workers.every((pid) => !isRunning(pid)), 20_000);
});

test('workers that are killed one after the other are started again, and what was scraped of them stays counted', async () => {
  const { url, program } = await startWorkers();
  let posted = 0;
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 10; i++)
      await post(url, { event: 'a' }, { connection: 'close' }).then((r) => r.text());
    posted += 10;
    expect(await accepted(url)).toBe(posted);
    const [worker = 0] = await childrenOf(program.child.pid ?? 0);
    process.kill(worker, 'SIGKILL');
    await until('two workers', async () => {
      const now = await childrenOf(program.child.pid ?? 0);
      return now.length === 2 && !now.includes(worker);
    });
    await until('both serve', async () => (await accepted(url)) === posted);
  }
  expect(program.output.stderr).toMatch(/ended \(SIGKILL\); starting it again in \d+ ms/);
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
