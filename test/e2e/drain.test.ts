import { afterEach, expect, test } from 'vitest';
import { freePorts, post, startProgram, temporaryDirectory, until } from '../support/program.ts';

const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

test.each(['uws', 'node'])(
  'within --drain-delay a collector is not ready, but takes events and closes connections; http-server %s',
  async (kind) => {
    const directory = temporaryDirectory();
    undo.push(() => directory.remove());
    const [port] = await freePorts(1);
    const url = `http://127.0.0.1:${port}`;
    const flags = ['--listen', `127.0.0.1:${port}`, '--data-dir', directory.path, '--http-server', kind];
    const collector = await startProgram(['collect', ...flags, '--drain-delay', '10m']);
    undo.push(() => collector.kill());

    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    collector.child.kill('SIGTERM');
    await until('it is no longer ready', async () => (await fetch(`${url}/readyz`)).status === 503);
    expect(await (await fetch(`${url}/status`)).json()).toMatchObject({ live: true, ready: false });
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    const taken = await post(url, { event: 'late' });
    expect(taken.status).toBe(200);
    expect(taken.headers.get('connection')).toBe('close');

    // A second signal does not wait.
    collector.child.kill('SIGTERM');
    expect(await collector.exited).not.toBe(0);
  },
);

test('after --drain-delay it stops as always', async () => {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const [port] = await freePorts(1);
  const flags = ['--listen', `127.0.0.1:${port}`, '--data-dir', directory.path, '--workers', '2'];
  const collector = await startProgram([
    'collect',
    ...flags,
    '--drain-delay',
    '200ms',
    '--stop-timeout',
    '5s',
  ]);
  undo.push(() => collector.kill());
  expect((await post(`http://127.0.0.1:${port}`, { event: 'a' })).status).toBe(200);
  expect(await collector.stop()).toBe(0);
});
