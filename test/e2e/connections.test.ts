import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { freePorts, post, startProgram, temporaryDirectory, until } from '../support/program.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Client {
  readonly socket: Socket;
  isAnswered: boolean;
  isClosed: boolean;
}

/** Connects, asks for something over the connection, and keeps it open. */
function openClient(port: number | undefined): Client {
  const socket = connect(port ?? 0, '127.0.0.1');
  const client = { socket, isAnswered: false, isClosed: false };
  socket.on('data', () => {
    client.isAnswered = true;
  });
  socket.on('error', () => {});
  socket.once('close', () => {
    client.isClosed = true;
  });
  socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
  undo.push(() => socket.destroy());
  return client;
}

async function openClients(port: number | undefined, count: number): Promise<Client[]> {
  const clients = Array.from({ length: count }, () => openClient(port));
  await until('every client is answered or closed', async () =>
    clients.every(({ isAnswered, isClosed }) => isAnswered || isClosed),
  );
  return clients;
}

describe.each(['uws', 'node'])('connections, http-server %s', (kind) => {
  test('beyond --max-connections are closed; when others leave there is room again', async () => {
    const directory = temporaryDirectory();
    undo.push(() => directory.remove());
    const [port] = await freePorts(1);
    const flags = ['--listen', `127.0.0.1:${port}`, '--data-dir', directory.path, '--http-server', kind];
    const program = await startProgram(['collect', ...flags, '--max-connections', '5']);
    undo.push(() => program.kill());

    const clients = await openClients(port, 20);
    expect(clients.filter(({ isAnswered }) => isAnswered)).toHaveLength(5);
    expect(clients.filter(({ isClosed }) => isClosed)).toHaveLength(15);

    for (const { socket } of clients) socket.destroy();
    const url = `http://127.0.0.1:${port}`;
    await until('a post is taken', async () => (await post(url, { event: 'a' }).catch(() => undefined))?.ok);
    const status = (await (await fetch(`${url}/status`)).json()) as { connections: object };
    expect(status.connections).toMatchObject({ max: 5, refused: expect.any(Number) });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/^millrace_http_connections_refused_total 1[5-9]$/m);
  });
});

test('a process with few open files takes fewer connections, says so, and does not spin', async () => {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const [port] = await freePorts(1);
  const command = `ulimit -n 300; exec "$0" "$@"`;
  const args = [main, 'collect', '--listen', `127.0.0.1:${port}`, '--data-dir', directory.path];
  const child = spawn('bash', ['-c', command, process.execPath, ...args]);
  const exited = once(child, 'exit');
  undo.push(() => child.kill('SIGKILL') && exited);
  let log = '';
  child.stderr.on('data', (piece) => {
    log += piece;
  });
  child.stdout.resume();
  const url = `http://127.0.0.1:${port}`;
  await until('it serves', async () => (await fetch(`${url}/livez`).catch(() => undefined))?.ok);
  expect(log).toContain('accepting at most 100 connections instead of --max-connections 10000');

  const clients = await openClients(port, 250);
  expect(clients.filter(({ isAnswered }) => isAnswered).length).toBeLessThanOrEqual(100);
  const before = await cpuOf(child.pid);
  await sleep(1_000);
  // A server that cannot accept would use the whole second.
  expect((await cpuOf(child.pid)) - before).toBeLessThan(50);

  for (const { socket } of clients) socket.destroy();
  await until('a post is taken', async () => (await post(url, { event: 'a' }).catch(() => undefined))?.ok);
});

/** CPU time of a process, in ticks of 10 ms. */
async function cpuOf(pid: number | undefined): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}
