/**
 * Runs confined-attempts.mjs in a sandbox of the built program, for tests: this process is the one that the attempts
 * look for. Argument: JSON of the kind of the sandbox, what is read and written, and the aims of the attempts. Prints
 * JSON: what worked, and what became of the others.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { findSandbox } from '../../dist/process/sandbox.js';

const { kind, read, write, aims } = JSON.parse(process.argv[2]);
const listen = async (where) => {
  const server = createServer((socket) => socket.destroy()).listen(where);
  await once(server, 'listening');
  return server;
};
const servers = [
  await listen({ port: 0, host: '127.0.0.1' }),
  await listen({ path: aims.socket }),
  await listen({ path: aims.abstractSocket }),
];
const victim = spawn('sleep', ['600'], { stdio: 'ignore' });
const ended = once(victim, 'exit');
const sandbox = await findSandbox(kind);
const script = fileURLToPath(new URL('./confined-attempts.mjs', import.meta.url));
const given = { ...aims, port: servers[0].address().port, parent: process.pid, victim: victim.pid };
const [file, ...args] = sandbox.wrap([process.execPath, script, JSON.stringify(given)], {
  read: [process.execPath, script, ...read],
  write,
});
// As the engine is started: without the parent's variables.
const child = spawn(file, args, { env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'inherit'] });
let text = '';
child.stdout.on('data', (data) => {
  text += data;
});
const [code] = await once(child, 'close');
const wasEnded = victim.exitCode !== null || victim.signalCode !== null;
if (!wasEnded) victim.kill();
await ended;
for (const server of servers) server.close();
if (code !== 0) throw new Error(`the attempts ended with ${code}: ${[file, ...args].join(' ')}`);
process.stdout.write(JSON.stringify({ confines: sandbox.confines, ...JSON.parse(text) }));
